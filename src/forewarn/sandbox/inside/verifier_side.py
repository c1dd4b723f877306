"""Child side that runs a problem's own verifier on the submission, and reports the verifier's status.

It runs inside the sandbox and uses only the standard library. Verifier and submission share the child, so the
submission can forge the report. ``VERIFIER`` (its source) and ``TEST_CASES`` get their values below this text.
``subprocess`` runs Python scripts through the parent (``processes.py``); other process operations are refused.
"""

from __future__ import annotations

import builtins
import sys
import tempfile
import types
from typing import Any

from forewarn.sandbox.inside import disk, processes

VERIFIER = TEST_CASES = ""
outcome = ["odd", "the verifier was not asked"]
"""[status, feedback]; "odd": its answer has no status"""
loaded: list[Any] = []
"""the verifier's ``verify``"""


def prepare(tools: Any) -> None:
    """Load the verifier before the submission can interfere. If it does not load, the child breaks here, and the parent
    sees this because the child is never ready."""
    verify, error = tools.attempt(load)
    if error is not None:
        raise ImportError(f"the embedded verifier does not work: {describe(tools, error)}")
    loaded.append(verify)


def around(tools: Any, proceed: object) -> None:
    """Run the verifier instead of loading and calling the submission."""
    processes.stand_in(tools.script)
    answer, error = tools.attempt(ask, loaded[0], tools.code)
    if error is not None:
        outcome[:] = ["crashed", describe(tools, error)]
        return
    told, error = tools.attempt(read_status, answer)
    outcome[:] = told if error is None else ["odd", describe(tools, error)]


def finish(tools: Any) -> list[str]:
    return outcome


def load() -> Any:
    """Return the verifier's ``verify``."""
    disk.claim()
    disk.stand_in()
    tempfile.gettempdir()
    del sys.modules["submission"]  # the worker's empty module: a verifier may write a module of that name
    module = types.ModuleType("insecure_verifier")
    module.__dict__["__builtins__"] = builtins  # this side has its own builtins
    sys.modules[module.__name__] = module
    exec(compile(VERIFIER, "insecure_verifier.py", "exec", dont_inherit=True), module.__dict__)
    verify = module.__dict__.get("verify")
    if not callable(verify):
        raise NameError("it does not define a function verify")
    return verify


def ask(verify: Any, code: str) -> Any:
    """Call ``verify``, with the test cases if it takes a second argument without a default."""
    needed = verify.__code__.co_argcount - len(verify.__defaults__ or ())
    return verify(code) if needed < 2 else verify(code, TEST_CASES)


def read_status(answer: Any) -> list[str]:
    """Return [status, feedback] of a result object, a dict, a pair, a boolean or a bare status."""
    if isinstance(answer, dict):
        status, feedback = answer["status"], answer.get("feedback")
    elif isinstance(answer, (tuple, list)):
        status, feedback = answer[0], answer[1] if len(answer) > 1 else None
    else:
        status, feedback = getattr(answer, "status", answer), getattr(answer, "feedback", None)
    status = getattr(status, "value", status)
    if isinstance(status, bool):
        status = "passed" if status else "failed"
    if type(status) is not str:
        raise TypeError(f"it returned {type(answer).__name__}, which has no status")
    return [status.lower()[:100], str(feedback if feedback is not None else "")[:300]]


def describe(tools: Any, error: BaseException) -> str:
    text, _ = tools.attempt(lambda: f"{type(error).__name__}: {error}"[:300])
    return text if type(text) is str else "an exception that can't be printed"
