"""The engine: takes jobs, keeps the slots of a backend full, records what happens, and tells.

    jobs --pulled lazily--> window --journal: began--> backend.start
                                                       backend.reports
    events <--told-- journal: ended <--judged by deadline, stop, retry and halt rules-- Started / Ended

It knows the backend protocol and no backend; it waits in one place only (`Backend.reports`). A result is told only after it
is in the journal; an attempt is handed over only after the journal holds its intent. Rows are committed in groups: together
with the next refill of the window, or after at most 20 ms.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Generator, Iterator
from typing import Final, Protocol

from manyhands.backend import Backend, Ended, Started
from manyhands.engine.climbing import Climber
from manyhands.engine.deadlines import Deadlines
from manyhands.engine.judging import COUNTED, LEFT, RETRIED, Halting, judge
from manyhands.errors import InputError, JournalError
from manyhands.events import Began, Event, Finished, Summary, Tick, Warned
from manyhands.job import Arg, Attempt, Job, Outcome, Status
from manyhands.limits import HaltWhen, Limits

GROUP_COMMIT: Final = 0.020
"""Seconds that a result may wait for its row to be committed."""

POISON: Final = 2
"""A job that has killed so many of its workers is not tried again, whatever `retries` says."""

Pull = Iterator[tuple[Job, int] | None]
"""Jobs with the number of their last attempt (0: none); None means that none is there just now."""


class Record(Protocol):
    """What the engine asks of a journal (`manyhands.journal.Journal`)."""

    def began(self, attempt: Attempt) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...
    def commit(self) -> None: ...


class _Flight:
    """An attempt in the hands of the backend. ``asked`` is when it had to end, ``why`` what it then counts as; ``told``
    that its end was recorded although it could not be stopped."""

    __slots__ = ("asked", "attempt", "began", "deaths", "started", "told", "tries", "why")

    def __init__(self, attempt: Attempt, tries: int, deaths: int = 0) -> None:
        self.attempt, self.tries, self.deaths = attempt, tries, deaths
        self.began = 0.0
        self.started = self.told = False
        self.asked: float | None = None
        self.why = Status.CANCELLED


class Engine:
    """One execution of a run. `run` is the loop; `stop` and `wake` may be called from signal handlers and other threads."""

    def __init__(
        self,
        *,
        jobs: Pull,
        argv: Callable[[Job], tuple[Arg, ...]],
        backend: Backend,
        journal: Record,
        limits: Limits,
        run: str = "",
        total: int | None = None,
        tick: float | None = None,
        halting: Halting | None = None,
        climber: Climber | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._argv, self._backend, self._journal = jobs, argv, backend, journal
        self._limits, self._run, self._tick, self._clock = limits, run, tick, clock
        self._flights: dict[int, _Flight] = {}  # by job number: a job has one attempt at a time
        self._retries: list[tuple[float, int, Attempt, int, int]] = []  # (due, job number, attempt, tries, deaths)
        self._deadlines = Deadlines(limits.timeout)
        self._halting = halting or Halting(limits.halt, total)
        self._climber = climber
        self._notes: list[str] = []
        self._halted = False
        self._unrecorded: list[Finished] = []
        self._recorded: list[Finished] = []
        self._unrecorded_since = 0.0
        self._exhausted = self._dry = False
        self._pulled = 0
        self._next_start = 0.0
        self._stop_signal: int | None = None
        self._stops_asked = self._stops_obeyed = 0
        self._running = 0
        self._paused_at: float | None = None
        self._paused_for = 0.0
        self._broken: JournalError | InputError | None = None
        self._counts: dict[Status, int] = {}
        self._left, self._work = 0, 0.0

    # -- for others ------------------------------------------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """End the run because of signal ``number``: begin nothing more, TERM what runs. The second time: KILL it."""
        self._stop_signal = number if self._stop_signal is None else self._stop_signal
        self._stops_asked += 1
        self._backend.wake()

    def wake(self) -> None:
        """Look for new inputs, and yield a Tick, soon."""
        self._backend.wake()

    def pause(self, paused: bool) -> None:
        """Hold or continue all attempts; the time they are held does not count against their limits."""
        self._backend.pause(paused)
        if paused:
            self._paused_at = self._clock()
        elif self._paused_at is not None:
            self._paused_for += self._clock() - self._paused_at
            self._paused_at = None

    # -- the loop --------------------------------------------------------------------------------------------------------

    def run(self) -> Generator[Event, None, None]:
        """Yield what happens, a Summary last. Raises JournalError or InputError after what was running has ended."""
        began = self._clock()
        try:
            while True:
                self._obey()
                self._fill()
                self._commit_when_due()
                yield from self._tell()
                if self._over():
                    break
                yield from self._wait()
            yield from self._close(began)
        finally:
            self._abandon()

    def _wait(self) -> Iterator[Event]:
        """Wait for the backend once, and take in what it reports."""
        reports = self._backend.reports(self._patience())
        self._dry = False  # whatever woke us, it may have been new inputs
        for report in reports:
            if isinstance(report, Started):
                yield self._started(report)
            elif isinstance(report, Ended):
                self._ended(report)
            else:
                yield Warned(report.text)
        yield from map(Warned, self._notes)
        self._notes.clear()
        self._expire()
        if not reports:
            yield Tick(self._clock(), self._running)

    def _patience(self) -> float | None:
        """Seconds until something is due; None: nothing is."""
        now = self._clock()
        due = [self._tick] if self._tick else []
        if self._unrecorded and not self._broken:
            due.append(self._unrecorded_since + GROUP_COMMIT - now)
        if (deadline := self._deadlines.next()) is not None:
            due.append(deadline + self._paused_for - now)
        if not self._ending():
            if self._retries:
                due.append(self._retries[0][0] - now)
            if self._limits.delay and not self._dry and not self._exhausted and len(self._flights) < self._limits.jobs:
                due.append(self._next_start - now)
        return max(0.0, min(due)) if due else None

    # -- beginning -------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Refill the window when it is half empty: take jobs, record the intents, then hand them over."""
        ahead = 0 if self._limits.delay or self._climber else self._backend.ahead
        room = (self._climber.width if self._climber else self._limits.jobs) + ahead - len(self._flights)
        if self._ending() or room <= ahead // 2:
            return
        now = self._clock()
        batch: list[_Flight] = []
        while len(batch) < room and (not self._limits.delay or now >= self._next_start):
            flight = self._next_flight(now)
            if flight is None:
                break
            self._next_start = now + self._limits.delay
            self._flights[flight.attempt.job.number] = flight
            self._journal.began(flight.attempt)
            batch.append(flight)
        if not batch:
            return
        if not self._commit():
            for flight in batch:
                del self._flights[flight.attempt.job.number]
            return
        for flight in batch:
            self._backend.start(flight.attempt)
            if not self._backend.reports_start:
                self._begin(flight, self._clock())

    def _next_flight(self, now: float) -> _Flight | None:
        """What to begin next: a retry that is due, else a new job; None when there is neither just now."""
        if self._retries and self._retries[0][0] <= now:
            _, _, attempt, tries, deaths = heapq.heappop(self._retries)
            return _Flight(Attempt(attempt.job, attempt.number + 1, attempt.argv), tries + 1, deaths)
        if self._exhausted or self._dry:
            return None
        try:
            pulled = next(self._jobs)
        except StopIteration:
            self._exhausted = True
            self._halting.know(self._pulled)
            return None
        except InputError as error:  # what has begun is finished, then this is told
            self._broken = error
            return None
        if pulled is None:
            self._dry = True
            return None
        job, last = pulled
        self._pulled += 1
        return _Flight(Attempt(job, last + 1, self._argv(job)), 1)

    def _started(self, report: Started) -> Began:
        flight = self._flights[report.attempt.job.number]
        self._begin(flight, report.at)
        return Began(report.attempt, report.at, report.slot, report.pid)

    def _begin(self, flight: _Flight, at: float) -> None:
        flight.started, flight.began = True, at - self._paused_for
        self._running += 1
        self._deadlines.begin(flight.attempt.job.number, flight.began)

    # -- ending ----------------------------------------------------------------------------------------------------------

    def _ended(self, report: Ended) -> None:
        """Judge an end, decide whether it is tried again, and lay it ready for the journal."""
        number = report.attempt.job.number
        flight = self._flights.pop(number)
        self._running -= flight.started
        if flight.told:  # it was given up when it could not be stopped, and has only now left its slot
            return
        limit = self._deadlines.limit
        if not self._backend.can_stop and flight.asked is None and limit is not None and report.wall > limit:
            flight.asked, flight.why = (
                report.at,
                Status.TIMEOUT,
            )  # nobody could end it in time, nor say so before it ended
        outcome = judge(report, flight.asked, flight.why)
        if self._climber and (note := self._climber.ended()):
            self._notes.append(note)
        self._deadlines.end(number, report.wall if outcome.status in COUNTED else None)
        deaths = flight.deaths + report.died
        if deaths >= POISON and flight.tries <= self._limits.retries:
            outcome = outcome._replace(error=f"{outcome.error}; given up: it has killed {deaths} workers")
        if outcome.status not in RETRIED or flight.tries > self._limits.retries or deaths >= POISON or self._ending():
            self._record(Finished(outcome))
            return
        wait = self._limits.retry_wait(flight.tries)
        heapq.heappush(self._retries, (self._clock() + wait, number, report.attempt, flight.tries, deaths))
        self._record(Finished(outcome._replace(final=False), wait))

    def _record(self, event: Finished) -> None:
        if not self._unrecorded:
            self._unrecorded_since = self._clock()
        self._unrecorded.append(event)
        outcome = event.outcome
        self._journal.ended(outcome)
        self._work += outcome.wall
        if outcome.final and outcome.status in LEFT:
            self._left += 1
        elif outcome.final:
            self._counts[outcome.status] = self._counts.get(outcome.status, 0) + 1
            self._halting.count(outcome.status)

    def _expire(self) -> None:
        """End what is out of time; where that cannot be done, say that it is still running."""
        now = self._clock()
        for number, deadline in self._deadlines.expired(now - self._paused_for):
            flight = self._flights[number]
            if flight.asked is not None:
                continue
            flight.asked, flight.why = deadline + self._paused_for, Status.TIMEOUT
            if self._backend.can_stop:
                self._backend.stop([flight.attempt])
            else:
                self._leave_running(flight, Status.TIMEOUT, now)

    def _obey(self) -> None:
        """Carry out a stop that was asked for, or a halt rule that has come true."""
        if self._stops_obeyed < self._stops_asked:
            self._stops_obeyed = self._stops_asked
            self._end_all(kill=self._stops_asked > 1)
        elif self._halting.reached and not self._halted:
            self._halted = True
            if self._limits.halt.when is HaltWhen.NOW:
                self._end_all(kill=False)
            else:
                self._backend.recall([flight.attempt for flight in self._flights.values() if not flight.started])

    def _end_all(self, *, kill: bool) -> None:
        """Take back what waits and end what runs."""
        now = self._clock()
        attempts = [flight.attempt for flight in self._flights.values()]
        if self._backend.can_stop:
            for flight in self._flights.values():
                flight.asked = now if flight.asked is None else flight.asked
            self._backend.stop(attempts, kill=kill)
            return
        self._backend.recall(attempts)
        if kill:
            for flight in self._flights.values():
                if flight.started and not flight.told:
                    self._leave_running(flight, Status.CANCELLED, now)

    def _leave_running(self, flight: _Flight, status: Status, now: float) -> None:
        """Record what cannot be stopped as over, and say that it still runs; it keeps its slot until it comes back."""
        flight.told = True
        wall = now - self._paused_for - flight.began
        self._record(Finished(Outcome(flight.attempt, status, wall=wall, started=time.time() - wall, still_running=True)))

    # -- recording and telling -------------------------------------------------------------------------------------------

    def _commit_when_due(self) -> None:
        if self._unrecorded and (not self._busy() or self._clock() - self._unrecorded_since >= GROUP_COMMIT):
            self._commit()

    def _commit(self) -> bool:
        """Make all rows durable. After a failure nothing more begins, and what is not recorded is not told."""
        try:
            self._journal.commit()
        except JournalError as error:
            self._broken = error
            return False
        self._recorded += self._unrecorded
        self._unrecorded = []
        return True

    def _tell(self) -> Iterator[Event]:
        recorded, self._recorded = self._recorded, []
        yield from recorded

    def _ending(self) -> bool:
        """Whether nothing more may begin."""
        return self._stops_asked > 0 or self._halting.reached or self._broken is not None

    def _over(self) -> bool:
        """Whether nothing runs (but what cannot be stopped) and nothing more will begin."""
        return not self._busy() and (self._ending() or (self._exhausted and not self._retries))

    def _busy(self) -> bool:
        """Whether anything is under way whose end is not recorded."""
        return any(not flight.told for flight in self._flights.values())

    def _close(self, began: float) -> Iterator[Event]:
        """Say what it all came to."""
        if self._broken:
            raise self._broken
        self._left += len(self._retries)
        yield Summary(
            self._run, dict(self._counts), self._left, not self._exhausted, self._clock() - began - self._paused_for,
            self._work, self._stop_signal, str(self._limits.halt) if self._halted else None,
        )  # fmt: skip

    def _abandon(self) -> None:
        """Whoever was listening has left, or something broke: end all and record it, but tell nobody."""
        try:
            if self._flights and self._backend.can_stop and self._broken is None:
                self._stops_asked += 1
                self._end_all(kill=True)
                give_up = self._clock() + self._limits.grace + 5
                while self._flights and self._clock() < give_up:
                    for report in self._backend.reports(0.1):
                        if isinstance(report, Ended):
                            self._ended(report)
                self._commit()
        finally:
            self._backend.close()
