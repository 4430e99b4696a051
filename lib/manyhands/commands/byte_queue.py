"""A queue of bytes for a reader that may be slow: written as far as that is possible without waiting.

For loops that must meet a deadline: a plain write to a full pipe, or to a terminal that was stopped by Ctrl-S, waits for ever.
Separate from `output`, which may wait.
"""

from __future__ import annotations

import os
import select
import stat
from contextlib import suppress
from typing import Final

from manyhands.storage.output import named

FULL: Final = 1 << 20
"""Bytes; with this many waiting, the caller should let the queue drain before it puts more."""
_BLOCK: Final = 1 << 16
_SURE: Final = min(512, select.PIPE_BUF)
"""Bytes that a pipe accepts at once when poll(2) says that it is writable (pipe(7), PIPE_BUF)."""


class ByteQueue:
    """Bytes that wait to be written to ``descriptor``. Use it as a context: it may open a descriptor of its own.

    Writing without waiting needs O_NONBLOCK, which belongs to the open file and not to the descriptor: set on our stdout, it would
    disturb all processes that share it. A pipe or a terminal is therefore opened once more (/proc/self/fd, Linux).
    """

    def __init__(self, descriptor: int) -> None:
        self._given = self.descriptor = descriptor
        self._kept = bytearray()
        self.closed = False
        """Whether the reader is gone; bytes that are put then are discarded."""
        self._at_once = stat.S_ISREG(os.fstat(descriptor).st_mode) or not os.get_blocking(descriptor)
        if not self._at_once:
            with suppress(OSError):  # a socket, no /proc, or another user's file
                self.descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                self._at_once = True

    def __enter__(self) -> ByteQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, data: bytes) -> None:
        """Queue ``data``, and write what can be written now."""
        if not self.closed:
            self._kept += data
            self.drain()

    @property
    def waiting(self) -> int:
        """How many bytes have not been written."""
        return len(self._kept)

    def drain(self) -> None:
        """Write what can be written now."""
        try:
            while self._kept and (done := self._write()):
                del self._kept[:done]
        except BrokenPipeError:
            self.closed = True
            self._kept.clear()

    def _write(self) -> int:
        """Write once; return how many bytes were written."""
        if not self._at_once and not _takes(self.descriptor):
            return 0
        try:
            return os.write(self.descriptor, memoryview(self._kept)[: _BLOCK if self._at_once else _SURE].tobytes())
        except BlockingIOError:
            return 0
        except OSError as error:
            raise named(error, self._given) from None

    def close(self) -> None:
        """Close its own descriptor; bytes that were not written are lost."""
        if self.descriptor != self._given:
            os.close(self.descriptor)
            self.descriptor = self._given


def _takes(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))
