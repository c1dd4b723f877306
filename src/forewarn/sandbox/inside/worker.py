"""Inside the sandbox: loads one submission, calls it on each case, and sends the results.

It runs in the confined child beside the submission, so it has no secrets and makes no judgement. The child gets
expected values only if that is the checker's flaw, and a forged result still has to equal a value that the child never
saw. A submission's exceptions end here. It uses only the standard library. Not covered: confinement (``confine.py``)
and supervision (``keeper.py``).

Frames: 4 bytes of length, 1 byte of kind, JSON. ``+`` ready, ``!`` sandbox fault before ready, ``L`` loaded, ``x``
loading failed, ``r`` a call returned, ``e`` a call raised, ``F`` finished, ``P`` asks for the run of a script.
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
"""exit status of a child that ran to its end, so that 0 can only come from the submission itself"""
MAX_FRAME_BYTES = 8 << 20
MAX_TEXT = 200
"""maximum characters of a name or a message; the parent applies the same limit"""
MAX_CLASSES = 20
"""maximum number of an exception's classes that are named"""
_NOTES = frozenset({"after_call", "finish"})
"""hooks whose notes the parent's rules believe"""
_mro = type.__dict__["__mro__"].__get__
_errors = {
    f"builtins.{name}": kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
"""the exceptions that rules look for, by name; any class can claim such a name"""


class ParentSocket:
    """The child's end of its socket to the parent: the request comes in, frames go out."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.handed = 0
        """values that the parent hands out; they wait in the socket until they are read in order"""
        self._read_so_far = 0

    def send(self, kind: bytes, tree: codec.Tree) -> None:
        data = codec.dumps(tree)
        if len(data) > MAX_FRAME_BYTES:
            data = codec.dumps({"v": ["o", "result too large"]})
        view = memoryview(struct.pack("<I", len(data)) + kind + data)
        while view:
            view = view[os.write(self._handle, view) :]

    def message(self) -> bytes:
        """Wait for the next message, 4 bytes of length and then its text, and return the text."""
        (size,) = struct.unpack("<I", self._read(4))
        return self._read(size)

    def receive(self) -> Any:
        """Receive the next message, which is JSON."""
        return codec.loads(self.message())

    def expected(self, index: int) -> object:
        """Return the value handed out for case ``index``. Each can be read once, and in the order of cases."""
        if not self._read_so_far <= index < self.handed:
            raise LookupError(f"no value is handed out for case {index}, or it was read before")
        while self._read_so_far <= index:
            tree = self.receive()
            self._read_so_far += 1
        return codec.decode(tree)

    def script(self, job: object) -> object:
        """Have a script run in a child of its own (``sandbox/scripts.py``), if the checker may run scripts."""
        self.send(b"P", codec.encode(job))
        told, trouble = attempt(codec.decode, self.receive())  # the script may have forged parts of it
        return told if trouble is None and type(told) is dict else {"error": "the script's report is not a value"}

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = os.read(self._handle, size - len(data))
            if not piece:
                raise EOFError("the parent has ended")
            data += piece
        return data


class ChildTools:
    """The tools of a checker's child side: ``namespace`` (the submission's), ``function`` (once loaded), ``cases``."""

    def __init__(self, channel: ParentSocket, cases: list[Any], code: str) -> None:
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
        """Remove every trace and profile hook, so that a submission can't watch what comes next."""
        for unset in _hook_setters:
            unset(None)


_hook_setters = (sys.settrace, sys.setprofile, threading.settrace, threading.setprofile)


def run(request: dict[str, Any], channel: ParentSocket) -> NoReturn:
    """Run one request to its end and exit. Keys: code and cases (encoded), entry_point, child (source)."""
    from unittest.case import (
        SkipTest,
    )  # loaded by the zygote; the parent, which imports this file too, does not need it

    _errors["unittest.case.SkipTest"] = SkipTest
    channel.handed = request["handed"]
    cases = [_case(tree) for tree in request["cases"]]
    request["code"] = codec.decode(request["code"])  # plain JSON would join two surrogates
    # The checker's side has its own builtins, so that a submission can't replace what it calls.
    hooks: dict[str, Any] = {"__name__": "checker_side", "__builtins__": dict(vars(builtins))}
    tools = ChildTools(channel, cases, request["code"])
    if request["child"]:
        exec(compile(request["child"], "<checker>", "exec", dont_inherit=True), hooks)
    module = types.ModuleType("submission")
    sys.modules["submission"] = module
    tools.namespace = module.__dict__
    _, trouble = attempt(_hook(hooks, "prepare"), tools)
    if trouble is not None:  # the submission has not run yet, so this is a sandbox fault
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
    guard("finish")  # the hook may have called the submission
    channel.send(b"F", {"n": _sent(note)})
    os._exit(FINISHED_STATUS)


def attempt(function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """Call foreign code, which may raise anything. Returns its value and None, or None and the exception."""
    try:
        return function(*args), None
    except BaseException as error:  # noqa: BLE001 - the one place where everything is caught
        return None, error


def _case(tree: codec.Tree) -> Any:
    """Return the arguments of a call; arguments left by a submission, for a reference's call, may be invalid."""
    args, trouble = attempt(codec.decode, tree)
    return args if trouble is None and type(args) is tuple else (codec.Opaque("no arguments"),)


def _guard(hooks: dict[str, Any]) -> Callable[..., None]:
    """Return a function that protects the notes of a checker's side, as far as that is cheap.

    Make it before any foreign code runs. Each call restores what a submission replaced in this child's modules. A call
    with the name of a hook of the checker's side first ends all tracing. A checker's side without notes needs none.
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
            names.clear()  # an added name would shadow a builtin
            names.update(values)
        for names, values in used:
            names.update(values)

    return guard


def _sent(value: object) -> codec.Tree:
    """Return the tree of a result or a note; one that is too large for a frame becomes opaque."""
    return codec.encode(value, most_text=MAX_FRAME_BYTES)


def _hook(hooks: dict[str, Any], name: str) -> Callable[..., Any]:
    return hooks.get(name) or (lambda *_: None)


def _load(request: dict[str, Any], tools: ChildTools, channel: ParentSocket) -> bool:
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
    hooks: dict[str, Any], tools: ChildTools, channel: ParentSocket, index: int, args: Any, guard: Callable[..., None]
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
    guard("after_call")  # the hook may have called the submission
    if trouble is not None:
        note = _describe(trouble)["m"]
    channel.send(b"r", {"v": _sent(value), "n": _sent(note)})


def _describe(error: BaseException) -> dict[str, Any]:
    """Return class names and message of an exception; getting them may run the submission's code."""
    names, trouble = attempt(lambda: [_class_name(kind) for kind in _mro(type(error))[:MAX_CLASSES]])
    message, _ = attempt(lambda: _cut(str(error)))
    return {"k": ["builtins.BaseException"] if trouble else names, "m": message if type(message) is str else ""}


def _cut(text: str) -> str:
    """Return the start of a text, even if its class overrides slicing."""
    return str.__getitem__(text, slice(MAX_TEXT))


def _class_name(kind: type) -> str:
    """Return the qualified name of a class; only a known exception itself gets its name."""
    name = _cut(f"{kind.__module__}.{kind.__qualname__}")
    return name if _errors.get(name, kind) is kind else _cut(f"submission.{kind.__qualname__}")


def _leave_if_exit(error: BaseException) -> None:
    """Exit on ``sys.exit`` as the interpreter does: None gives 0, an int itself, anything else 1."""
    if isinstance(error, SystemExit):
        code = error.code
        os._exit(0 if code is None else code & 0xFF if type(code) is int else 1)
