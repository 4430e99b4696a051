"""When something happened, for a process that may have been suspended (SIGSTOP): its threads hear of everything at once then.

a thread that beats five times a second --a gap--> what is heard just after it may have happened at its beginning
"""

from __future__ import annotations

import threading
import time
from typing import Final

_BEAT: Final = 0.2
_GAP: Final = 1.0
"""Seconds without a beat that mean that the process was held up."""


class Pulse:
    """Beats while it is asked to, in a thread that is made when it is first needed."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._gap = (0.0, 0.0)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self) -> None:
        """Begin to beat, if it does not yet. Without room for a thread, moments are when they are heard of."""
        if self._thread is not None:
            return
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="manyhands-pulse", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None

    def moment(self, began: float, *, asked: bool) -> float:
        """When something happened that is heard of now: the earliest moment that is possible, but not before ``began``.

        ``asked``: it has happened because we said so, and so not before now.
        """
        now = time.monotonic()
        if asked or self._thread is None:
            return now
        last, (begin, end) = self._last, self._gap
        if now - last > _GAP:  # the gap has only just ended, and the thread does not know it yet
            return max(began, last)
        return max(began, begin) if now - end < _GAP else now

    def close(self) -> None:
        """Beat no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_BEAT):
            now = time.monotonic()
            if now - self._last > _GAP:
                self._gap = (self._last, now)
            self._last = now
