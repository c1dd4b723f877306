"""The template: a process that forks children and learns nothing about them.

What it forks inherits its memory, so that memory must not depend on any earlier child. It gets two descriptors for
each child, forks with CLONE_PARENT, so that the child is the keeper's and not its own, and closes them: neither the
child's number, nor its end, nor its time ever enters it. Not covered: who watches children (``keeper.py``), what a
child gives up (``confine.py``) and does (``worker.py``).
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
"""first byte of what comes in place of a child's greeting where there is no child"""
GREETING = b"h"


def serve(cell: confine.Cell, orders: socket.socket) -> None:
    """Fork a child for each order, until the keeper closes its end or dies."""
    flags = confine.namespaces(cell.on)
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
                as_child(cell, channel, line)
        os.close(channel)
        os.close(line)


def as_child(cell: confine.Cell, channel: int, line: int) -> NoReturn:
    """The child: take the request, greet the keeper, give up all power, run the submission. Never returns.

    Its time begins with the greeting. So nothing that the host is busy with, before it has sent all of the request, is
    counted.

    ``channel``: to the parent. ``line``: to the keeper, which learns from its credentials who greets, and has left the
    limit of time there.
    """
    try:
        confine.die_with_parent(cell.keeper)
        os.setpgid(0, 0)  # no session of its own: each would be a scheduling group to make and to starve
        if line == confine.CHANNEL:
            line = kernel.out_of_the_way(line)
        if channel != confine.CHANNEL:
            os.dup2(channel, confine.CHANNEL)
        link = worker.Channel(confine.CHANNEL)
        asked = link.message()
        os.write(line, GREETING)
        (timeout_s,) = struct.unpack("<d", os.read(line, 8))
        request = codec.loads(asked)
        try:
            confine.give_up_power(cell, timeout_s, line)
        except OSError as error:
            link.send(b"!", str(error))
            os._exit(4)
        worker.run(request, link)
    finally:
        os._exit(4)
