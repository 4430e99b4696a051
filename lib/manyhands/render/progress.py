"""Counting what a run has done so far: rates, what is left, what is running. Shared by everything that shows progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from manyhands.events import Began, Counted, Event, Finished, Held, RunStarted
from manyhands.job import Attempt, Status
from manyhands.numbers import Numbers
from manyhands.render.safe import one_line
from manyhands.render.words import duration

_TO_DO: Final = frozenset({Status.CANCELLED, Status.LOST})
"""How a job ended that still has to be done."""


class Progress:
    """The state of a run as its events tell it. Times are seconds of ``clock``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.since = clock()
        self.total: int | None = None
        self.before = 0
        """Jobs of ``total`` that an earlier execution has done."""
        self.slots: int | None = None
        self.done = self.failed = 0
        self.active: dict[int, tuple[Attempt, float, int]] = {}
        """By job number: the attempt, when it began, its pid."""
        self._held = Numbers()
        self._retrying: set[int] = set()
        self._paused_at: float | None = None

    def event(self, event: Event) -> None:
        """Take one event into account."""
        if isinstance(event, Began):
            self._retrying.discard(event.attempt.job.number)
            self.active[event.attempt.job.number] = (event.attempt, event.at, event.pid)
        elif isinstance(event, (Finished, Held)):  # a tuple: twice as fast as a union, and this is every job
            self._over(event)
        elif isinstance(event, RunStarted):
            self.total, self.before, self.slots, self.since = event.total, event.done_before, event.jobs, self._clock()
        elif isinstance(event, Counted):
            self.total = event.total

    def _over(self, event: Held | Finished) -> None:
        """Count a job that is over once, when it ends: if it is held back then, not again when it is told."""
        outcome = event.outcome
        number = outcome.attempt.job.number
        self.active.pop(number, None)
        if self._held.discard(number):
            return
        self._retrying.discard(number)
        if isinstance(event, Finished) and event.retry_in is not None:
            self._retrying.add(number)
        if outcome.final and outcome.status not in _TO_DO:
            self.done += 1
            self.failed += outcome.status is not Status.OK
        if isinstance(event, Held):
            self._held.add(number)

    def pause(self, paused: bool) -> None:
        """While paused, nothing ages and no rate falls."""
        if paused:
            self._paused_at = self._clock()
        elif self._paused_at is not None:
            lost, self._paused_at = self._clock() - self._paused_at, None
            self.since += lost
            self.active = {key: (attempt, at + lost, pid) for key, (attempt, at, pid) in self.active.items()}

    @property
    def running_now(self) -> int:
        """How many are running: an end is told when it is in the journal, by then the next one has begun in that slot."""
        return min(len(self.active), self.slots or len(self.active))

    @property
    def waiting(self) -> int:
        """How many have failed and wait for another attempt."""
        return len(self._retrying)

    @property
    def left(self) -> int | None:
        """Jobs to do, those that run or wait for a retry included; None while the inputs are not counted."""
        return None if self.total is None else max(0, self.total - self.before - self.done)

    @property
    def rate(self) -> float:
        """Jobs a second since the start."""
        return self.done / max(self._clock() - self.since, 1e-9)

    @property
    def eta(self) -> float | None:
        """Seconds to go at this rate; None while that cannot be told."""
        return None if self.left is None or not self.done else self.left / self.rate

    def line(self) -> str:
        """``1,204 done, 2 failed, 4 running, 796 left, 98.3/s, 8.1 s to go``."""
        parts = [f"{self.done:,} done", f"{self.failed:,} failed", f"{self.running_now:,} running"]
        if self.waiting:
            parts.append(f"{self.waiting:,} waiting for a retry")
        if self.left is not None:
            parts.append(f"{self.left:,} left")
        parts.append(f"{self.rate:,.1f}/s")
        if self.eta is not None:
            parts.append(f"{duration(self.eta)} to go")
        return ", ".join(parts)

    def oldest(self) -> list[tuple[Attempt, float, int]]:
        """What is running: the attempt, when it began, its pid; the longest-running first."""
        return sorted(self.active.values(), key=lambda one: one[1])

    def running(self) -> list[str]:
        """How many are running, then one line for each, the longest-running first."""
        now = self._clock()
        return [f"{self.running_now:,} running"] + [
            f"  job {attempt.job.number} (pid {pid}) for {duration(now - at)}: {one_line(b' '.join(attempt.job.values), 60)}"
            for attempt, at, pid in self.oldest()
        ]
