"""When a running attempt times out: after a fixed number of seconds, or a share of the median of finished jobs.

Separate from the loop, because a changing limit needs bookkeeping that the loop should not contain.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator

from manyhands.core.limits import Timeout

_SAMPLE = 999  # wall times kept for the median: bounded, and recent enough to follow a drift
_ENOUGH = 3  # as in GNU parallel: no limit from a median of fewer jobs


class Deadlines:
    """The deadlines of running attempts. Moments are seconds of the engine's clock; the caller chooses the keys.

    The limit is the same for all, and attempts are added as they begin: so the first one added is the next one due.
    """

    def __init__(self, timeout: Timeout | None, *, sample: int = _SAMPLE) -> None:
        self._sample_size = sample
        self._percent = timeout.percent if timeout else None
        self.limit = timeout.seconds if timeout else None
        """Seconds that an attempt may take; None while that is not known."""
        self.timed = timeout is not None
        """Whether there is a limit, known or not."""
        self._started: dict[int, float] = {}
        self._walls: deque[float] = deque()
        self._sorted: list[float] = []

    def begin(self, key: int, at: float) -> None:
        """Attempt ``key`` has begun."""
        if self.timed:
            self._started[key] = at

    def end(self, key: int, wall: float | None) -> None:
        """Attempt ``key`` is over; ``wall`` is its duration when it counts for the median."""
        self._started.pop(key, None)
        if self._percent is not None and wall is not None:
            self._sample(wall)
            if len(self._walls) >= _ENOUGH:
                self.limit = self._median() * self._percent / 100

    def _sample(self, wall: float) -> None:
        """Add a wall time and drop the oldest. The sample is kept sorted, because sorting it after each job took 70 us."""
        self._walls.append(wall)
        insort(self._sorted, wall)
        if len(self._walls) > self._sample_size:
            del self._sorted[bisect_left(self._sorted, self._walls.popleft())]

    def _median(self) -> float:
        half, odd = divmod(len(self._sorted), 2)
        return self._sorted[half] if odd else (self._sorted[half - 1] + self._sorted[half]) / 2

    def next(self) -> float | None:
        """The next deadline, or None while there is none."""
        if self.limit is None or not self._started:
            return None
        return next(iter(self._started.values())) + self.limit

    def expired(self, now: float) -> Iterator[tuple[int, float]]:
        """Yield and forget (key, deadline) of every attempt whose time is over."""
        while (moment := self.next()) is not None and moment <= now:
            key = next(iter(self._started))
            del self._started[key]
            yield key, moment
