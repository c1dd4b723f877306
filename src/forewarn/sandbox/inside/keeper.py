"""The keeper: has the template fork a child for each execution, enforces its limits, and ends it.

The keeper is the child's parent and knows all about its end, so it never forks once it serves. It sees neither requests
nor results, which pass between host and child on a separate socket. It enforces the deadline even if the host is busy.
Not covered: what a child may do (``confine.py``), when its time is up (``watch.py``), how many threads it may have
(``counter.py``).

Control messages (SOCK_SEQPACKET): the host sends ``<d`` seconds and one file descriptor. Once the child has ended, the
keeper answers with JSON ``{"status", "killed", "fault", "seconds", "waited", "cpu", "leaving"}``. One byte in between
asks for the child's death. ``leaving``: the zygote ends now, and the next execution needs another one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forewarn.sandbox.inside import confine, counter, folder, template, watch

_PID = struct.Struct("=iII")
"""``struct ucred``"""
_HANDLE = struct.Struct("=i")


class KeeperError(Exception):
    """The child could not be started. The host gets this error's message."""


@dataclass(frozen=True)
class Keeper:
    """A keeper's state between executions."""

    confinement: confine.Confinement
    control: socket.socket
    host: int
    """readable once the host has ended (man 2 pidfd_open), even if a process forked from it still has the socket"""
    orders: socket.socket
    """to the template"""
    template: int
    """the template's process id"""
    mounted: bool
    """whether the working folder is the zygote's own tmpfs"""

    @property
    def alarms(self) -> tuple[int, int]:
        return self.control.fileno(), self.host


class ChildLine:
    """The keeper's end of its connection to one child: the child's greeting, then its requests for threads."""

    def __init__(self, end: socket.socket, proc: int) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._end, self._proc = end, proc
        self._open = True
        self._counter: counter.Counter | None = None
        self.pid = 0

    def greeting(self, alarms: Sequence[int], longest_s: float) -> int:
        """Return the child's process id, from its credentials, which the kernel translates for the reader. Raises
        ``KeeperError`` if the child could not be started."""
        poll = select.poll()
        for handle in (self._end.fileno(), *alarms):
            poll.register(handle, select.POLLIN)
        ready = {handle for handle, _ in poll.poll(longest_s * 1000)}
        if self._end.fileno() not in ready:
            raise KeeperError("the template did not fork" if not ready else "its end was requested before its start")
        data, ancillary, _, _ = self._end.recvmsg(300, socket.CMSG_SPACE(_PID.size))
        if not data:
            raise KeeperError("the template has ended, or the child exited before it began")
        if data[:1] == template.CANT:
            raise KeeperError(f"can't fork: {data[1:].decode(errors='replace')}")
        self.pid = next(_PID.unpack(content)[0] for level, kind, content in ancillary if kind == socket.SCM_CREDENTIALS)
        return self.pid

    def handles(self) -> Sequence[int]:
        listener = self._counter.listener if self._counter is not None else None
        return [*([self._end.fileno()] if self._open else []), *([] if listener is None else [listener])]

    def answer(self, handle: int) -> None:
        if handle == self._end.fileno():
            space = socket.CMSG_SPACE(_PID.size) + socket.CMSG_SPACE(_HANDLE.size)
            _, ancillary, _, _ = self._end.recvmsg(300, space)
            for _, kind, content in ancillary:
                if kind == socket.SCM_RIGHTS:
                    self._counter = counter.Counter(_HANDLE.unpack(content)[0], self.pid, self._proc)
            self._open = False  # the child has closed its end
        elif self._counter is not None:
            self._counter.answer()

    def close(self) -> None:
        self._end.close()
        if self._counter is not None:
            self._counter.close()


def serve(keeper: Keeper) -> None:
    """Run children, one at a time, until the host closes its end or dies, or the template ends."""
    poll = select.poll()
    for handle in keeper.alarms:
        poll.register(handle, select.POLLIN)
    while True:
        if keeper.host in {handle for handle, _ in poll.poll()}:
            return
        data, handles, _, _ = socket.recv_fds(keeper.control, 8, 1)
        if not data:
            return
        if len(data) < 8 or not handles:  # a request to kill that came too late
            continue
        (timeout_s,) = struct.unpack("<d", data)
        answer = execute(keeper, handles[0], timeout_s)
        leaving = answer["status"] is None or _is_gone(keeper.orders)
        try:
            keeper.control.send(json.dumps(answer | {"leaving": leaving}).encode())
        except ConnectionError:
            return
        if leaving:
            return  # the host starts a new zygote


def _is_gone(orders: socket.socket) -> bool:
    """Return whether the template has ended."""
    poll = select.poll()
    poll.register(orders, 0)
    return bool(poll.poll(0))


def dismiss(keeper: Keeper) -> None:
    """Tell the template to end, and wait for it."""
    keeper.orders.close()
    os.kill(keeper.template, signal.SIGKILL)
    os.waitpid(keeper.template, 0)


def execute(keeper: Keeper, channel: int, timeout_s: float) -> dict[str, Any]:
    """Have a child forked on ``channel``, wait for its end, at most ``timeout_s`` seconds, and return the answer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line = ChildLine(ours, keeper.confinement.proc)
    try:
        with theirs:
            ours.send(struct.pack("<d", timeout_s))
            order(keeper, channel, theirs)
        pid = line.greeting(keeper.alarms, watch.longest_s(timeout_s))
        # The child's time starts here, since it is not to blame for the template's wait for a core.
        return _answer(keeper, line, pid, time.monotonic(), timeout_s)
    except (KeeperError, ConnectionError) as error:
        return {"status": None, "killed": None, "fault": str(error), "seconds": 0.0, "waited": 0.0, "cpu": 0.0}
    finally:
        line.close()


def order(keeper: Keeper, channel: int, line: socket.socket) -> None:
    """Have the template fork. Raises ``ConnectionError`` if it has ended."""
    try:
        socket.send_fds(keeper.orders, [template.FORK], [channel, line.fileno()])
    finally:
        os.close(channel)


def _answer(keeper: Keeper, line: ChildLine, pid: int, start: float, timeout_s: float) -> dict[str, Any]:
    """Watch a child to its end, clean up after it, and return the result."""
    on = keeper.confinement.on
    child = watch.Child(
        pid,
        start,
        timeout_s if "deadline" in on else None,
        watch.cpu_limit_s(timeout_s) if "CPU limit" in on else None,
        keeper.confinement.proc,
    )
    killed = watch.watch(child, keeper.alarms, line)
    waited = child.waited_s()
    if "killed whole" in on:
        watch.kill_group(pid)
    elif killed is not None:
        os.kill(pid, signal.SIGKILL)
    line.close()  # a thread that still waits for an answer has been killed
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    clean_up(keeper)
    fault = None
    if killed == "starved":
        fault = f"the machine is too busy: the child waited {waited:.1f} s for a core"
    elif killed is None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        # The child can neither send signals nor lower limits, and only the keeper enforces its limits.
        fault = "killed from outside"
    cpu = usage.ru_utime + usage.ru_stime
    return {"status": status, "killed": killed, "fault": fault, "seconds": seconds, "waited": waited, "cpu": cpu}


def clean_up(keeper: Keeper) -> None:
    """Clean up after a child. Its process namespace ends with its first process, and its disk with its namespace."""
    on = keeper.confinement.on
    if "killed whole" in on:
        watch.kill_orphans(keeper.confinement.proc, keeper.template)
    if "clean folder" in on and "own disk" not in on:
        if keeper.mounted:
            folder.remount(keeper.confinement.work)
        else:
            folder.renew(keeper.confinement.work)
