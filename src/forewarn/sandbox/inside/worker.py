"""Inside the sandbox: load one submission, call it on each case, send what came back.

Runs in the confined child, beside the submission, so nothing here is a secret or a judgement: the child never holds an
expected value unless the checker under test is flawed in just that way, and a forged result still has to equal a value
that it never saw. Submissions and faults of theirs end here; nothing is raised out. Standard library alone.
Not covered: confinement (``confine.py``) and supervision (``zygote.py``).

Frames: 4 bytes of length, 1 byte of kind, JSON. ``+`` ready, ``!`` our fault before ready, ``L`` loaded, ``x`` loading
failed, ``r`` a call returned, ``e`` a call raised, ``F`` finished, ``P`` asks for the run of a script.
"""

from __future__ import annotations

import builtins
import json
import os
import struct
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, NoReturn

from forewarn.sandbox import codec

FINISHED_STATUS = 1
"""exit status of a child that ran to its end: 0 is only ever the submission's own doing"""
MAX_FRAME_BYTES = 8 << 20
MAX_TEXT = 200
"""characters of a name or a message; the parent cuts them there, too"""
MAX_CLASSES = 20
"""of an exception that are named"""
_NOTES = frozenset({"after_call", "finish"})
"""hooks whose word the parent's rules believe"""
_mro = type.__dict__["__mro__"].__get__
_errors = {
    f"builtins.{name}": kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
"""the exceptions that rules ask for, by the names that any class may claim"""


class Channel:
    """The child's end of its socket to the parent: the request comes in, frames go out."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.handed = 0
        """values that the parent hands out; they wait in the socket until they are read, one after the other"""
        self._read_so_far = 0

    def send(self, kind: bytes, tree: codec.Tree) -> None:
        data = codec.dumps(tree)
        if len(data) > MAX_FRAME_BYTES:
            data = codec.dumps({"v": ["o", "result too large"]})
        view = memoryview(struct.pack("<I", len(data)) + kind + data)
        while view:
            view = view[os.write(self._handle, view) :]

    def message(self) -> bytes:
        """The next message, waited for: 4 bytes of length, then this."""
        (size,) = struct.unpack("<I", self._read(4))
        return self._read(size)

    def receive(self) -> Any:
        """What the next message says, which is JSON."""
        return codec.loads(self.message())

    def expected(self, index: int) -> object:
        """What is handed out for case ``index``, which can be read once, and after those of earlier cases."""
        if not self._read_so_far <= index < self.handed:
            raise LookupError(f"nothing is handed out for case {index}, or it was read before")
        while self._read_so_far <= index:
            tree = self.receive()
            self._read_so_far += 1
        return codec.decode(tree)

    def script(self, job: object) -> object:
        """Have a script run in a child of its own (``sandbox/scripts.py``), where the checker may have one."""
        self.send(b"P", codec.encode(job))
        told, trouble = attempt(codec.decode, self.receive())  # partly the word of the script
        return told if trouble is None and type(told) is dict else {"error": "the script's report is no value"}

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = os.read(self._handle, size - len(data))
            if not piece:
                raise EOFError("the parent is gone")
            data += piece
        return data


class Tools:
    """What a checker's child side may use: ``namespace`` (the submission's), ``function`` (once loaded), ``cases``."""

    def __init__(self, channel: Channel, cases: list[Any], code: str) -> None:
        self.expected = channel.expected
        self.script = channel.script
        self.attempt = attempt
        self.code = code
        self.cases = cases
        self.namespace: dict[str, Any] = {}
        self.function: Any = None

    @staticmethod
    def encoded(value: object) -> bytes:
        return codec.dumps(codec.encode(value))

    @staticmethod
    def clear_tracing() -> None:
        """Remove every trace and profile hook, so that no submission watches what comes next."""
        for unset in _hook_setters:
            unset(None)


_hook_setters = (sys.settrace, sys.setprofile, threading.settrace, threading.setprofile)


def run(request: dict[str, Any], channel: Channel) -> NoReturn:
    """Run one request to its end and leave the process. Keys: code, entry_point, cases (encoded), child (source)."""
    from unittest.case import SkipTest  # of the zygote's; the parent, which imports this file too, has no use for it

    _errors["unittest.case.SkipTest"] = SkipTest
    channel.handed = request["handed"]
    cases = [_case(tree) for tree in request["cases"]]
    # Builtins of its own: what a submission puts in their place is not what the checker's side calls.
    hooks: dict[str, Any] = {"__name__": "checker_side", "__builtins__": dict(vars(builtins))}
    tools = Tools(channel, cases, request["code"])
    if request["child"]:
        exec(compile(request["child"], "<checker>", "exec", dont_inherit=True), hooks)
    module = types.ModuleType("submission")
    sys.modules["submission"] = module
    tools.namespace = module.__dict__
    _, trouble = attempt(_hook(hooks, "prepare"), tools)
    if trouble is not None:  # nothing of the submission's has run yet: a fault of ours
        channel.send(b"!", _describe(trouble)["m"])
        os._exit(4)
    guard = _guard(hooks)
    channel.send(b"+", None)

    def proceed() -> None:
        if _load(request, tools, channel):
            guard()
            _hook(hooks, "loaded")(tools)
            for index, args in enumerate(cases):
                _call(hooks, tools, channel, index, args, guard)

    around = hooks.get("around")
    if around is None:
        proceed()
    else:
        around(tools, proceed)
    guard("finish")
    note, _ = attempt(_hook(hooks, "finish"), tools)
    guard("finish")  # it may have called the submission
    channel.send(b"F", {"n": _sent(note)})
    os._exit(FINISHED_STATUS)


def attempt(function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """Call foreign code, which may raise anything: its value and None, or None and what it raised."""
    try:
        return function(*args), None
    except BaseException as error:  # noqa: BLE001 - the one place where everything is caught
        return None, error


def _case(tree: codec.Tree) -> Any:
    """The arguments of a call. Those that a submission left, on which a reference is called, may be no value."""
    args, trouble = attempt(codec.decode, tree)
    return args if trouble is None and type(args) is tuple else (codec.Opaque("no arguments"),)


def _guard(hooks: dict[str, Any]) -> Callable[..., None]:
    """What keeps the word of a checker's side its own, as far as is cheap; to be made before anything foreign runs.

    Called, it puts back what a submission replaced in the modules that speak for this child; called with the name of a
    hook that the checker's side has, it first ends all tracing. A checker's side without notes has nothing to keep.
    """
    if not hooks.keys() & _NOTES:
        return lambda hook="": None
    own = [(names, dict(names)) for names in (globals(), vars(codec))]
    used = [(names, dict(names)) for names in (vars(json), vars(json.encoder), vars(struct))]
    unset, present = _hook_setters, frozenset(hooks)

    def guard(hook: str = "") -> None:
        if hook in present:
            for each in unset:
                each(None)
        for names, values in own:
            names.clear()  # an added name would stand before a builtin
            names.update(values)
        for names, values in used:
            names.update(values)

    return guard


def _sent(value: object) -> codec.Tree:
    """The tree of a result or a note; of one that no frame can hold, just that."""
    return codec.encode(value, most_text=MAX_FRAME_BYTES)


def _hook(hooks: dict[str, Any], name: str) -> Callable[..., Any]:
    return hooks.get(name) or (lambda *_: None)


def _load(request: dict[str, Any], tools: Tools, channel: Channel) -> bool:
    def define() -> Any:
        exec(compile(request["code"], "submission.py", "exec", dont_inherit=True), tools.namespace)
        function = tools.namespace.get(request["entry_point"])
        if not callable(function):
            raise NameError(f"no function {request['entry_point']} is defined")
        return function

    tools.function, error = attempt(define)
    if error is None:
        channel.send(b"L", None)
    else:
        channel.send(b"x", _describe(error))
        _leave_if_exit(error)
    return error is None


def _call(
    hooks: dict[str, Any], tools: Tools, channel: Channel, index: int, args: Any, guard: Callable[..., None]
) -> None:
    _hook(hooks, "before_call")(tools, index, args)
    if "call" in hooks:
        value, error = attempt(hooks["call"], tools, index, args)
    else:
        value, error = attempt(tools.function, *args)
    guard("after_call")
    if error is not None:
        channel.send(b"e", _describe(error))
        _leave_if_exit(error)
        return
    note, trouble = attempt(_hook(hooks, "after_call"), tools, index, args, value)
    guard("after_call")  # it may have called the submission
    if trouble is not None:
        note = _describe(trouble)["m"]
    channel.send(b"r", {"v": _sent(value), "n": _sent(note)})


def _describe(error: BaseException) -> dict[str, Any]:
    """Class names and message of an exception; both are the submission's code, too."""
    names, trouble = attempt(lambda: [_class_name(kind) for kind in _mro(type(error))[:MAX_CLASSES]])
    message, _ = attempt(lambda: _cut(str(error)))
    return {"k": ["builtins.BaseException"] if trouble else names, "m": message if type(message) is str else ""}


def _cut(text: str) -> str:
    """The start of a text; one of a class of its own can't say otherwise."""
    return str.__getitem__(text, slice(MAX_TEXT))


def _class_name(kind: type) -> str:
    """Qualified name; that of a known exception is given to that very class alone."""
    name = _cut(f"{kind.__module__}.{kind.__qualname__}")
    return name if _errors.get(name, kind) is kind else _cut(f"submission.{kind.__qualname__}")


def _leave_if_exit(error: BaseException) -> None:
    """Honour ``sys.exit`` as the interpreter does: None is 0, an int is itself, anything else is 1."""
    if isinstance(error, SystemExit):
        code = error.code
        os._exit(0 if code is None else code & 0xFF if type(code) is int else 1)
