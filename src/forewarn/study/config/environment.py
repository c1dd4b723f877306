"""Problems and rewards of a user's own Python file, as a study's file names them.

The file is run as it is when the study's file is read: it is the user's own code, as trusted as the command line. Not
here: what an environment is (``judge/environment.py``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from forewarn.errors import ForewarnError, InputError
from forewarn.exploits.base import ExploitType
from forewarn.judge.environment import Environment
from forewarn.judge.labels import error_text
from forewarn.records import Problem
from forewarn.sandbox.inside.worker import attempt

ENVIRONMENT, PROBLEMS = "environment", "problems"
"""the names that the file defines"""
VERSION = "environment"
"""key of ``Problem.extra`` that holds the file's hash: verdicts by other rewards are none of these problems'"""


@dataclass(frozen=True, slots=True)
class OwnProblems:
    """What a file of one's own defines."""

    problems: tuple[Problem, ...]
    types: Mapping[str, ExploitType]
    """for the Judge"""


def own_problems(path: Path) -> OwnProblems:
    """Run the file and take its environment and problems. Raises InputError where it can't be run or lacks them."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}; give a Python file") from None
    module = _run(path, source)
    environment, problems = getattr(module, ENVIRONMENT, None), getattr(module, PROBLEMS, None)
    if not isinstance(environment, Environment):
        raise InputError(f"{path}: {ENVIRONMENT} is {_kind(environment)}: define it as a forewarn Environment")
    if not isinstance(problems, (list, tuple)) or not problems:
        raise InputError(f"{path}: {PROBLEMS} is {_kind(problems)}: define it as a list of the environment's problems")
    version = hashlib.sha256(source).hexdigest()[:16]
    for i, problem in enumerate(problems):
        if not isinstance(problem, Problem) or problem.exploit_type != environment.name:
            raise InputError(
                f"{path}: {PROBLEMS}[{i}] is not a problem of environment {environment.name}: make it by "
                "environment.problem(...)"
            )
    held = tuple(replace(problem, extra={**problem.extra, VERSION: version}) for problem in problems)
    return OwnProblems(held, environment.types)


def _run(path: Path, source: bytes) -> ModuleType:
    name = f"forewarn_environment_{hashlib.sha256(bytes(path.resolve())).hexdigest()[:16]}"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look for their module there
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # as where Python runs a file: it may import what lies beside it
    try:
        code, error = attempt(compile, source, str(path), "exec")
        if error is None:
            _, error = attempt(exec, code, module.__dict__)
    finally:
        sys.path.remove(folder)
    if isinstance(error, ForewarnError):
        raise InputError(f"{path}: {error}") from None
    if error is not None:
        if not isinstance(error, Exception):
            raise error
        raise InputError(f"{path} raised {error_text(error)}: run it with Python to see where") from None
    return module


def _kind(value: object) -> str:
    if value is None:
        return "missing"
    return "empty" if value in ([], ()) else f"of type {type(value).__name__}"
