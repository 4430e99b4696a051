"""What wakes a thread that waits in poll(2): a pipe to oneself (https://cr.yp.to/docs/selfpipe.html)."""

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
        # else a ring could come between the question whether it is closed and the write, which would then go to whatever file
        # has that number by now; reentrant, because a signal handler may ring while this thread does
        self._mutex = threading.RLock()

    def ring(self) -> None:
        """Wake whoever waits; nothing if it is closed."""
        with self._mutex, suppress(BlockingIOError):  # it rings already
            if not self._closed:
                os.write(self._bell, b"x")

    def hush(self) -> None:
        """It was heard."""
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
        """Close the pipe in a process that was forked, where another thread's lock would never be released."""
        self._closed = True
        os.close(self.descriptor)
        os.close(self._bell)
