"""A batch of several stages: every input goes through one command or function after another.

    inputs --> stage 1 --queue--> stage 2 --queue--> stage 3      each a `Batch` with slots, a backend and a journal of its own

Each stage runs in a thread. A job that succeeded goes into the queue to the next stage, after its result is in the journal. A queue is
short: when it is full, the stage before it begins no new job. A job keeps its number on all stages. So a resume finds the jobs
between two stages: they are done in the journal of the first, and not begun in that of the second. The interface is that of `Batch`.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress

from manyhands.core.errors import NotRunningError, UnavailableError, UsageError
from manyhands.core.events import Began, Counted, Event, Finished, RunStarted, Summary, Tick, Warned
from manyhands.core.hints import given_as
from manyhands.core.job import Status
from manyhands.core.limits import Halt
from manyhands.core.records import replace
from manyhands.engine.channel import Channel
from manyhands.engine.order import in_order
from manyhands.engine.outcomes import Halting
from manyhands.engine.requests import Answer
from manyhands.execution.batch import Batch
from manyhands.execution.earlier_executions import Earlier
from manyhands.execution.how_it_ended import how_it_ended
from manyhands.execution.listening import listen
from manyhands.execution.open_run import OpenRun
from manyhands.execution.stage import Stage, onward
from manyhands.execution.stage_queue import StageQueue
from manyhands.storage.journal import Tally
from manyhands.storage.runs import RunLock, Store, discard
from manyhands.storage.stage_journals import Journals


class StagedBatch:
    """One execution of a run that has several stages; used as `Batch` is."""

    batch = Batch
    """What carries out a stage."""

    def __init__(self, opened: OpenRun) -> None:
        self.run, self.plan, self.scope = opened.run, opened.plan, opened.scope
        self.summary: Summary | None = None
        self.opened, self.columns = threading.Event(), ()  # type: tuple[threading.Event, Sequence[str]]
        self.halting, self.mutex = Halting(self.plan.limits.halt, None), threading.Lock()
        self._held = opened.held
        stdin = str(self.run.path / "stdin") if self.plan.stdin == "-" else self.plan.stdin
        plans = [replace(self.plan.stage(number), stdin=stdin) for number in range(1, len(self.plan.then) + 2)]
        self.queues = [StageQueue(max(8, 2 * one.limits.jobs)) for one in plans[1:]]
        self.stages = [Stage(self, number, last=number == len(plans)) for number in range(1, len(plans) + 1)]
        for stage, run, plan in zip(self.stages, self.run.stages, plans, strict=True):
            own = OpenRun(run=run, held=self._lock(), plan=plan, scope=opened.scope)
            if stage.number == 1:
                own = replace(opened, held=own.held, plan=plan)
            stage.batch = self.batch(own, stage)
        self.channel: Channel | None = None
        """See `Batch.channel`; no stage begins anything while it is full."""
        self.begins = True
        self.inputs = self.stages[0].batch.inputs
        self._events: queue.SimpleQueue[tuple[int, list[Event] | BaseException | None]] = queue.SimpleQueue()
        self._stops: list[int] = []
        self._done_before = 0
        self._over = False

    def _lock(self) -> RunLock:
        return RunLock(os.dup(self._held.descriptor))

    # -- while it runs ---------------------------------------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """See `Batch.stop`."""
        self._stops.append(number)
        self._stop_stages(number)

    def _stop_stages(self, number: int) -> None:
        for stage in self.stages:
            stage.batch.stop(number)

    def wake(self) -> None:
        """See `Batch.wake`."""
        for stage in self.stages:
            stage.batch.wake()
        self._events.put((0, []))

    def leave(self) -> None:
        """See `Batch.leave`."""
        self.inputs.cancel()
        self._events.put((0, []))

    def discard(self) -> None:
        """See `Batch.discard`."""
        for stage in self.stages[1:]:
            stage.batch.held.close()
        self._held.close()
        self.stages[0].batch.discard()

    @property
    def stopped_by(self) -> int | None:
        """See `Batch.stopped_by`."""
        return self._stops[0] if self._stops else None

    @property
    def no_inputs(self) -> bool:
        """See `Batch.no_inputs`."""
        return self.stages[0].batch.no_inputs

    def pause(self, paused: bool, reason: str = "") -> None:
        """See `Batch.pause`."""
        self._each(lambda stage: stage.pause(paused, reason))

    def finish(self) -> None:
        """See `Batch.finish`: no stage begins anything more."""
        self._each(lambda stage: stage.finish())

    def stop_job(self, number: int) -> bool:
        """See `Batch.stop_job`."""
        return any(self._each(lambda stage: stage.stop_job(number)))

    def set_jobs(self, jobs: Sequence[int]) -> list[int]:
        """See `Batch.set_jobs`: one number for all stages, or one for each. Raises UsageError for other numbers of numbers."""
        each = list(jobs) * len(self.stages) if len(jobs) == 1 else list(jobs)
        if len(each) != len(self.stages):
            raise UsageError(
                f"{len(jobs)} numbers of jobs at once for {len(self.stages)} stages: give one, or one for each"
            )
        return [now for found in self._each(lambda stage: stage.set_jobs([each.pop(0)])) for now in found]

    def set_halt(self, rule: Halt) -> None:
        """See `Batch.set_halt`. Raises UsageError: the stages share the rule that the run was made with."""
        raise UsageError(f"{given_as('--halt', rule)}: the rule of a run with several stages cannot be changed")

    def _each(self, what: Callable[[Batch], Answer]) -> list[Answer]:
        """Ask each stage that is carried out. Raises NotRunningError if none is."""
        found, over = [], []
        for stage in self.stages:
            try:
                found.append(what(stage.batch))
            except NotRunningError as error:
                over.append(error)
        if not found:
            raise over[0]
        return found

    def events(
        self, *, tick: float | None = None, before_waiting: Callable[[], None] = lambda: None
    ) -> Generator[Event, None, None]:
        """See `Batch.events`; raises what any stage raises, after all have ended."""
        try:
            with ExitStack() as stack:
                for held in (self._held, *(one.batch.held for one in self.stages)):
                    stack.callback(held.close)
                stack.callback(listen(self.run, self))
                yield from self._prepare()
                for one in self.stages:
                    one.batch.channel, one.batch.begins = self.channel, self.begins
                self._begin(stack)
                merged = self._merged(tick, before_waiting)
                ordered = self.plan.limits.keep_order and self.scope == "new"
                yield from in_order(merged, self.stages[0].batch.issued, self._recall) if ordered else merged
            if self.no_inputs and self.scope == "new" and self.plan.shard is None:
                discard(self.run)
        except (UsageError, UnavailableError):
            if self.scope == "new" and self.stages[0].batch.untouched:
                discard(self.run)
            raise

    def _prepare(self) -> Iterator[Event]:
        """Before anything begins: close what an earlier execution left in all stages, and find the jobs between the stages."""
        for stage in self.stages:
            with closing(stage.batch.run.journal(check=self.scope != "new")) as journal:
                yield from stage.batch.take_over(journal)
        if self.scope != "new":
            self._count_before()
        if self.scope in ("rest", "both"):
            for before, stage in zip(self.stages, self.stages[1:], strict=False):
                plan = stage.batch.plan
                with closing(before.batch.run.journal()) as journal:
                    passed = journal.passed()
                stage.missing = (onward(one.job, one.outcome, plan) for one in passed if one.outcome)

    def _count_before(self) -> None:
        """Count what earlier executions have done, for the summary and for a halt rule that is a share of all jobs."""
        with closing(Journals.open(self.run)) as journals:
            unseen = sum(len(stage.batch.recovered) for stage in self.stages)
            earlier = Earlier(self.scope, journals.tally(), unseen=unseen)
        self._done_before = earlier.seen
        self.halting = earlier.halting(self.plan.limits.halt, None)

    def _begin(self, stack: ExitStack) -> None:
        """Carry out each stage in a thread of its own; ``stack`` ends the threads."""
        threads = [threading.Thread(target=self._carry_out, args=(one,), daemon=True) for one in self.stages]
        stack.callback(self._end, threads)
        for thread in threads:
            thread.start()

    def _carry_out(self, stage: Stage) -> None:
        """The thread of one stage."""
        for _ in self._steps(stage):
            pass

    def _steps(self, stage: Stage) -> Generator[None, None, None]:
        """Carry out a stage, one event after another; its events and its end go into `self._events`."""
        end: BaseException | None = None
        gathered: list[Event] = []

        def send() -> None:
            if gathered:
                self._events.put((stage.number, gathered.copy()))
                gathered.clear()

        try:
            with closing(stage.batch.events(before_waiting=send)) as events:
                for event in events:
                    if not isinstance(event, Tick):
                        gathered.append(event)
                    if isinstance(event, Finished) and _goes_on(event) and not stage.last:
                        stage.done(event.outcome)
                    yield
        except BaseException as error:  # any error is raised again in the thread that iterates `events`
            end = error
        finally:
            send()
            self.opened.set()
            if not stage.last:
                self.queues[stage.number - 1].ended = True
                self.stages[stage.number].batch.wake()
            self._events.put((stage.number, end))

    def _merged(self, tick: float | None, before_waiting: Callable[[], None]) -> Iterator[Event]:
        """The events of all stages as those of one run."""
        began, open_, broken = time.monotonic(), len(self.stages), None
        while open_:
            number, found = self._next(tick, before_waiting)
            if not isinstance(found, list):
                open_ -= 1
                if found is not None and broken is None:
                    broken = found
                    if not self.stages[0].batch.summary:  # else reading the inputs failed: their jobs continue
                        self._stop_stages(signal.SIGTERM)
                continue
            for event in found:
                yield from self._one(number, event)
            if not found:
                yield Tick(time.monotonic(), 0)
        self._over = True
        if broken is None or any(one.batch.summary for one in self.stages[:1]):
            self.summary = self._summarise(time.monotonic() - began)
            first = self.stages[0].batch.run  # whose run.json is that of all stages
            if facts := how_it_ended(self.summary, first):
                self.run = Store.update(first, facts)
            yield self.summary
        if broken is not None:
            raise broken

    def _next(
        self, tick: float | None, before_waiting: Callable[[], None]
    ) -> tuple[int, list[Event] | BaseException | None]:
        """The next events of the stages; an empty list after ``tick`` seconds."""
        with suppress(queue.Empty):
            return self._events.get_nowait()
        before_waiting()
        try:
            return self._events.get(timeout=tick)
        except queue.Empty:
            return 0, []

    def _one(self, number: int, event: Event) -> Iterator[Event]:
        """An event of a stage as one of the whole run: the result of a job that goes on to the next stage is not final."""
        if isinstance(event, Finished):
            if self.halting.reached:
                for stage in self.stages:
                    stage.batch.wake()
            going = _goes_on(event) and number < len(self.stages)
            outcome = event.outcome._replace(final=False) if going else event.outcome
            yield Finished(outcome, event.retry_in, number)
        elif isinstance(event, Began):
            yield event._replace(stage=number)
        elif isinstance(event, RunStarted) and number == 1:
            jobs = sum(one.batch.plan.limits.jobs for one in self.stages)
            yield replace(event, template=self.plan.text, jobs=jobs, done_before=self._done_before)
        elif isinstance(event, Warned) or (isinstance(event, Counted) and number == 1):
            yield event

    def _recall(self, number: int) -> Finished | None:
        with closing(Journals.open(self.run)) as journals:
            record = journals.record(number)
        if record is None or record.outcome is None or not record.outcome.final:
            return None
        return Finished(record.outcome, None, record.stage)

    def _summarise(self, wall: float) -> Summary:
        ends = [one.batch.summary for one in self.stages if one.batch.summary]
        tally = self._tally(ends)
        stopped_by = next((end.stopped_by for end in ends if end.stopped_by is not None), None)
        halted = str(self.plan.limits.halt) if self.halting.reached else None
        unread, total = any(end.unread for end in ends[:1]), ends[0].total if ends else None
        work = sum(end.work for end in ends)
        early = any(end.early for end in ends)
        return Summary(
            self.run.id, tally.counts, tally.left, unread, wall, work, stopped_by, halted, total, self._done_before, early
        )

    def _tally(self, ends: Sequence[Summary]) -> Tally:
        """How the jobs ended; read from the journals only if the stages do not know it."""
        if self.scope != "new" or len(ends) < len(self.stages):
            with closing(Journals.open(self.run)) as journals:
                return journals.tally()
        counts = Counter(ends[-1].counts)
        for end in ends[:-1]:
            counts.update({status: number for status, number in end.counts.items() if status is not Status.OK})
        return Tally(dict(counts), ends[0].left + sum(ends[0].counts.values()) - counts.total())

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        """All is over, or the caller stopped iterating: end what runs, and wait for it."""
        for _ in range(0 if self._over else 2):
            self._stop_stages(signal.SIGTERM)
        for thread in threads:
            thread.join()


def _goes_on(event: Finished) -> bool:
    """Whether the job of this event may go on to the next stage."""
    return event.outcome.final and event.outcome.status is Status.OK
