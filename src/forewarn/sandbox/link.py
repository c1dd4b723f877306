"""The parent's end of one child's socket: the request and what is handed out go out, frames come in.

Bounded in time and size whatever the child does. Frames are returned as they came: ``observe.py`` reads them. When each
came is noted here, on the parent's clock, as a child can say what it likes of its own.
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
"""all frames of one execution"""
MAX_FRAMES = 100_000
"""of one execution: each costs the parent some time, however short it is"""
LOOK_S = 0.25
"""seconds between looks at a child that sends nothing, so that it shows where the parent itself stood still"""
Serve = Callable[[bytes], codec.Tree]
"""what a child asks for -> the answer; one that raises is answered with a dict that holds ``error``"""


class Link:
    """The parent's end of one child's socket."""

    def __init__(
        self,
        end: socket.socket,
        deadline: float,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        serve: Serve | None = None,
    ) -> None:
        """``serve``: answers what frames of kind ``P`` ask for; the child waits meanwhile."""
        self._serve = serve
        self._end, self._deadline = end, deadline
        self._max_output_bytes = max_output_bytes
        self._out = b""
        self._in = bytearray()
        self._parsed = 0
        self.flooded = self._gone = False
        self.arrivals = array("d")
        """on the monotonic clock, when each whole frame had come"""
        self.kept_waiting_s = 0.0
        """the longest that the child can have waited for a parent that stood still, stopped or without a core"""
        end.setblocking(False)

    def queue(self, data: bytes) -> None:
        self._out += struct.pack("<I", len(data)) + data
        self._flush()

    def frames(self) -> bytes:
        """All that the child sends until it is gone. Raises ``TimeoutError`` past the deadline."""
        poll = select.poll()
        looked = time.monotonic()
        while True:
            poll.register(self._end, select.POLLIN | (select.POLLOUT if self._out else 0))
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the child's socket stayed open")
            poll.poll(min(left, LOOK_S) * 1000 + 1)
            owed = bool(self._out)
            self._flush()
            piece = self._received()
            came = time.monotonic()
            if owed or piece:
                self.kept_waiting_s = max(self.kept_waiting_s, came - looked - LOOK_S)
            looked = came
            if piece is None:
                continue
            if not piece:
                return bytes(self._in)
            self._in += piece
            if len(self._in) > self._max_output_bytes or not self._look(came):
                self.flooded = True
                return bytes(self._in[: self._max_output_bytes])
            looked = time.monotonic()  # whoever asked to be served has waited for that, and not for us

    def _received(self) -> bytes | None:
        """What has come; empty once the child is gone, None if nothing has."""
        try:
            return self._end.recv(1 << 18)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    @property
    def received(self) -> bytes:
        """All that came, up to the limit."""
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
        """Note the frames that have become whole, and answer what they ask. False: there are too many."""
        while len(self._in) - self._parsed >= 5:
            (size,) = struct.unpack_from("<I", self._in, self._parsed)
            end = self._parsed + 5 + size
            if len(self._in) < end:
                return True
            if len(self.arrivals) >= MAX_FRAMES:
                return False
            self.arrivals.append(came)
            kind = self._in[self._parsed + 4]
            # A child that asks without reading would grow the queue: one answer in flight is all the worker needs.
            # Nor is one served that is gone, whatever it asked for before.
            if kind == ord("P") and self._serve is not None and not self._out and not self._gone:
                self.queue(_served(self._serve, bytes(self._in[self._parsed + 5 : end])))
            self._parsed = end
        return True


def _served(serve: Serve, asked: bytes) -> bytes:
    """The answer to a child. What it asked is the submission's word, so nothing that comes of it leaves its run."""
    data, error = attempt(lambda: codec.dumps(serve(asked)))
    if error is None:
        return bytes(data)
    if not isinstance(error, Exception):  # the caller was interrupted
        raise error
    return codec.dumps(codec.encode({"error": f"it can't be served: {type(error).__name__}"}))
