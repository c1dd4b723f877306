"""Counts a child's threads, and its folders where no small disk bounds them: each waits until the keeper has said yes
or no.

Nothing else bounds them for everybody: RLIMIT_NPROC does not bind root, address space bounds those alone that have
stacks of their own, and a control group needs rights that a user may not have. The listener of a small filter beside
the other (``seccomp.asking_program``) goes to the keeper, which answers. A "yes" lets the call go on as it was made;
its flags lie in registers, so they can't change after the look. Folders on a disk of the machine take long to remove,
up to a hundred times as long as to make. Not covered: which calls make a thread or a folder.

Sources: man 2 seccomp_unotify; include/uapi/linux/seccomp.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct

from forewarn.sandbox.inside import kernel, seccomp

AT_ONCE = 64
"""threads of a child at one time; a few more where several ask at once, never more than twice as many"""
IN_ALL = 4096
"""questions that a child may ask in its life: each takes the keeper's time, too"""
FOLDERS = 256
"""that a child may make in its life where they are counted: as many names as the small disk has"""
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTIFICATION, _ANSWER = 80, "=QqiI"


def works() -> bool:
    """Whether this kernel has listeners (Linux 5.5), and no other filter of this process has one. Tried in a fork."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            kernel.install_listened_filter(seccomp.asking_program())
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


class Counter:
    """Answers one child's questions. ``close`` refuses all that are still to come."""

    def __init__(self, listener: int, pid: int, proc: int) -> None:
        """``proc``: a descriptor of /proc."""
        self.listener: int | None = listener
        self._pid, self._proc, self._left = pid, proc, IN_ALL
        self._folders_left = FOLDERS

    def answer(self) -> None:
        """Answer one question that is there."""
        if self.listener is None:
            return
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        if not any(events & select.POLLIN for _, events in poll.poll(0)):  # it hung up: all its threads are gone
            self.close()
            return
        asked = bytearray(_NOTIFICATION)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, asked, True)
            question, call = struct.unpack_from("=Q8xi", asked)
            refusal = self._refusal(call)
            answer = struct.pack(_ANSWER, question, 0, -refusal, 0 if refusal else _CONTINUE)
            fcntl.ioctl(self.listener, _SEND, answer)
        except FileNotFoundError:
            pass  # who asked is gone, or was interrupted and asks again
        self._left -= 1
        if self._left <= 0:
            self.close()

    def _refusal(self, call: int) -> int:
        """The error number with which a call is refused; 0 for a yes."""
        if call not in seccomp.folder_calls():
            return 0 if self._n_threads() < AT_ONCE else errno.EAGAIN
        self._folders_left -= 1
        return 0 if self._folders_left >= 0 else errno.ENOSPC

    def close(self) -> None:
        """From now on every call that asks fails with ENOSYS, without anybody being asked."""
        if self.listener is not None:
            os.close(self.listener)
            self.listener = None

    def _n_threads(self) -> int:
        try:
            return os.stat(f"{self._pid}/task", dir_fd=self._proc).st_nlink - 2  # man 5 proc: one link a thread
        except FileNotFoundError:
            return AT_ONCE
