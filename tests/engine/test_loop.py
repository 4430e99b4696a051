"""The engine's rules, in virtual time, on the fake backend: nothing sleeps, nothing is started."""

from __future__ import annotations

import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.backends.fake import Fake, Play
from manyhands.backends.protocol import Ended, Report, Started
from manyhands.core.errors import InputError, JournalError, NotRunningError
from manyhands.core.events import Began, Event, Finished, Held, Summary, Warned
from manyhands.core.job import Attempt, Ending, Job, Outcome, Status
from manyhands.core.limits import Backoff, Halt, Limits, RetryOn, Timeout
from manyhands.engine.deadlines import Deadlines
from manyhands.engine.loop import Engine
from manyhands.engine.order import in_order
from manyhands.engine.outcomes import Halting, judge, may_retry
from manyhands.engine.pauses import Pauses
from manyhands.engine.requests import Requests


class Memory:
    """A journal that remembers the order of things; ``full_after``: the commit from which on it fails."""

    def __init__(self, full_after: int | None = None) -> None:
        self.committed: list[Attempt | Outcome] = []
        self.pending: list[Attempt | Outcome] = []
        self.commits, self.full_after = 0, full_after

    def began(self, attempt: Attempt) -> None:
        self.pending.append(attempt)

    def ended(self, outcome: Outcome) -> None:
        self.pending.append(outcome)

    def commit(self) -> None:
        if self.full_after is not None and self.commits >= self.full_after:
            raise JournalError("disk full")
        self.commits += bool(self.pending)
        self.committed += self.pending
        self.pending = []


class Run:
    """One run of the engine over jobs 1..count, and what came of it."""

    def __init__(
        self,
        count: int,
        play: Callable[[Attempt], Play] | None = None,
        *,
        fake: Fake | None = None,
        journal: Memory | None = None,
        total: int | None = -1,
        gate: Callable[[], bool] = lambda: True,
        **limits: object,
    ) -> None:
        self.limits = Limits(**{"jobs": 2, "backoff": Backoff(0.0), **limits})  # type: ignore[arg-type]
        self.fake = fake or Fake(self.limits.jobs, play or (lambda _: Play(wall=1.0)))
        self.journal = journal or Memory()
        self.pulled = 0
        self.count = count
        self.engine = Engine(
            jobs=self.pull(),
            argv=lambda values, _: (b"cmd", *values),
            backend=self.fake,
            journal=self.journal,
            limits=self.limits,
            clock=self.fake.clock,
            total=count if total == -1 else total,
            gate=gate,
        )
        self.events: list[Event] = []

    def pull(self) -> Iterator[tuple[Job, int]]:
        for number in range(1, self.count + 1):
            self.pulled += 1
            yield Job(number, b"k", (b"%d" % number,)), 0

    def go(self) -> Run:
        self.events = list(self.engine.run())
        return self

    @property
    def outcomes(self) -> list[Outcome]:
        return [event.outcome for event in self.events if isinstance(event, Finished)]

    @property
    def summary(self) -> Summary:
        assert isinstance(self.events[-1], Summary)
        return self.events[-1]

    def statuses(self) -> dict[int, Status]:
        return {one.attempt.job.number: one.status for one in self.outcomes if one.final}


def test_every_job_is_done_once_on_as_many_slots_as_there_are() -> None:
    """Five jobs of one second on two slots take three seconds."""
    run = Run(5).go()
    assert run.summary.counts == {Status.OK: 5}
    assert run.summary.wall == 3.0
    assert run.summary.work == 5.0
    assert max(sum(1 for t, _, _ in run.fake.began if t == moment) for moment, _, _ in run.fake.began) == 2
    assert run.fake.closed


def test_inputs_are_pulled_no_further_than_the_window() -> None:
    """With endless inputs, only what can begin soon is pulled."""
    run = Run(10**9, fake=Fake(2, lambda _: Play(wall=1.0), ahead=4))
    events = run.engine.run()
    assert isinstance(next(events), Began)
    assert run.pulled == 6
    while not isinstance(next(events), Finished):
        pass
    assert run.pulled <= 12
    events.close()
    assert run.fake.closed


