"""The attempts that the loop has under way, and the jobs that failed and wait for another attempt."""

from __future__ import annotations

import heapq
from itertools import count
from typing import Final

from manyhands.backends.protocol import Started
from manyhands.core.events import Began
from manyhands.core.job import Attempt, Status

MOST_WAITING: Final = 20_000
"""Jobs that may wait for a retry, some 500 bytes each: while there are so many, no new job begins."""


class Flight:
    """An attempt in the hands of the backend. ``tries`` counts those of this execution, ``deaths`` the workers that died of it."""

    __slots__ = ("asked", "attempt", "began", "deaths", "event", "started", "told", "tries", "why")

    def __init__(self, attempt: Attempt, tries: int = 1, deaths: int = 0) -> None:
        self.attempt, self.tries, self.deaths = attempt, tries, deaths
        self.began = 0.0
        self.event: Began | None = None
        """How its beginning was told."""
        self.started = False
        self.told = False
        """Its end was recorded although it could not be stopped."""
        self.asked: float | None = None
        """When it had to end, and ``why``: what it then counts as."""
        self.why = Status.CANCELLED

    def begun(self, report: Started) -> Began:
        """It has begun: what is to be told of that."""
        self.event = Began(report.attempt, report.at, report.slot, report.pid)
        return self.event

    def again(self) -> Flight:
        """The next attempt of the same job."""
        attempt = self.attempt
        return Flight(Attempt(attempt.job, attempt.number + 1, attempt.argv), self.tries + 1, self.deaths)


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
        """Whether so many wait that no new job should begin."""
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
