"""Which attempts are given to the backend next: retries that are due, then new jobs, pulled lazily.

    jobs --pulled--> Flight <--due-- Retries

Separate from the loop, which decides how many may begin, and when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from manyhands.core.events import Warned
from manyhands.core.job import Arg, Attempt, Job, Values
from manyhands.core.lean import make
from manyhands.engine.in_flight import Flight, Retries

Pull = Iterator[tuple[Job, int] | None]
"""Jobs with the number of their last attempt (0: none); None means that no job is available just now."""


class Supply:
    """Makes flights of ``jobs`` and of ``retries``; two of them begin ``delay`` seconds apart. ``argv`` makes the arguments of a job, from
    its values and its number."""

    def __init__(
        self, jobs: Pull, argv: Callable[[Values, int], tuple[Arg, ...]], retries: Retries, delay: float
    ) -> None:
        self._jobs, self._argv, self._retries, self._delay = jobs, argv, retries, delay
        self.next_start = 0.0
        """The moment before which nothing may begin."""
        self.pulled = 0
        """How many new jobs were taken."""
        self.exhausted = False
        """Whether there are no more new jobs."""
        self.dry = False
        """Whether none was available at the last try; the loop sets it back."""
        self.broken: Exception | None = None
        """What a program's iterator raised; there are no more new jobs then."""
        self._crowded = False
        self.news: list[Warned] = []

    def take(self, most: int, now: float, *, new: bool) -> list[Flight]:
        """Up to ``most`` flights that may begin now; none of them is a ``new`` job if that is False."""
        if self._delay:
            if now < self.next_start:
                return []
            most = min(most, 1)
        found: list[Flight] = []
        while len(found) < most and (flight := self._retries.due(now)):
            found.append(flight)
        if new and len(found) < most and not (self.exhausted or self.dry or self.broken):
            self._pull(found, most)
        if found:
            self.next_start = now + self._delay
        return found

    def _pull(self, found: list[Flight], most: int) -> None:
        """Add new jobs to ``found``."""
        if self._retries.full:
            if not self._crowded:
                self._crowded = True
                why = f"{len(self._retries):,} jobs wait for a retry: no new ones begin until there are fewer"
                self.news.append(Warned(why))
            return
        argv, room = self._argv, most - len(found)
        try:
            for pulled in self._jobs:
                if pulled is None:
                    self.dry = True
                    return
                job, last = pulled
                self.pulled += 1
                found.append(Flight(make(Attempt, (job, last + 1, argv(job[2], job[0])))))
                room -= 1
                if not room:
                    return
            self.exhausted = True
        except Exception as error:  # any error of a program's iterator: raised after the jobs that began are finished
            self.broken = error