@pytest.mark.parametrize("ahead", [0, 8])
def test_nothing_begins_before_its_intent_is_committed_and_nothing_is_told_before_its_end_is(ahead: int) -> None:
    """The journal is ahead of the backend, and ahead of whoever watches."""
    journal = Memory()

    def play(attempt: Attempt) -> Play:
        assert attempt in journal.committed
        return Play(wall=0.5)

    run = Run(20, journal=journal, fake=Fake(2, play, ahead=ahead))
    for event in run.engine.run():
        if isinstance(event, Finished):
            assert event.outcome in journal.committed
    assert len(journal.committed) == 40
    assert journal.commits < 40


def test_a_failed_job_is_tried_again_after_a_wait_that_holds_no_slot() -> None:
    """Job 1 fails twice; while it waits, its slot does other work; the waits double."""
    run = Run(
        3,
        lambda a: Play(wall=1.0, exit=1 if a.job.number == 1 and a.number < 3 else 0),
        jobs=1,
        retries=2,
        backoff=Backoff(4.0),
    ).go()
    assert run.statuses() == {1: Status.OK, 2: Status.OK, 3: Status.OK}
    assert [(when, job) for when, job, _ in run.fake.began] == [(0.0, 1), (1.0, 2), (2.0, 3), (5.0, 1), (14.0, 1)]
    assert [(o.attempt.number, o.final) for o in run.outcomes if o.attempt.job.number == 1] == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_tries_are_bounded() -> None:
    """With two retries a job that always fails is tried three times."""
    run = Run(1, lambda _: Play(exit=3), retries=2).go()
    assert [o.exit for o in run.outcomes] == [3, 3, 3]
    assert run.summary.counts == {Status.FAILED: 1}


def test_a_job_that_is_too_slow_is_ended_at_its_deadline() -> None:
    """The limit counts from its true start, not from when it was handed over."""
    run = Run(
        4,
        lambda a: Play(wall=9.0 if a.job.number == 2 else 1.0),
        timeout=Timeout(seconds=3.0),
        jobs=1,
        fake=Fake(1, lambda a: Play(wall=9.0 if a.job.number == 2 else 1.0), ahead=8),
    ).go()
    assert run.statuses() == {1: Status.OK, 2: Status.TIMEOUT, 3: Status.OK, 4: Status.OK}
    assert run.summary.wall == 6.0


def test_work_that_cannot_be_stopped_is_recorded_as_still_running_and_keeps_its_slot() -> None:
    """Where a backend cannot stop, the timeout is told, the slot stays taken, and it is not tried again."""
    fake = Fake(2, lambda a: Play(wall=5.0 if a.job.number == 1 else 1.0), can_stop=False)
    run = Run(5, fake=fake, timeout=Timeout(seconds=2.0), retries=3).go()
    first = next(o for o in run.outcomes if o.attempt.job.number == 1)
    assert (first.status, first.still_running) == (Status.TIMEOUT, True)
    assert [job for _, job, _ in fake.began].count(1) == 1
    assert run.summary.wall == 4.0  # the four others, one after another, on the other slot


def test_a_relative_timeout_follows_the_median() -> None:
    """300% of the median of what has finished, once three have."""
    run = Run(6, lambda a: Play(wall=50.0 if a.job.number == 5 else 1.0), jobs=1, timeout=Timeout(percent=300)).go()
    assert run.statuses()[5] is Status.TIMEOUT
    assert run.summary.wall == 8.0


def test_a_job_that_ended_in_time_is_ok_even_if_we_hear_of_it_late() -> None:
    """Ends are judged by their own moment, not by when they are read."""
    attempt = Attempt(Job(1, b"", ()), 1, ())
    assert judge(Ended(attempt, 4.9, Ending(0)), 5.0, Status.TIMEOUT).status is Status.OK
    assert judge(Ended(attempt, 5.1, Ending(0)), 5.0, Status.TIMEOUT).status is Status.TIMEOUT
    assert judge(Ended(attempt, at=5.1), None, Status.CANCELLED).status is Status.LOST
    assert judge(Ended(attempt, at=1.0, began=False), None, Status.CANCELLED).status is Status.CANCELLED
    assert (
        judge(Ended(attempt, 1.0, Ending(error="no such file"), began=False), None, Status.CANCELLED).status
        is Status.FAILED
    )


