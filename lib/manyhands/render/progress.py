"""Counting what a run has done so far: rates, what is left, what is running. Shared by everything that shows progress."""

from __future__ import annotations

from collections.abc import Callable

from manyhands.events import Began, Event, Finished, Held, RunStarted
from manyhands.job import Attempt, Status
from manyhands.render.safe import one_line
from manyhands.render.summary import duration


class Progress:
    """The state of a run as its events tell it. Times are seconds of ``clock``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.since = clock()
        self.total: int | None = None
        self.done = self.failed = 0
        self.active: dict[int, tuple[Attempt, float, int]] = {}
        """By job number: the attempt, when it began, its pid."""
        self._held: set[int] = set()

    def event(self, event: Event) -> None:
        """Take one event into account."""
        if isinstance(event, Began):
            self.active[event.attempt.job.number] = (event.attempt, event.at, event.pid)
        elif isinstance(event, Held | Finished):
            self._over(event)
        elif isinstance(event, RunStarted):
            self.total, self.since = event.total, self._clock()

    def _over(self, event: Held | Finished) -> None:
        outcome = event.outcome
        number = outcome.attempt.job.number
        self.active.pop(number, None)
        if number in self._held:  # counted when it was held back
            self._held.discard(number)
        elif outcome.final and outcome.status is not Status.CANCELLED:
            self.done += 1
            self.failed += outcome.status is not Status.OK
        if isinstance(event, Held):
            self._held.add(number)

    @property
    def rate(self) -> float:
        """Jobs a second since the start."""
        return self.done / max(self._clock() - self.since, 1e-9)

    @property
    def eta(self) -> float | None:
        """Seconds to go at this rate; None while that cannot be told."""
        return None if self.total is None or not self.done else (self.total - self.done) / self.rate

    def line(self) -> str:
        """``1,204 done, 2 failed, 4 running, 796 left, 98.3/s, 8.1 s to go``."""
        parts = [f"{self.done:,} done", f"{self.failed:,} failed", f"{len(self.active):,} running"]
        if self.total is not None:
            parts.append(f"{self.total - self.done:,} left")
        parts.append(f"{self.rate:.1f}/s")
        if self.eta is not None:
            parts.append(f"{duration(self.eta)} to go")
        return ", ".join(parts)

    def running(self) -> list[str]:
        """One line for each running job, the oldest first."""
        now = self._clock()
        lines = [f"{len(self.active)} running"]
        for attempt, at, pid in sorted(self.active.values(), key=lambda one: one[1]):
            name = one_line(b" ".join(attempt.job.values), 60)
            lines.append(f"  job {attempt.job.number} (pid {pid}) for {duration(now - at)}: {name}")
        return lines
