"""The template: a process that forks children and learns nothing about them.

Children inherit its memory, so that memory must not depend on any earlier child. It gets two descriptors for each
child, forks with CLONE_PARENT, so that the child belongs to the keeper, and closes them. The child's process id, end
and time never enter its memory. Not covered: the watching of children (``keeper.py``), their confinement
(``confine.py``) and their work (``worker.py``).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import NoReturn

from forewarn.sandbox import codec
from forewarn.sandbox.inside import confine, kernel, worker

FORK = b"f"
CANT = b"!"
"""first byte of the message that replaces a child's greeting if the fork failed"""
GREETING = b"h"


def serve(confinement: confine.Confinement, orders: socket.socket) -> None:
    """Fork a child for each order, until the keeper closes its end or dies."""
    flags = confine.namespaces(confinement.on)
    while True:
        data, handles, _, _ = socket.recv_fds(orders, 1, 2)
        if not data:
            return
        channel, line = handles
        try:
            here = kernel.fork_sibling(flags)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(line, CANT + str(error).encode())
        else:
            if here:
                orders.close()
                as_child(confinement, channel, line)
        os.close(channel)
        os.close(line)


def as_child(confinement: confine.Confinement, channel: int, line: int) -> NoReturn:
    """Run as the child: read the request, greet the keeper, drop all privileges, run the submission. Never returns.

    Its time begins with the greeting, so that the time in which a busy host sends the request does not count.

    ``channel``: to the parent. ``line``: to the keeper, which identifies the child by its credentials and has sent the
    time limit there.
    """
    try:
        confine.die_with_parent(confinement.keeper)
        os.setpgid(0, 0)  # not a new session, since each would be a scheduling group, which costs time and can starve
        if line == confine.CHANNEL:
            line = kernel.out_of_the_way(line)
        if channel != confine.CHANNEL:
            os.dup2(channel, confine.CHANNEL)
        link = worker.ParentSocket(confine.CHANNEL)
        asked = link.message()
        os.write(line, GREETING)
        (timeout_s,) = struct.unpack("<d", os.read(line, 8))
        request = codec.loads(asked)
        try:
            confine.give_up_power(confinement, timeout_s, line)
        except OSError as error:
            link.send(b"!", str(error))
            os._exit(4)
        worker.run(request, link)
    finally:
        os._exit(4)