@pytest.mark.parametrize("why", [Status.TIMEOUT, Status.CANCELLED])
def test_what_became_of_a_job_is_not_guessed(why: Status) -> None:
    """Its helper died after it was asked to end: perhaps it had ended before. What is known to run still was not in time."""
    attempt = Attempt(Job(1, b"", ()), 1, ())
    assert judge(Ended(attempt, 5.1, Ending(error="its helper died")), 5.0, why).status is Status.LOST
    assert judge(Ended(attempt, 5.1, Ending(signal=9)), 5.0, why).status is why
    assert judge(Ended(attempt, 5.1, Ending(error="it would not end", still_running=True)), 5.0, why).status is why


@pytest.mark.parametrize(
    ("rule", "ended", "statuses"),
    [
        ("soon,fail=1", {1, 2}, {Status.FAILED, Status.OK}),
        ("now,fail=1", {1, 2}, {Status.FAILED, Status.CANCELLED}),
        ("now,success=1", {1, 2}, {Status.FAILED, Status.OK}),
    ],
)
def test_a_halt_rule_ends_the_run(rule: str, ended: set[int], statuses: set[Status]) -> None:
    """Soon: what runs may end; now: it is stopped. Nothing more begins, what lay ready is given back."""
    fake = Fake(2, lambda a: Play(wall=float(a.job.number), exit=1 if a.job.number == 1 else 0), ahead=6)
    run = Run(50, fake=fake, halt=Halt.parse(rule)).go()
    began = {job for _, job, _ in fake.began}
    assert ended <= began <= {1, 2, 3, 4}
    assert statuses <= set(run.statuses().values())
    assert run.summary.halted == rule
    assert run.summary.unread


def test_a_share_of_all_jobs_is_known_when_the_inputs_have_ended() -> None:
    """A percentage counts against all inputs, also if their number was not known at first."""
    fake = Fake(1, lambda a: Play(wall=1.0, exit=int(a.job.number < 4)), ahead=8)
    run = Run(6, fake=fake, jobs=1, halt=Halt.parse("now,fail=50%"), total=None)
    for event in run.engine.run():
        run.events.append(event)
        if isinstance(event, Finished) and event.outcome.attempt.job.number == 2:
            run.engine.know_total(6)  # the inputs have all been read, although not all have begun
    assert run.summary.halted == "now,fail=50%"
    assert run.summary.counts == {Status.FAILED: 3}


def test_a_bad_input_is_told_after_what_began_has_ended() -> None:
    """Nothing that ran before it is lost, and nothing begins after it."""
    fake = Fake(2, lambda _: Play(wall=1.0))

    def inputs() -> Iterator[tuple[Job, int]]:
        yield Job(1, b"", (b"1",)), 0
        raise InputError("row 3 is wrong")

    journal = Memory()
    engine = Engine(
        jobs=inputs(), argv=lambda *_: (), backend=fake, journal=journal, limits=Limits(jobs=2), clock=fake.clock
    )
    told: list[Event] = []
    with pytest.raises(InputError, match="row 3"):
        for event in engine.run():
            told += [event]
    assert [event.outcome.status for event in told if isinstance(event, Finished)] == [Status.OK]
    assert len(fake.began) == 1


def test_delay_spaces_out_the_starts() -> None:
    """Two starts are never closer than the delay, although slots are free."""
    run = Run(4, jobs=4, delay=10.0).go()
    assert [when for when, _, _ in run.fake.began] == [0.0, 10.0, 20.0, 30.0]


