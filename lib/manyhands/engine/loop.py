"""The engine: takes jobs, keeps the slots of a backend full, records what happens, and yields events.

    jobs --pulled lazily--> window --journal: began--> backend.start
                                                       backend.reports
    events <--yielded-- journal: ended <--judged by deadline, stop, retry and halt rules-- Started / Ended

It knows the backend protocol but no particular backend, and waits in one place only (`Backend.reports`). An attempt is
given to the backend only after the journal says that it is about to begin; a result is yielded only after it is in the
journal. Rows are committed in groups: together with the next refill of the window, or after at most 20 ms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence

from manyhands.backends.protocol import POISON, Backend, Ended, Report, Started, Suspended, is_lasting
from manyhands.core.errors import JournalError
from manyhands.core.events import Began, Counted, Event, Finished, Summary, Tick, Warned
from manyhands.core.job import Arg, Ending, Outcome, Status, Values
from manyhands.core.lean import make
from manyhands.core.limits import HaltWhen, Limits
from manyhands.engine.autoscale import Climber
from manyhands.engine.deadlines import Deadlines
from manyhands.engine.in_flight import Flight, Retries, began_event
from manyhands.engine.outcomes import COUNTED, LEFT, Halting, given_up, judge, may_retry
from manyhands.engine.pauses import Pauses
from manyhands.engine.recording import Record, Recorder
from manyhands.engine.requests import Requests
from manyhands.engine.steering import Steered
from manyhands.engine.supply import Pull, Supply
from manyhands.storage.progress_file import Standing


class Engine(Steered):
    """One execution of a run. `run` is the loop. Call `stop` and `wake` from any thread or signal handler, `ask` from any other
    thread, and everything else only from the thread that iterates `run`, as what is asked for is."""

    def __init__(
        self,
        *,
        jobs: Pull,
        argv: Callable[[Values, int], tuple[Arg, ...]],
        backend: Backend,
        journal: Record,
        limits: Limits,
        run: str = "",
        total: int | None = None,
        whole: bool = True,
        tick: float | None = None,
        halting: Halting | None = None,
        climber: Climber | None = None,
        gate: Callable[[], bool] = lambda: True,
        before_waiting: Callable[[], None] = lambda: None,
        done_before: int = 0,
        begins: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``total``: the number of jobs in the run, if known; ``done_before``: how many of them ``jobs`` leaves out,
        because they are done; ``whole``: ``jobs`` has all the others, so that they are counted when it is exhausted;
        ``tick``: seconds after which a Tick is yielded at the latest; ``begins``: yield an event also when an attempt
        begins. While ``gate()`` is False no job begins: call `wake` when it becomes True. ``before_waiting`` is called
        whenever all events have been yielded and the engine is about to wait or to end.
        """
        self._backend, self._begins, self._lasting = backend, begins, is_lasting(backend)
        self._recorder = Recorder(journal, clock)
        self._limits, self._run, self._tick, self._clock = limits, run, tick, clock
        self._flights: dict[int, Flight] = {}  # by job number: a job has one attempt at a time
        self._retries = Retries()
        self._supply = Supply(jobs, argv, self._retries, limits.delay)
        self._deadlines, self._halting = Deadlines(limits.timeout), halting or Halting(limits.halt, total)
        self._climber, self._gate, self._before_waiting = climber, gate, before_waiting
        self._total, self._whole, self._done_before = total, whole, done_before
        # With a halt rule no attempt is queued at the backend: it would begin even after the result that meets the rule.
        self._careful = limits.halt.when is not HaltWhen.NEVER
        self._news: list[Began | Counted | Warned] = []
        self._halted, self._owner = False, os.getpid()
        self._stop_signal: int | None = None
        self._running = self._stops_requested = self._stops_obeyed = 0
        self._requests, self._pauses = Requests(backend.wake), Pauses(backend.pause, clock)
        self._slots = limits.jobs
        self.broken: Exception | None = None
        """The error that ended the run early: the journal cannot be written, or the inputs raised it."""

    # -- called by others ------------------------------------------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """End the run because of signal ``number``: begin nothing more, and TERM what runs; a second call KILLs it."""
        self._stop_signal = number if self._stop_signal is None else self._stop_signal
        self._stops_requested += 1
        self._backend.wake()

    def wake(self) -> None:
        """Make the engine look for new inputs and yield a Tick soon."""
        self._backend.wake()

    def know_total(self, pulled: int) -> None:
        """Note that all inputs have been read: they make ``pulled`` jobs, of which some may not have begun."""
        total = self._done_before + pulled
        self._halting.know(total)
        if total != self._total:
            self._total = total
            self._news.append(Counted(total))

    def standing(self) -> Standing:
        """How it stands now, for other processes."""
        running = [one.event for one in self._flights.values() if one.event and not one.recorded]
        return Standing(running, self._retries, self._total, self._pauses.paused, self._width)

    @property
    def _width(self) -> int:
        """How many attempts may run at once."""
        return self._climber.width if self._climber else self._limits.jobs

    # -- the loop --------------------------------------------------------------------------------------------------------

    def run(self) -> Generator[Event, None, None]:
        """Yield events, a Summary last. Raises JournalError, or the inputs' error, after all running attempts have ended."""
        began, self._owner = self._clock(), os.getpid()
        self._requests.begin()
        try:
            while True:
                self._obey()
                self._fill()
                self._commit_when_due()
                yield from self._recorder.take_durable()
                if self._over():
                    break
                yield from self._wait()
            yield from self._close(began)
        finally:
            self._abandon()
            self._requests.end()

    def _wait(self) -> Iterator[Event]:
        """Wait for the backend once, handle all its reports, and only then yield events: the caller may stop iterating here."""
        self._before_waiting()
        reports = self._backend.reports(self._patience())
        self._supply.dry = False  # new inputs may have woken us
        self._take_in(reports)
        while self._careful and (more := self._backend.reports(0)):  # all results are known before anything begins
            self._take_in(more)
        self._expire()
        news, self._news = self._news, []
        yield from news
        if not reports:
            yield Tick(self._clock(), self._running)

    def _take_in(self, reports: Sequence[Report]) -> None:
        for report in reports:
            if isinstance(report, Ended):
                self._ended(report)
            elif isinstance(report, Started):
                self._started(report)
            elif isinstance(report, Suspended):
                self._pauses.suspended(report.at, report.seconds)
            else:
                self._news.append(Warned(report.text, report.requested))

    def _patience(self) -> float | None:
        """Seconds until something is due; None if nothing is."""
        now = self._clock()
        due = [self._tick] if self._tick else []
        if (commit := self._recorder.due) is not None and not isinstance(self.broken, JournalError):
            due.append(commit - now)
        if (deadline := self._deadlines.next()) is not None:
            due.append(deadline + self._pauses.total - now)
        if not self._ending() and self._room() > 0 and self._gate():
            if (retry := self._retries.next) is not None:
                due.append(max(retry, self._supply.next_start) - now)
            if self._limits.delay and not self._supply.dry and not self._supply.exhausted:
                due.append(self._supply.next_start - now)
        return max(0.0, min(due)) if due else None

    # -- beginning -------------------------------------------------------------------------------------------------------

    def _ahead(self) -> int:
        """Attempts that may be queued at the backend, beyond those that can begin at once."""
        exact = self._careful or self._narrowed or self._limits.delay or (self._climber and not self._climber.obeyed)
        return 0 if exact else self._backend.ahead

    def _room(self) -> int:
        """Attempts that the backend can be given now."""
        width = self._width
        return width + self._ahead() - len(self._flights)

    def _fill(self) -> None:
        """Take jobs, record that they are about to begin, then give them to the backend."""
        room = self._room()
        if room <= 0 or self._ending() or not self._gate():
            return
        # New jobs are taken only when half of the queued attempts have begun: this makes fewer and larger commits.
        batch = self._supply.take(room, self._clock(), new=room > self._ahead() // 2)
        flights, note = self._flights, self._recorder.began
        for flight in batch:
            attempt = flight.attempt
            flights[attempt[0][0]] = flight
            note(attempt)
        self._look_at_supply()
        if not batch:
            return
        recorded, start, reports_start = self._commit(), self._backend.start, self._backend.reports_start
        for flight in batch:
            # another stage may have met the halt rule, or `stop` may have been called, during the commit; what goes on elsewhere
            # is stopped there
            if not recorded or ((self._stops_requested or self._halting.reached) and not self._lasting):
                self._ended(Ended(flight.attempt, self._clock(), began=False))
                continue
            start(flight.attempt)
            if not reports_start:
                self._begin(flight, self._clock())

    def _look_at_supply(self) -> None:
        """Take over the warnings and the error of the supply."""
        supply = self._supply
        if supply.news:
            self._news += supply.news
            supply.news.clear()
        self.broken = self.broken or supply.broken
        if supply.exhausted and self._whole:
            self._whole = False  # so that they are counted only once
            self.know_total(supply.pulled)

    def _started(self, report: Started) -> None:
        flight = self._flights.get(report.attempt.job.number)
        if flight is None or flight.started or flight.attempt.number != report.attempt.number:
            return  # reported twice, or too late
        self._begin(flight, report.at)
        flight.report = report
        if self._begins:
            self._news.append(began_event(report))

    def _begin(self, flight: Flight, at: float) -> None:
        flight.started, flight.began = True, at - self._pauses.total
        self._running += 1
        if self._deadlines.timed:
            self._deadlines.begin(flight.attempt.job.number, flight.began)

    # -- ending ----------------------------------------------------------------------------------------------------------

    def _ended(self, report: Ended) -> None:
        """Find the outcome of an attempt that ended, decide whether the job is retried, and queue its row for the journal."""
        attempt, at, ending, began, _, pid = report
        number = attempt[0][0]
        flight = self._flights.get(number)
        if flight is None or (flight.attempt is not attempt and flight.attempt.number != attempt.number):
            return  # reported twice, or too late
        del self._flights[number]
        if flight.started:
            self._running -= 1
        elif began and self._begins and self._backend.reports_start:
            self._news.append(Began(attempt, at - ending.wall, ending.slot, pid, host=ending.host))
        if flight.recorded:  # it could not be stopped, and its end was recorded then; only now is its slot free
            return
        limit = self._deadlines.limit
        if limit is not None and not self._backend.can_stop and flight.stop_at is None and ending.wall > limit:
            # it ran past its time-out, which was not noticed before it ended
            flight.stop_at, flight.why = at, Status.TIMEOUT
        if began and ending[0] == 0 and flight.stop_at is None:  # most jobs: this is what `judge` would find
            status, outcome = Status.OK, make(Outcome, (attempt, Status.OK, ending, True))
        else:
            outcome = judge(report, flight.stop_at, flight.why)
            status = outcome.status
        if self._climber and (note := self._climber.ended()):
            self._news.append(Warned(note, requested=True))
        if self._deadlines.timed:
            self._deadlines.end(number, ending.wall if status in COUNTED else None)
        if status is not Status.OK:
            self._not_ok(report, flight, outcome)
            return
        self._record(make(Finished, (outcome, None, 1)))

    def _not_ok(self, report: Ended, flight: Flight, outcome: Outcome) -> None:
        """Record an attempt that was not ok, and plan a retry if the job gets one."""
        limits = self._limits
        flight.deaths = deaths = flight.deaths + report.died
        if deaths >= POISON and flight.tries <= limits.retries:
            outcome = given_up(outcome, deaths)
        may = flight.tries <= limits.retries and deaths < POISON and may_retry(report, outcome, limits.retry_on)
        if self._ending() or not may:
            self._record(Finished(outcome))
            return
        wait = limits.backoff.wait(flight.tries)
        self._retries.add(self._clock() + wait, flight)
        self._record(Finished(outcome._replace(final=False), wait))

    def _record(self, event: Finished) -> None:
        self._recorder.ended(event)
        outcome = event.outcome
        if self._careful and outcome.final and outcome.status not in LEFT:
            self._halting.count(outcome.status)

    def _expire(self) -> None:
        """Stop attempts whose time is over; if the backend cannot stop them, record them as still running."""
        now = self._clock()
        for number, deadline in self._deadlines.expired(now - self._pauses.total):
            flight = self._flights[number]
            if flight.stop_at is not None:
                continue
            flight.stop_at, flight.why = deadline + self._pauses.total, Status.TIMEOUT
            if self._backend.can_stop:
                self._backend.stop([flight.attempt])
            else:
                self._leave_running(flight, Status.TIMEOUT, now)

    def _obey(self) -> None:
        """Carry out what was asked for, the stops that were requested, and the halt rule once it is met."""
        self._requests.obey()
        if self._stops_obeyed < self._stops_requested:
            self._stops_obeyed = self._stops_requested
            self._end_all(kill=self._stops_requested > 1)
        elif self._halting.reached and not self._halted:
            self._halted = True
            if self._limits.halt.when is HaltWhen.NOW:
                self._end_all(kill=False)
            else:
                self._recall_ready()

    def _end_all(self, *, kill: bool) -> None:
        """Take back waiting attempts, and end running ones."""
        now = self._clock()
        attempts = [flight.attempt for flight in self._flights.values()]
        if self._backend.can_stop:
            for flight in self._flights.values():
                flight.stop_at = now if flight.stop_at is None else flight.stop_at
            self._backend.stop(attempts, kill=kill)
            return
        self._backend.recall(attempts)
        if kill:
            for flight in self._flights.values():
                if flight.started and not flight.recorded:
                    self._leave_running(flight, Status.CANCELLED, now)

    def _leave_running(self, flight: Flight, status: Status, now: float) -> None:
        """Record the end of an attempt that cannot be stopped, marked as still running; it keeps its slot until it returns."""
        flight.recorded = True
        wall = now - self._pauses.total - flight.began
        ending = Ending(started=time.time() - wall, wall=wall, still_running=True)
        self._record(Finished(Outcome(flight.attempt, status, ending)))

    # -- recording and reporting -----------------------------------------------------------------------------------------

    def _commit_when_due(self) -> None:
        if (due := self._recorder.due) is not None and (not self._busy() or self._clock() >= due):
            self._commit()

    def _commit(self) -> bool:
        """Make all rows durable. After a failure nothing more begins, not even queued attempts, and no unrecorded result is yielded."""
        try:
            self._recorder.commit()
        except JournalError as error:
            self.broken = error
            self._recall_ready()
            return False
        return True

    def _ending(self) -> bool:
        """Whether nothing more may begin."""
        return self._stops_requested > 0 or self._finishing or self._halting.reached or self.broken is not None

    def _over(self) -> bool:
        """Whether nothing more will begin and nothing runs, except what cannot be stopped."""
        return not self._busy() and (self._ending() or (self._supply.exhausted and not self._retries))

    def _busy(self) -> bool:
        """Whether the backend has an attempt whose end is not recorded."""
        return any(not flight.recorded for flight in self._flights.values())

    def _close(self, began: float) -> Iterator[Event]:
        """Yield the Summary. If the journal could not be written, try once more."""
        if isinstance(self.broken, JournalError):
            self._commit()
            yield from self._recorder.take_durable()
            raise self.broken
        self._before_waiting()  # also after the last results: closing the backend takes a while
        recorder, left = self._recorder, self._recorder.left + len(self._retries)
        counts, unread = dict(recorder.counts), not self._supply.exhausted
        wall = self._clock() - began - self._pauses.total
        halted = str(self._limits.halt) if self._halted else None
        work, stopped, early = recorder.work, self._stop_signal, self._finishing
        yield Summary(self._run, counts, left, unread, wall, work, stopped, halted, self._total, early=early)
        if self.broken:
            raise self.broken

    def _abandon(self) -> None:
        """The caller stopped iterating, or an error occurred: end everything and record it. In a forked child, do nothing."""
        if os.getpid() != self._owner:
            return
        try:
            if self._busy() and not isinstance(self.broken, JournalError):
                self._stops_requested += 1
                self._end_all(kill=True)
                give_up = self._clock() + self._limits.grace + 5
                while self._busy() and self._clock() < give_up:
                    self._take_in(self._backend.reports(0.1))
            self._commit()
        finally:
            self._backend.close()
