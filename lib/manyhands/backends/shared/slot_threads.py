"""Threads that take attempts one by one: one thread per slot, made when it is first needed.

What a thread does with an attempt is defined in `manyhands.backends.command_threads` and `manyhands.backends.threads`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from manyhands.backends.protocol import Ended, Report
from manyhands.core.job import Attempt

MAY_BE_DAEMONS: Final[bool] = getattr(threading, "_daemon_threads_allowed", lambda: True)()
"""False in a subinterpreter (PEP 734), which waits for all its threads."""


class SlotThreads:
    """Up to ``slots`` daemon threads, each of which runs ``serve(take, number)`` until ``take()`` gives None."""

    def __init__(
        self,
        slots: int,
        serve: Callable[[Callable[[], Attempt | None], int], None],
        report: Callable[[Report], None],
        mutex: threading.Lock | None = None,
    ) -> None:
        self._slots, self._serve, self._report = slots, serve, report
        self._changed = threading.Condition(mutex)
        self._waiting: deque[Attempt] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._paused = self.closed = False

    def start(self, attempt: Attempt) -> None:
        """Give an attempt to the next free thread."""
        with self._changed:
            self._waiting.append(attempt)
            if len(self._waiting) > self._idle and len(self._threads) < self._slots:
                number = len(self._threads) + 1
                thread = threading.Thread(
                    target=self._serve, args=(self._take, number), name=f"manyhands-slot-{number}", daemon=MAY_BE_DAEMONS
                )
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def grow(self, slots: int) -> int:
        """See `manyhands.backends.protocol.Growing`."""
        with self._changed:
            self._slots = max(self._slots, slots)
            return self._slots

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report as not begun what no thread has taken."""
        with self._changed:
            for attempt in [waiting for waiting in self._waiting if waiting in attempts]:
                self._waiting.remove(attempt)
                self._report(Ended(attempt, time.monotonic(), began=False))

    def pause(self, paused: bool) -> None:
        """Hand out nothing while ``paused``."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def shut(self) -> None:
        """Hand out nothing any more: idle threads end now, busy ones after their attempt."""
        with self._changed:
            self.closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for all threads, up to ``timeout`` seconds altogether; return whether they have ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _take(self) -> Attempt | None:
        with self._changed:
            self._idle += 1
            while not self.closed and (self._paused or not self._waiting):
                self._changed.wait()
            self._idle -= 1
            return None if self.closed else self._waiting.popleft()