def test_a_stop_ends_everything_and_a_second_one_kills() -> None:
    """What runs is recorded as cancelled; what does not obey goes at the second stop; nothing more begins."""
    fake = Fake(2, lambda a: Play(wall=100.0, obeys=a.job.number == 1), ahead=4)
    run = Run(50, fake=fake)
    events = []
    for event in run.engine.run():
        events.append(event)
        if isinstance(event, Began) and event.attempt.job.number == 2:
            run.engine.stop(signal.SIGINT)
        if isinstance(event, Finished) and event.outcome.attempt.job.number == 1:
            run.engine.stop(signal.SIGINT)
    run.events = events
    assert set(run.statuses().values()) == {Status.CANCELLED}
    assert len(fake.began) == 2
    assert run.summary.stopped_by == signal.SIGINT
    assert run.summary.left == len(run.statuses())


def test_leaving_early_ends_and_records_what_runs() -> None:
    """Whoever stops listening leaves nothing running, and the journal knows how it ended."""
    run = Run(50)
    for event in run.engine.run():
        if isinstance(event, Finished):
            break
    del event
    run.engine = None  # type: ignore[assignment]  # the generator is closed with its last reference
    began = [one for one in run.journal.committed if isinstance(one, Attempt)]
    ended = [one for one in run.journal.committed if isinstance(one, Outcome)]
    assert run.fake.closed
    assert {(a.job.number, a.number) for a in began} == {(o.attempt.job.number, o.attempt.number) for o in ended}


def test_a_full_disk_stops_the_run_and_tells_nothing_that_is_not_recorded() -> None:
    """After the journal fails nothing begins, what runs may end, and the error comes out at last."""
    journal = Memory(full_after=2)
    run = Run(50, journal=journal)
    told: list[Outcome] = []
    with pytest.raises(JournalError):
        for event in run.engine.run():
            told += [event.outcome] if isinstance(event, Finished) else []
    assert all(outcome in journal.committed for outcome in told)
    assert len(run.fake.began) <= 4
    assert run.fake.closed


def test_a_pause_does_not_count_against_a_limit() -> None:
    """While everything is held, deadlines do not come nearer."""
    run = Run(1, lambda _: Play(wall=4.0), timeout=Timeout(seconds=5.0))
    events = run.engine.run()
    next(events)
    run.engine.pause(True)
    run.fake.time += 100
    run.engine.pause(False)
    run.events = list(events)
    assert run.statuses() == {1: Status.OK}


def test_what_another_thread_asks_for_is_done_by_the_engines() -> None:
    """It returns when that is done; once nothing is carried out any more, it raises that."""
    held: list[int] = []
    woken = threading.Event()
    refused = list[str]()
    requests = Requests(woken.set)

    def ask() -> None:
        try:
            requests.ask(lambda: held.append(threading.get_ident()))
        except NotRunningError as error:
            refused.append(str(error))

    requests.begin()
    other = threading.Thread(target=ask)
    other.start()
    assert woken.wait(60)
    assert held == []
    requests.obey()
    other.join(60)
    assert held == [threading.get_ident()]
    late = threading.Thread(target=ask)
    late.start()
    requests.end()
    late.join(60)
    assert not late.is_alive()
    assert len(refused) == 1


def test_inputs_that_are_not_there_yet_do_not_hold_up_what_is() -> None:
    """None from the inputs means later: what runs goes on, and a wake-up looks again."""
    fake = Fake(2, lambda _: Play(wall=1.0))
    late = iter([(Job(1, b"", (b"1",)), 0), None, (Job(2, b"", (b"2",)), 0)])
    engine = Engine(
        jobs=late, argv=lambda *_: (), backend=fake, journal=Memory(), limits=Limits(jobs=2), clock=fake.clock
    )
    done = []
    for event in engine.run():
        if isinstance(event, Finished):
            done.append(event.outcome.attempt.job.number)
            engine.wake()
    assert done == [1, 2]


