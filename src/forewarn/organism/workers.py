"""What every worker process of the organism does first: end with its parent, and leave Ctrl-C to it."""

from __future__ import annotations

import os
import signal
import threading
import time

POLL_S = 1.0


def start_worker(parent: int) -> None:
    """``parent``: process id of the parent. A pool's workers hold both ends of their queue, so that a parent killed
    outright leaves no end of file behind: they have to look."""
    # Ctrl-C reaches every process of the terminal: the parent alone acts on it. A handler, for what is ignored would
    # be ignored by submissions, too.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
