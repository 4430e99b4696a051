"""Counts what a run has done so far: rates, jobs that are not done, jobs that run. Shared by everything that shows progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from manyhands.core.events import Began, Counted, Event, Finished, Held, RunStarted
from manyhands.core.job import Attempt, Status
from manyhands.core.lean import NamedTuple
from manyhands.core.number_set import Numbers
from manyhands.core.safe_text import one_line
from manyhands.render.hosts import Hosts
from manyhands.render.words import duration
from manyhands.work.template import fill_slot

_TO_DO: Final = frozenset({Status.CANCELLED, Status.LOST})
"""How a job ended that still has to be done."""


class Running(NamedTuple):
    """An attempt that runs. ``at``: when it began, in seconds of the clock; ``place``: its stage, its slot
    there, and the host whose slot it is, if that is not this one."""

    attempt: Attempt
    at: float
    pid: int
    place: tuple[int, int, str | None]

    @property
    def host(self) -> str | None:
        """Where it runs; None: here."""
        return self.place[2]

    @property
    def filled(self) -> Attempt:
        """The attempt as it runs in its slot."""
        return self.attempt._replace(argv=fill_slot(self.attempt.argv, self.place[1]))


class Progress:
    """The state of a run as its events tell it. Times are seconds of ``clock``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.since = clock()
        self._total: int | None = None
        self.before = 0
        """Jobs of ``total`` that an earlier execution has done."""
        self.done = self.failed = 0
        self.active: dict[int, Running] = {}
        """By job number."""
        self._slots: dict[tuple[int, int, str | None], int] = {}
        self.hosts = Hosts()
        self._held = Numbers()
        self._retries: dict[int, float] = {}  # by job number: when the next attempt is due
        self._paused_at: float | None = None

    def event(self, event: Event) -> None:
        """Take one event into account."""
        if isinstance(event, Began):
            self._begun(event)
        elif isinstance(event, (Finished, Held)):  # a tuple: twice as fast as a union, and this is every job
            self._over(event)
        elif isinstance(event, RunStarted):
            self._total, self.before, self.since = event.total, event.done_before, self._clock()
        elif isinstance(event, Counted):
            self._total = event.total

    def _begun(self, event: Began) -> None:
        """Note that a job runs. The end of the one before in its slot may come later: ends are reported only when they are in the journal."""
        number, place = event.attempt.job.number, (event.stage, event.slot, event.host)
        self._retries.pop(number, None)
        before = self._slots.get(place, 0)  # a job that has gone on since, and perhaps has ended there
        if (running := self.active.get(before)) is not None and running.place == place:
            del self.active[before]
            self._left(running)
        self._slots[place] = number
        self.active[number] = Running(event.attempt, event.at, event.pid, place)
        if event.host is not None:
            self.hosts.of(event.host).running += 1

    def _over(self, event: Held | Finished) -> None:
        """Count a job that is over when it ends; if its outcome is held back then, not again when that comes."""
        outcome = event.outcome
        number = outcome.attempt.job.number
        self._ended(number, event.stage if isinstance(event, Finished) else None)
        if self._held.discard(number):
            return
        self._retries.pop(number, None)
        if isinstance(event, Finished) and event.retry_in is not None:
            self._retries[number] = self._clock() + event.retry_in
        if outcome.final and outcome.status not in _TO_DO:
            self.done += 1
            self.failed += outcome.status is not Status.OK
        if outcome.ending.host is not None and outcome.status is not Status.CANCELLED:
            host = self.hosts.of(outcome.ending.host)
            host.ok += outcome.status is Status.OK
            host.failed += outcome.status is not Status.OK
        if isinstance(event, Held):
            self._held.add(number)

    def _ended(self, number: int, stage: int | None) -> None:
        """Take it out of what runs, unless it runs at another stage: one stage may tell before the one before it does."""
        running = self.active.get(number)
        if running is not None and stage in (None, running.place[0]):
            del self.active[number], self._slots[running.place]
            self._left(running)

    def _left(self, running: Running) -> None:
        """It runs no more on its host, if it ran on another than this one."""
        if running.host is not None:
            self.hosts.of(running.host).running -= 1

    def pause(self, paused: bool) -> None:
        """While paused, nothing ages and no rate falls."""
        if paused:
            self._paused_at = self._clock()
        elif self._paused_at is not None:
            lost, self._paused_at = self._clock() - self._paused_at, None
            self.since += lost
            self.active = {number: one._replace(at=one.at + lost) for number, one in self.active.items()}

    @property
    def total(self) -> int | None:
        """Jobs of the run; None while they are not counted, or when more have come than were counted."""
        return None if self._total is None or self.before + self.done > self._total else self._total

    @property
    def percent(self) -> int:
        """How much of the total is done; only 100 when all is."""
        return 100 * (self.before + self.done) // max(self.total or 0, 1)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self.since

    @property
    def running_now(self) -> int:
        """How many are running."""
        return len(self.active)

    @property
    def waiting(self) -> int:
        """How many have failed and wait for another attempt."""
        return len(self._retries)

    @property
    def next_retry(self) -> float | None:
        """Seconds until the first of them is due; None when none waits."""
        return max(0.0, min(self._retries.values()) - self._clock()) if self._retries else None

    @property
    def left(self) -> int | None:
        """Jobs to do, those that run or wait for a retry included; None while the inputs are not counted."""
        return None if self.total is None else self.total - self.before - self.done

    @property
    def rate(self) -> float:
        """Jobs a second since the start."""
        return self.done / max(self.elapsed, 1e-9)

    @property
    def eta(self) -> float | None:
        """Seconds to go at this rate, and not before a retry is due; None while that cannot be told."""
        if not self.left or not self.done:
            return None
        return max(self.left / self.rate, self.next_retry or 0.0)

    def retries(self) -> str:
        """``3 to retry, next in 12.1 s``; nothing when none waits."""
        due = self.next_retry
        return "" if due is None else f"{self.waiting:,} to retry, next {f'in {duration(due)}' if due else 'at once'}"

    def line(self) -> str:
        """``1,204 of 2,000 done (60%), 2 failed, 4 running, 12.3 s elapsed, 98.3/s, 8.1 s to go; longest: job 7, 4.2 s: a.gz``."""
        done = self.before + self.done
        parts = [
            f"{done:,} done" if self.total is None else f"{done:,} of {self.total:,} done ({self.percent}%)",
            f"{self.failed:,} failed",
            f"{self.running_now:,} running",
        ]
        if retries := self.retries():
            parts.append(retries)
        parts += [f"{duration(self.elapsed)} elapsed", f"{self.rate:,.1f}/s"]
        if self.eta is not None:
            parts.append(f"{duration(self.eta)} to go")
        return ", ".join(parts) + self._longest()

    def _longest(self) -> str:
        """What has been running longest, as the end of a line."""
        if not self.active:
            return ""
        attempt, at, *_ = min(self.active.values(), key=_since)
        age, name = duration(self._clock() - at), one_line(b" ".join(attempt.job.values), 60)
        return f"; longest: job {attempt.job.number}, {age}: {name}"

    def oldest(self) -> list[Running]:
        """What is running, the longest-running first."""
        return sorted(self.active.values(), key=_since)

    def running(self) -> list[str]:
        """How many are running, then one line for each, the longest-running first."""
        now = self._clock()
        return [f"{self.running_now:,} running"] + [
            f"  job {one.attempt.job.number} (pid {one.pid}) for {duration(now - one.at)}: "
            + one_line(b" ".join(one.attempt.job.values), 60)
            for one in self.oldest()
        ]


def _since(one: Running) -> float:
    return one.at