@given(
    st.integers(1, 9), st.integers(0, 8), st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=30, max_size=30), st.data()
)
def test_not_one_job_begins_after_the_end_that_meets_a_halt_rule(
    jobs: int, ahead: int, walls: list[float], data: st.DataObject
) -> None:
    """At any width, whatever lies ready elsewhere: what began later than that end was reported is none of ours."""
    bad = data.draw(st.sets(st.integers(1, 30), min_size=1))
    rule = data.draw(st.sampled_from(["now,fail=1", "soon,fail=1", "now,fail=3", "soon,done=5", "now,success=2"]))
    halt = Halt.parse(rule)
    begun_at_end: list[tuple[bool, int]] = []

    class Ledger(Fake):
        def _end(self, key: tuple[int, int], signal: int | None = None) -> None:
            if signal is None:
                begun_at_end.append((key[0] in bad, len(self.began)))
            super()._end(key, signal)

    fake = Ledger(jobs, lambda a: Play(wall=walls[a.job.number - 1], exit=int(a.job.number in bad)), ahead=ahead)
    Run(30, fake=fake, jobs=jobs, halt=halt).go()
    counts = Counter[str]()
    for failed, begun in begun_at_end:
        counts.update(["done", "fail" if failed else "success"])
        if counts[halt.on] >= (halt.count or 0):
            assert len(fake.began) == begun
            return
    assert len(fake.began) == 30


def test_a_retry_that_is_due_while_all_slots_are_busy_costs_nothing() -> None:
    """The loop waits for the backend and does not go round and round."""
    fake = Fake(1, lambda a: Play(wall=1.0 if a.job.number == 1 else 50.0, exit=int(a.job.number == 1)), ahead=8)
    run = Run(9, fake=fake, jobs=1, retries=1, backoff=Backoff(1.0))
    waits = 0
    reports = fake.reports

    def counted(timeout: float | None) -> Sequence[Report]:
        nonlocal waits
        waits += 1
        return reports(timeout)

    fake.reports = counted  # type: ignore[method-assign]
    run.go()
    assert run.summary.counts == {Status.OK: 8, Status.FAILED: 1}
    assert waits < 60


def test_what_cannot_be_started_and_what_still_runs_is_not_tried_again() -> None:
    """Another attempt could not help there, and would be a second copy of the job here."""
    fake = Fake(1, lambda a: Play(exit=127, error="cannot start x", began=False))
    assert [o.status for o in Run(1, fake=fake, jobs=1, retries=3).go().outcomes] == [Status.FAILED]
    report = Ended(Attempt(Job(1, b"", ()), 1, ()), 9.0, Ending(error="it would not be cancelled", still_running=True))
    assert not may_retry(report, judge(report, 5.0, Status.TIMEOUT))


def test_only_what_the_rule_names_is_tried_again() -> None:
    """Any other failure is the job's end at once."""
    rule = RetryOn.parse("75,timeout")
    exits = {1: 75, 2: 1, 3: 75}
    run = Run(3, lambda a: Play(exit=0 if a.number == 3 else exits[a.job.number]), retries=4, retry_on=rule).go()
    ends = {o.attempt.job.number: (o.status, o.attempt.number) for o in run.outcomes if o.final}
    assert ends == {1: (Status.OK, 3), 2: (Status.FAILED, 1), 3: (Status.OK, 3)}


def test_reports_that_come_twice_or_too_late_change_nothing() -> None:
    """One end for each attempt, whatever a backend says afterwards."""

    class Stutters(Fake):
        def reports(self, timeout: float | None) -> Sequence[Report]:
            found = [one for report in super().reports(timeout) for one in (report, report)]
            late = Attempt(Job(1, b"k", (b"1",)), 1, ())
            return [*found, Started(late, 0.0, 1), Ended(late, 0.0, Ending(5))] if len(self.began) > 2 else found

    run = Run(6, fake=Stutters(2, lambda _: Play(wall=1.0)), retries=1).go()
    assert run.summary.counts == {Status.OK: 6}
    assert len([one for one in run.journal.committed if isinstance(one, Outcome)]) == 6


def test_leaving_at_a_beginning_forgets_no_report() -> None:
    """Everything that was reported is taken in before any of it is told, so nobody waits for an end that has been read."""
    run = Run(50, fake=Fake(4, lambda _: Play(wall=0.0)), jobs=4)
    events = run.engine.run()
    assert isinstance(next(events), Began)
    before = run.fake.time
    events.close()
    assert run.fake.time == before
    ends = [one for one in run.journal.committed if isinstance(one, Outcome)]
    assert len(ends) == len(run.fake.began) == 4


