"""Wakes a thread that waits in poll(2), by a self-pipe (https://cr.yp.to/docs/selfpipe.html)."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class Alarm:
    """``descriptor`` is readable after `ring`, until `hush`. `ring` may be called from a signal handler or another thread."""

    def __init__(self) -> None:
        self.descriptor, self._bell = os.pipe()
        for end in (self.descriptor, self._bell):
            os.set_blocking(end, False)
        self._closed = False
        # Without it, `close` could come between the check and the write of a ring, which would then write to another file that has
        # the same number. Reentrant, because a signal handler may ring while this thread does.
        self._mutex = threading.RLock()

    def ring(self) -> None:
        """Wake the waiting thread; does nothing if the pipe is closed."""
        with self._mutex, suppress(BlockingIOError):  # the pipe is full: it is readable already
            if not self._closed:
                os.write(self._bell, b"x")

    def hush(self) -> None:
        """Make it unreadable again."""
        with suppress(BlockingIOError):
            os.read(self.descriptor, 4096)

    def close(self) -> None:
        """Close the pipe. May be called twice."""
        with self._mutex:
            if not self._closed:
                self._closed = True
                os.close(self.descriptor)
                os.close(self._bell)

    def abandon(self) -> None:
        """Close the pipe in a forked child, where a lock that another thread held would never be released."""
        self._closed = True
        os.close(self.descriptor)
        os.close(self._bell)
