"""Holding all attempts: asked for by any thread, done by the engine's. Separate, because the time held has to be counted, too."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Pauses:
    """``pause`` holds or continues what runs; only the engine's thread calls it, once `begin` has said which one that is."""

    def __init__(self, pause: Callable[[bool], None], wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._pause, self._wake, self._clock = pause, wake, clock
        self._asked: deque[tuple[bool, threading.Event]] = deque()
        self._thread: int | None = None
        self._since: float | None = None
        self._until = 0.0
        self.total = 0.0
        """Seconds for which nothing could run: everything was held, or stopped with us."""

    def begin(self) -> None:
        """This thread is the engine's."""
        self._thread = threading.get_ident()

    def end(self) -> None:
        """Nobody carries anything out any more."""
        self._thread = None

    def ask(self, paused: bool) -> None:
        """Hold or continue, and return when that is done."""
        if self._thread in (None, threading.get_ident()):
            self._do(paused)
            return
        done = threading.Event()
        self._asked.append((paused, done))
        self._wake()
        while not done.wait(0.1) and self._thread is not None:
            pass

    def obey(self) -> None:
        """Do what others have asked for."""
        while self._asked:
            paused, done = self._asked.popleft()
            self._do(paused)
            done.set()

    def suspended(self, at: float, seconds: float) -> None:
        """The process, and what runs in it, stood still until ``at``: the same, unless all was held then anyway."""
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