def test_while_the_gate_is_closed_nothing_begins_and_ends_are_recorded() -> None:
    """Whoever listens may fall behind: what runs is ended in time and recorded all the same."""
    gate = [True]
    run = Run(9, fake=Fake(2, lambda _: Play(wall=9.0)), timeout=Timeout(seconds=5.0), retries=1, gate=lambda: gate[0])
    for event in run.engine.run():
        if isinstance(event, Began):
            gate[0] = False
        elif isinstance(event, Finished) and event.outcome.attempt.job.number == 2:
            break
    assert run.fake.time == 5.0
    assert len(run.fake.began) == 2


def test_what_lies_ready_is_taken_back_when_the_journal_fails() -> None:
    """Its intent was recorded, but its end could not be: it does not begin."""
    fake = Fake(1, lambda _: Play(wall=1.0), ahead=60)
    with pytest.raises(JournalError):
        Run(200, fake=fake, jobs=1, journal=Memory(full_after=1)).go()
    assert [job for _, job, _ in fake.began] == [1, 2]


def test_what_could_not_be_recorded_for_a_while_is_recorded_at_last() -> None:
    """When there is room on the disk again before the last job has ended, all ends are in the journal, and told."""

    class Recovers(Memory):
        def commit(self) -> None:
            if fake.time >= 2.0:
                self.full_after = None
            super().commit()

    fake = Fake(2, lambda a: Play(wall=float(a.job.number)), ahead=0)
    journal = Recovers(full_after=1)
    run = Run(4, fake=fake, journal=journal)
    with pytest.raises(JournalError):
        for event in run.engine.run():
            run.events.append(event)
    ended = {one.attempt.job.number for one in journal.committed if isinstance(one, Outcome)}
    assert {1, 2} <= ended
    assert {one.attempt.job.number for one in run.outcomes} == ended


def test_an_error_of_the_inputs_comes_after_all_that_was_done() -> None:
    """Whatever an iterator raises: what was pulled before it is done and told, the sum as well, then it is raised."""

    def inputs() -> Iterator[tuple[Job, int]]:
        for number in range(1, 6):
            yield Job(number, b"", ()), 0
        raise ZeroDivisionError("mine")

    fake = Fake(2, lambda _: Play(wall=1.0), ahead=8)
    engine = Engine(
        jobs=inputs(), argv=lambda *_: (), backend=fake, journal=Memory(), limits=Limits(jobs=2), clock=fake.clock
    )
    told: list[Event] = []
    with pytest.raises(ZeroDivisionError, match="mine"):
        told.extend(engine.run())
    assert sum(isinstance(event, Finished) for event in told) == 5
    assert isinstance(told[-1], Summary)
    assert told[-1].unread


def test_jobs_that_wait_for_a_retry_are_bounded() -> None:
    """No new job begins while too many wait, and one line says so."""
    fake = Fake(2, lambda a: Play(exit=int(a.number == 1)), ahead=4)
    run = Run(200, fake=fake, retries=1, backoff=Backoff(100.0))
    run.engine._retries._most = 10
    run.go()
    assert run.summary.counts == {Status.OK: 200}
    assert max(number for when, number, _ in fake.began if when == 0) <= 20
    assert sum(isinstance(event, Warned) for event in run.events) == 1


@given(st.lists(st.floats(0, 9), min_size=3, max_size=60))
def test_the_median_is_that_of_the_latest_sample(walls: list[float]) -> None:
    """It is kept up to date by insertion, and equals the one that is computed anew."""
    deadlines = Deadlines(Timeout(percent=100.0), sample=7)
    for wall in walls:
        deadlines.end(1, wall)
    assert deadlines.limit == pytest.approx(median(walls[-7:]))


