"""Carries events from the engine's thread to the thread that iterates them.

    engine's thread --put: lists, one for each turn of its loop; never waits--> channel --take--> iterating thread
           ^-------------------------drained: there is room again--------------'

The bound applies to *beginnings*: the engine checks whether the channel is `full` before it begins a job, but the results of
running jobs always have room. So neither time-outs nor commits depend on how fast events are taken.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Final

from manyhands.core.events import Event, Finished
from manyhands.core.job import NOTHING

MOST: Final = 1_000
"""Events that may wait here before no more jobs begin."""
MOST_BYTES: Final = 1 << 24
"""Bytes of outputs and results that those events may hold altogether."""


class Closed(Exception):
    """The channel has ended; the cause is the error that ended the sender, if there was one."""


class Channel:
    """For one sender and one taker at a time. The taker calls ``drained`` when the channel is no longer full. The sender, or a call
    of `nudge`, calls ``arrived`` when there is something to take."""

    def __init__(self, drained: Callable[[], None] = lambda: None) -> None:
        self.drained = drained
        self.arrived: Callable[[], None] = lambda: None
        self._queue: queue.SimpleQueue[tuple[list[Event], int] | BaseException | None] = queue.SimpleQueue()
        # Each counter is written by one thread only, so none needs a lock.
        self._events_put = self._events_taken = self._bytes_put = self._bytes_taken = 0
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no more jobs should begin for now."""
        return self._events_put - self._events_taken >= MOST or self._bytes_put - self._bytes_taken >= MOST_BYTES

    def put(self, events: list[Event]) -> None:
        """Send events; the sender must not use the list afterwards."""
        weight = sum(map(_weight, events))
        self._events_put += len(events)
        self._bytes_put += weight
        self._queue.put((events, weight))
        self.arrived()

    def close(self, error: BaseException | None = None) -> None:
        """End the channel; ``error`` is raised at the other end when all events have been taken."""
        self._queue.put(error)
        self.arrived()

    def take(self, timeout: float | None = None) -> list[Event]:
        """The next events; none if none arrive within ``timeout`` seconds. Raises Closed at the end, and on every later call."""
        if self._closed:
            raise Closed
        try:
            found = self._queue.get(timeout=timeout)
        except queue.Empty:
            return []
        if not isinstance(found, tuple):
            self._closed = True
            raise Closed from found
        events, weight = found
        was_full = self.full
        self._events_taken += len(events)
        self._bytes_taken += weight
        if was_full and not self.full:
            self.drained()
        return events

    def nudge(self) -> None:
        """Let a waiting `take` return without events."""
        self._queue.put(([], 0))
        self.arrived()


def _weight(event: Event) -> int:
    if not isinstance(event, Finished):
        return 0
    end = event.outcome.ending
    if end.stdout is NOTHING and end.stderr is NOTHING:
        return 0 if end.result is None else len(end.result)
    return len(end.stdout.data) + len(end.stderr.data) + len(end.result or b"")
