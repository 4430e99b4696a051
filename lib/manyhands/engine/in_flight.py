"""The attempts that the loop has given to the backend, and the jobs that failed and wait for another attempt."""

from __future__ import annotations

import heapq
from itertools import count
from typing import Final

from manyhands.backends.protocol import Started
from manyhands.core.events import Began
from manyhands.core.job import Attempt, Status

MOST_WAITING: Final = 20_000
"""Jobs that may wait for a retry, some 500 bytes each: while that many wait, no new job begins."""


class Flight:
    """An attempt that the backend has. ``tries``: attempts of its job in this execution; ``deaths``: workers that died of the job.

    Attributes of the class are what most flights never change: not setting them makes a flight in a third of the time.
    """

    began = 0.0
    report: Started | None = None
    """What reported its beginning."""
    started = False
    recorded = False
    """It was recorded as over, although it could not be stopped."""
    stop_at: float | None = None
    """When it had to end; its status is then ``why``."""
    why = Status.CANCELLED
    tries = 1
    deaths = 0

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt

    @property
    def event(self) -> Began | None:
        """The event for its beginning, if that was reported."""
        return None if self.report is None else began_event(self.report)

    def again(self) -> Flight:
        """The next attempt of the same job."""
        attempt = self.attempt
        flight = Flight(Attempt(attempt.job, attempt.number + 1, attempt.argv))
        flight.tries, flight.deaths = self.tries + 1, self.deaths
        return flight


def began_event(report: Started) -> Began:
    """The event for a report."""
    return Began(report.attempt, report.at, report.slot, report.pid, host=report.host)


class Retries:
    """Flights that have failed, by the moment at which the next attempt is due, in seconds of the engine's clock."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._heap: list[tuple[float, int, Flight]] = []
        self._order = count()
        self._most = most

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def full(self) -> bool:
        """Whether so many jobs wait that no new one should begin."""
        return len(self._heap) >= self._most

    @property
    def next(self) -> float | None:
        """When the next one is due; None: none waits."""
        return self._heap[0][0] if self._heap else None

    def add(self, due: float, failed: Flight) -> None:
        """Try the job of this flight again."""
        heapq.heappush(self._heap, (due, next(self._order), failed))

    def due(self, now: float) -> Flight | None:
        """The next attempt of a job that is due, if there is one."""
        return heapq.heappop(self._heap)[2].again() if self._heap and self._heap[0][0] <= now else None
