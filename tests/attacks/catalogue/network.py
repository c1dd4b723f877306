"""Sockets of every kind, and System V and POSIX objects that other processes share."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.attacks.attack import Attack, Stage, by_evidence, by_its_word

FAMILY = "network"
FILTER, NETWORK, LANDLOCK = "system call filter", "network namespace", "Landlock"
IPC = (FILTER, "IPC namespace")
SENDS = """
import socket
def solve(family, kind, address):
    try:
        client = socket.socket(family, kind)
        client.connect(address)
        client.send(b"hello")
    except OSError:
        pass
    return 0
"""


def server(
    family: int, kind: int, address: Callable[[Path], object]
) -> Callable[[Path], AbstractContextManager[Stage]]:
    """A stage with a server of ours; evidence is that somebody came."""

    @contextlib.contextmanager
    def stage(folder: Path) -> Iterator[Stage]:
        with socket.socket(family, kind) as listening:
            listening.bind(address(folder))  # type: ignore[arg-type]
            if kind == socket.SOCK_STREAM:
                listening.listen()
            args = (int(family), int(kind), listening.getsockname())
            yield Stage(args, lambda: bool(select.select([listening], [], [], 0.2)[0]))

    return stage


def opens(family: int, kind: int) -> str:
    return f"""
import socket
def solve():
    try:
        socket.socket({int(family)}, {int(kind)}).close()
    except OSError:
        return "stopped"
    return "through"
"""


def can_open(family: int, kind: int) -> Callable[[], str | None]:
    def check() -> str | None:
        try:
            socket.socket(family, kind).close()
        except OSError as error:
            return f"this machine has no such socket: {error.strerror}"
        return None

    return check


def named_interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()} - {"lo"}


@contextlib.contextmanager
def interfaces(folder: Path) -> Iterator[Stage]:
    yield Stage((sorted(named_interfaces()),))


@contextlib.contextmanager
def shared_memory(folder: Path) -> Iterator[Stage]:
    libc, key = ctypes.CDLL(None), 0x40000000 | os.getpid()
    segment = libc.shmget(key, 4096, 0o1600)
    assert segment >= 0
    try:
        yield Stage((key,))
    finally:
        libc.shmctl(segment, 0, None)


@contextlib.contextmanager
def message_queue(folder: Path) -> Iterator[Stage]:
    libc, name = ctypes.CDLL(None), f"/forewarn-{os.getpid()}"
    handle = libc.mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o600, None)
    assert handle >= 0
    try:
        yield Stage((name,))
    finally:
        os.close(handle)
        libc.mq_unlink(name.encode())


TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
ATTACKS = (
    Attack(
        "connects by TCP", FAMILY, SENDS, by_evidence, (FILTER, NETWORK, LANDLOCK),
        stage=server(socket.AF_INET, TCP, lambda folder: ("127.0.0.1", 0)),
    ),
    Attack(
        "sends by UDP", FAMILY, SENDS, by_evidence, (FILTER, NETWORK),
        stage=server(socket.AF_INET, UDP, lambda folder: ("127.0.0.1", 0)),
    ),
    Attack(
        "connects to a socket in the file system", FAMILY, SENDS, by_evidence, (FILTER, "own root"),
        stage=server(socket.AF_UNIX, TCP, lambda folder: str(folder / "s")),
    ),
    Attack(
        "connects to an abstract socket", FAMILY, SENDS, by_evidence, (FILTER, NETWORK, LANDLOCK),
        stage=server(socket.AF_UNIX, TCP, lambda folder: f"\0forewarn-{os.getpid()}"),
    ),
    Attack(
        "asks the kernel for the machine's interfaces by netlink", FAMILY,
        """
        import socket
        def solve(names):
            try:
                found = {name for _, name in socket.if_nameindex()}
            except OSError:
                return "stopped"
            return "through" if found >= set(names) else "stopped"
        """,
        by_its_word, (FILTER, NETWORK), stage=interfaces,
        possible=lambda: None if named_interfaces() else "this machine has no interface but its loopback",
    ),
    Attack(
        "opens a socket to the hypervisor", FAMILY, opens(40, TCP), by_its_word, (FILTER,), possible=can_open(40, TCP),
    ),
    Attack(
        "passes descriptors to the judge", FAMILY,
        """
        import array, os, socket, struct
        def solve():
            try:
                channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(3))
                frame = struct.pack("<I", 4) + b"?null"
                channel.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
            except OSError:
                return "stopped"
            return "through"
        """,
        by_its_word, (FILTER,),
    ),
    Attack(
        "finds shared memory of another program", FAMILY,
        "import ctypes\ndef solve(key):\n"
        '    return "through" if ctypes.CDLL(None).shmget(key, 0, 0) >= 0 else "stopped"',
        by_its_word, IPC, stage=shared_memory,
    ),
    Attack(
        "opens a message queue of another program", FAMILY,
        'import ctypes\ndef solve(name):\n'
        '    return "through" if ctypes.CDLL(None).mq_open(name.encode(), 0) >= 0 else "stopped"',
        by_its_word, (*IPC, LANDLOCK), stage=message_queue,
    ),
)  # fmt: skip