def test_a_share_of_failures_counts_those_of_earlier_executions() -> None:
    """40% of all jobs of the run, not of those that this execution does; a number means this execution's."""
    share = Halting(Halt.parse("now,fail=40%"), 10, failed=3, succeeded=3)
    assert not share.reached
    share.count(Status.FAILED)
    assert share.reached
    number = Halting(Halt.parse("now,fail=2"), 10, failed=3)
    number.count(Status.FAILED)
    assert not number.reached


def finished(number: int) -> Finished:
    return Finished(Outcome(Attempt(Job(number, b"", ()), 1, ()), Status.OK))


def numbers(events: list[Event]) -> list[int]:
    return [event.outcome.attempt.job.number for event in events if isinstance(event, Finished)]


@pytest.mark.parametrize("hold", [0, 1, 100])
def test_results_come_in_order_however_few_can_be_held(hold: int) -> None:
    """What is too far ahead to be held in memory is read from the journal in its turn."""
    told: dict[int, Finished] = {}

    def source() -> Iterator[Event]:
        for number in (3, 9, 2, 5, 1):
            told[number] = finished(number)
            yield told[number]
        yield Summary("x")

    events = list(in_order(source(), deque([1, 2, 3, 5, 9]), told.get, hold=hold))
    assert numbers(events) == [1, 2, 3, 5, 9]
    assert sum(isinstance(event, Held) for event in events) == 4


@given(st.permutations(range(1, 30)), st.integers(0, 5), st.integers(0, 29))
def test_every_result_comes_once_and_in_order(arrival: list[int], hold: int, stopped: int) -> None:
    """The journal may be ahead of what has been told, and a run may end early."""
    there = arrival[:stopped] if stopped else arrival
    journal = {number: finished(number) for number in there}

    def source() -> Iterator[Event]:
        yield from (finished(number) for number in there)
        if stopped % 2:
            raise JournalError("no room")
        yield Summary("x")

    events: list[Event] = []
    with suppress(JournalError):
        events.extend(in_order(source(), deque(range(1, 30)), journal.get, hold=hold))
    assert numbers(events) == sorted(there)


def test_what_never_came_is_passed_over_at_the_end() -> None:
    """A run that was stopped has gaps; what is there is still told."""
    events = list(in_order([finished(4), finished(2), Summary("x")], deque([1, 2, 3, 4]), lambda _: None))
    assert numbers(events) == [2, 4]


def test_deadlines_forget_what_has_ended() -> None:
    """Only what is still running can be out of time."""
    deadlines = Deadlines(Timeout(seconds=5.0))
    deadlines.begin(1, 0.0)
    deadlines.begin(2, 1.0)
    deadlines.end(1, None)
    assert deadlines.next() == 6.0
    assert list(deadlines.expired(5.9)) == []
    assert list(deadlines.expired(6.0)) == [(2, 6.0)]
    assert deadlines.next() is None


def test_what_is_held_for_two_reasons_goes_on_when_both_are_over() -> None:
    """Ctrl-Z and fg do not undo a pause from another terminal; the time counts once."""
    moments, held = iter([10.0, 50.0]), list[bool]()
    pauses = Pauses(held.append, lambda: next(moments))
    pauses.set(True)
    pauses.set(True, "job control")
    pauses.set(False, "job control")
    assert (held, pauses.paused) == ([True], True)
    pauses.set(False)
    assert (held, pauses.paused, pauses.total) == ([True, False], False, 40.0)
    pauses.set(False)
    assert held == [True, False]


def test_time_in_which_the_process_was_stopped_counts_once() -> None:
    """A stop while all was held, as by Ctrl-Z, is part of the hold; any other adds to it."""
    moments = iter([10.0, 20.0, 40.0])
    pauses = Pauses(lambda _: None, lambda: next(moments))
    pauses.set(True)
    pauses.suspended(15.0, 4.0)
    pauses.set(False)
    pauses.suspended(19.0, 8.0)
    assert pauses.total == 10.0
    pauses.suspended(30.0, 5.0)
    assert pauses.total == 15.0
    pauses.set(True)
    pauses.suspended(45.0, 2.0)
    assert pauses.total == 15.0
