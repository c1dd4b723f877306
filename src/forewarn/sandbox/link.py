"""The parent's end of one child's socket: sends the request and handed-out values, and receives frames.

It is bounded in time and size, whatever the child does. Frames are returned as they came; ``judge/observe.py`` reads
them. This module notes the arrival time of each frame on the parent's clock, since a child could forge its own times.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from array import array
from collections.abc import Callable

from forewarn.sandbox import codec
from forewarn.sandbox.inside.worker import attempt

MAX_OUTPUT_BYTES = 16 << 20
"""bytes of all frames of one execution"""
MAX_FRAMES = 100_000
"""number of frames of one execution: each one takes the parent some time, however short it is"""
LOOK_S = 0.25
"""seconds between checks of a child that sends nothing, which also shows when the parent itself stood still"""
Serve = Callable[[bytes], codec.Tree]
"""a child's request -> the answer; if it raises, the answer is a dict with ``error``"""


class Link:
    """The parent's end of one child's socket."""

    def __init__(
        self,
        end: socket.socket,
        deadline: float,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        serve: Serve | None = None,
    ) -> None:
        """``serve``: answers the requests in frames of kind ``P``, while the child waits."""
        self._serve = serve
        self._end, self._deadline = end, deadline
        self._max_output_bytes = max_output_bytes
        self._out = b""
        self._in = bytearray()
        self._parsed = 0
        self.flooded = self._gone = False
        self.arrivals = array("d")
        """arrival time of each whole frame, on the monotonic clock"""
        self.kept_waiting_s = 0.0
        """the longest time that the child can have waited for a parent that was stopped or without a core, seconds; a
        parent that is at work on what others sent does not count as standing still"""
        end.setblocking(False)

    def queue(self, data: bytes) -> None:
        self._out += struct.pack("<I", len(data)) + data
        self._flush()

    def frames(self) -> bytes:
        """Return everything that the child sends until it ends. Raises ``TimeoutError`` after the deadline."""
        poll = select.poll()
        looked = _idle()
        while True:
            poll.register(self._end, select.POLLIN | (select.POLLOUT if self._out else 0))
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the child's socket stayed open")
            poll.poll(min(left, LOOK_S) * 1000 + 1)
            owed = bool(self._out)
            self._flush()
            piece = self._received()
            came, idle = time.monotonic(), _idle()
            if owed or piece:
                self.kept_waiting_s = max(self.kept_waiting_s, idle - looked - LOOK_S)
            looked = idle
            if piece is None:
                continue
            if not piece:
                return bytes(self._in)
            self._in += piece
            if len(self._in) > self._max_output_bytes or not self._look(came):
                self.flooded = True
                return bytes(self._in[: self._max_output_bytes])
            looked = _idle()  # a child that asked for something has waited for the answer, not for the parent

    def _received(self) -> bytes | None:
        """Return the bytes that have arrived; empty: the child has ended; None: nothing has arrived."""
        try:
            return self._end.recv(1 << 18)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    @property
    def received(self) -> bytes:
        """Return everything received so far, up to the limit."""
        return bytes(self._in[: self._max_output_bytes])

    def _flush(self) -> None:
        try:
            while self._out:
                self._out = self._out[self._end.send(self._out) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._out, self._gone = b"", True  # the child's status says why

    def _look(self, came: float) -> bool:
        """Note the frames that are now complete, and answer their requests. Returns False if there are too many."""
        while len(self._in) - self._parsed >= 5:
            (size,) = struct.unpack_from("<I", self._in, self._parsed)
            end = self._parsed + 5 + size
            if len(self._in) < end:
                return True
            if len(self.arrivals) >= MAX_FRAMES:
                return False
            self.arrivals.append(came)
            kind = self._in[self._parsed + 4]
            # A child that asks without reading would grow the queue, so only one answer is in flight, as the worker
            # needs. A child that has ended is not served either.
            if kind == ord("P") and self._serve is not None and not self._out and not self._gone:
                self.queue(_served(self._serve, bytes(self._in[self._parsed + 5 : end])))
            self._parsed = end
        return True


def _idle() -> float:
    """Return the seconds in which this process did not work, counted from some moment."""
    return time.monotonic() - time.process_time()


def _served(serve: Serve, asked: bytes) -> bytes:
    """Return the answer to a child's request. The submission may have made it, so errors stay within its run."""
    data, error = attempt(lambda: codec.dumps(serve(asked)))
    if error is None:
        return bytes(data)
    if not isinstance(error, Exception):  # the caller was interrupted
        raise error
    return codec.dumps(codec.encode({"error": f"it can't be served: {type(error).__name__}"}))
