"""When an event happened, in a process that may have been suspended (SIGSTOP), which notices all events only when it continues.

a thread that beats five times a second --a gap--> events noticed just after the gap may have happened at its beginning
"""

from __future__ import annotations

import threading
import time
from typing import Final

_BEAT: Final = 0.2
_GAP: Final = 1.0
"""Seconds without a beat after which the process counts as suspended."""


class Pulse:
    """Beats from `beat` to `close`, in a thread that is made when it is first needed."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._gap = (0.0, 0.0)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self) -> None:
        """Begin to beat, if it does not yet. If no thread can be started, events count as happening when they are noticed."""
        if self._thread is not None:
            return
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="manyhands-pulse", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None

    def moment(self, began: float, *, caused: bool) -> float:
        """When an event that is noticed now may have happened at the earliest, but not before ``began``.

        ``caused``: by us, so it happened now.
        """
        now = time.monotonic()
        if caused or self._thread is None:
            return now
        last, (begin, end) = self._last, self._gap
        if now - last > _GAP:  # the gap has only just ended, and the thread has not noticed it yet
            return max(began, last)
        return max(began, begin) if now - end < _GAP else now

    def close(self) -> None:
        """Stop beating."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_BEAT):
            now = time.monotonic()
            if now - self._last > _GAP:
                self._gap = (self._last, now)
            self._last = now
