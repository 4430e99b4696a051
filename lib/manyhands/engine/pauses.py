"""Suspends all attempts: any thread requests it, the engine's thread does it. Separate, because suspended time is counted, too."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Pauses:
    """``pause`` suspends or continues what runs; after `begin`, only the thread that called `begin` calls it."""

    def __init__(self, pause: Callable[[bool], None], wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._pause, self._wake, self._clock = pause, wake, clock
        self._requests: deque[tuple[bool, threading.Event]] = deque()
        self._thread: int | None = None
        self._since: float | None = None
        self._until = 0.0
        self.total = 0.0
        """Seconds for which nothing could run: all was suspended, or stopped together with this process."""

    def begin(self) -> None:
        """Note that the current thread is the engine's."""
        self._thread = threading.get_ident()

    def end(self) -> None:
        """The engine's thread carries out no more requests."""
        self._thread = None

    def request(self, paused: bool) -> None:
        """Suspend or continue, and return when that is done."""
        if self._thread in (None, threading.get_ident()):
            self._do(paused)
            return
        done = threading.Event()
        self._requests.append((paused, done))
        self._wake()
        while not done.wait(0.1) and self._thread is not None:
            pass

    def obey(self) -> None:
        """Carry out what other threads have requested."""
        while self._requests:
            paused, done = self._requests.popleft()
            self._do(paused)
            done.set()

    def suspended(self, at: float, seconds: float) -> None:
        """Count ``seconds`` in which this process was stopped, until ``at``, unless all was suspended then anyway."""
        if self._since is None and at - seconds >= self._until:
            self.total += seconds

    def _do(self, paused: bool) -> None:
        self._pause(paused)
        if paused:
            self._since = self._clock()
        elif self._since is not None:
            self._until = self._clock()
            self.total += self._until - self._since
            self._since = None
