"""Counts a child's threads, and its folders if no small disk bounds them: each call waits until the keeper allows or
refuses it.

Other limits don't work everywhere: RLIMIT_NPROC does not apply to root, address space bounds only threads with their
own stacks, and a control group needs rights that a user may not have. A second, small filter
(``seccomp.asking_program``) has a listener that goes to the keeper, which answers. An allowed call continues unchanged;
its flags are in registers, so they can't change after the check. Folders on the machine's disk take long to remove, up
to a hundred times as long as to make. Not covered: which calls create a thread or a folder.

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
"""threads of a child at one time; slightly more if several ask at once, but never more than twice as many"""
IN_ALL = 4096
"""requests that a child may make in total, since each also takes the keeper's time"""
FOLDERS = 256
"""folders that a child may make in total if they are counted: as many as the names on the small disk"""
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTIFICATION, _ANSWER = 80, "=QqiI"


def works() -> bool:
    """Return whether this kernel has listeners (Linux 5.5) and this process does not have one yet, tried in a fork."""
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
    """Answers one child's requests for threads. ``close`` refuses all later ones."""

    def __init__(self, listener: int, pid: int, proc: int) -> None:
        """``proc``: a descriptor of /proc."""
        self.listener: int | None = listener
        self._pid, self._proc, self._left = pid, proc, IN_ALL
        self._folders_left = FOLDERS

    def answer(self) -> None:
        """Answer one waiting request."""
        if self.listener is None:
            return
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        if not any(events & select.POLLIN for _, events in poll.poll(0)):  # hung up: all its threads have ended
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
            pass  # the asking thread has ended, or was interrupted and asks again
        self._left -= 1
        if self._left <= 0:
            self.close()

    def _refusal(self, call: int) -> int:
        """Return the error number with which the call is refused; 0: it is allowed."""
        if call not in seccomp.folder_calls():
            return 0 if self._n_threads() < AT_ONCE else errno.EAGAIN
        self._folders_left -= 1
        return 0 if self._folders_left >= 0 else errno.ENOSPC

    def close(self) -> None:
        """Make every later counted call fail with ENOSYS, without asking the keeper."""
        if self.listener is not None:
            os.close(self.listener)
            self.listener = None

    def _n_threads(self) -> int:
        try:
            return os.stat(f"{self._pid}/task", dir_fd=self._proc).st_nlink - 2  # man 5 proc: one link a thread
        except FileNotFoundError:
            return AT_ONCE
