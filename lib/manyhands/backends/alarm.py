"""What wakes a thread that waits in poll(2): a pipe to oneself (https://cr.yp.to/docs/selfpipe.html)."""

from __future__ import annotations

import os
from contextlib import suppress


class Alarm:
    """``descriptor`` is readable after `ring`, until `hush`. `ring` may be called from a signal handler or another thread."""

    def __init__(self) -> None:
        self.descriptor, self._bell = os.pipe()
        for end in (self.descriptor, self._bell):
            os.set_blocking(end, False)
        self._closed = False

    def ring(self) -> None:
        """Wake whoever waits."""
        if not self._closed:
            with suppress(BlockingIOError):  # it rings already
                os.write(self._bell, b"x")

    def hush(self) -> None:
        """It was heard."""
        with suppress(BlockingIOError):
            os.read(self.descriptor, 4096)

    def close(self) -> None:
        """Close the pipe."""
        self._closed = True
        os.close(self.descriptor)
        os.close(self._bell)
