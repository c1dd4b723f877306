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

from forewarn.sandbox.inside import confine, kernel, worker

FORK = b"f"
CANT = b"!"
"""first byte of what comes in place of a child's greeting where there is no child"""
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
    """The child: greet the keeper, read the request, give up all power, run the submission. Never returns.

    ``channel``: to the parent. ``line``: to the keeper, which learns from its credentials who greets, and has left the
    limit of time there.
    """
    try:
        confine.die_with_parent(confinement.keeper)
        os.setpgid(0, 0)  # no session of its own: each would be a scheduling group to make and to starve
        os.write(line, GREETING)
        (timeout_s,) = struct.unpack("<d", os.read(line, 8))
        if line == confine.CHANNEL:
            line = kernel.out_of_the_way(line)
        if channel != confine.CHANNEL:
            os.dup2(channel, confine.CHANNEL)
        link = worker.ParentSocket(confine.CHANNEL)
        request = link.receive()
        try:
            confine.give_up_power(confinement, timeout_s, line)
        except OSError as error:
            link.send(b"!", str(error))
            os._exit(4)
        worker.run(request, link)
    finally:
        os._exit(4)
