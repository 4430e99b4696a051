"""A batch: one plan carried out over many inputs, as a run on disk. The library's front door; the tasks use it, too.

    Plan + Source --> run folder, lock, journal --> Engine on a backend --> events, in order

Who drives it reads the events, and may stop and pause it in between. `manyhands.api.run_batch` is the short form for programs.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from typing import Any

from manyhands.backends.protocol import Adjustable, Backend
from manyhands.backends.table import check_plan, open_backend
from manyhands.core.errors import UsageError
from manyhands.core.events import Event, RunStarted, Summary, Warned
from manyhands.core.hints import option_name
from manyhands.core.job import Job, Values
from manyhands.engine.autoscale import Climber
from manyhands.engine.channel import Channel
from manyhands.engine.loop import Engine
from manyhands.engine.order import in_order
from manyhands.execution.continuation import check_stdin, difference, in_columns, keep_stdin
from manyhands.execution.earlier_executions import Earlier
from manyhands.execution.recovery import take_over
from manyhands.execution.run_inputs import RunInputs, Scope, check_commands
from manyhands.execution.run_settings import settings_of
from manyhands.execution.stage_context import StageContext
from manyhands.execution.start_order import arrange, walls_of
from manyhands.execution.stored_results import recall_from
from manyhands.inputs.grouping import groups_of, new_groups
from manyhands.inputs.program_inputs import Iterating
from manyhands.inputs.sources import Rows, Source, open_source
from manyhands.posix.cores import usable_cores
from manyhands.storage.journal import Journal
from manyhands.storage.progress_file import EVERY, Keeper
from manyhands.storage.runs import Run, RunLock, Store, discard, lock_own
from manyhands.work.plan import Plan
from manyhands.work.work import BoundWork


class Batch:
    """One execution of a run. Make it with `start`, `resume` or `retry`, iterate `events` once, then read `summary`."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(
        self, run: Run, held: RunLock, plan: Plan, *, work: Scope, stream: int | None = None, source: Source | None = None
    ) -> None:
        self.run, self.plan, self.work = run, plan, work
        self.summary: Summary | None = None
        self.held, self.inputs = held, RunInputs(stream, source)
        self._engine: Engine | None = None
        self._stops: list[int] = []
        self._mutex = threading.RLock()  # reentrant: a signal handler may stop the batch while this thread does
        self.channel: Channel | None = None
        """Where the events go if they are taken in another thread: while it is full, nothing more begins."""
        self.issued: deque[int] = deque()
        self.note: str | None = None
        """What is to be said before anything begins."""
        self._issued_any = self._taken = self._total_told = False
        self.no_inputs = False  # known at the end; a new run then leaves nothing behind
        self._met_any = False
        self.place: StageContext | None = None
        """Set before `events` if this is a stage of a line."""

    # -- making one ------------------------------------------------------------------------------------------------------

    @classmethod
    def start(
        cls, plan: Plan, store: Store, *, run_id: str | None = None, stream: int | None = None, source: Source | None = None,
        retry_failed: bool = False,
    ) -> Batch:  # fmt: skip
        """A new run. Its inputs come from ``source`` if given, from descriptor ``stream`` if given, else from where the plan
        says. If the run ``run_id`` exists, it is continued: only new inputs run, and with ``retry_failed`` what failed before.

        Raises UsageError for a plan that cannot be meant, before anything is made; CannotCreateError for the folder.
        """
        check_plan(plan)
        existing = store.get(run_id) if run_id else None
        if existing:
            return cls._continue(existing, plan, stream, source, "both" if retry_failed else "rest")
        if stream is None:
            source = source or open_source(plan.source)
            if not isinstance(source, Iterating) or source.shaped:
                plan.template.bind(source.columns, width=source.width)
        plan.template.check()
        check_commands(plan, source)
        total = groups_of(source.total, plan.max_args) if source else None
        run, held = store.create(plan.to_json() | ({} if total is None else {"total": total}), run_id)
        if plan.stdin == "-":
            keep_stdin(run.path)
        return cls(run, held, plan, work="new", stream=stream, source=source)

    @classmethod
    def _continue(cls, run: Run, plan: Plan, stream: int | None, source: Source | None, work: Scope) -> Batch:
        """Continue a run over inputs given anew: those it has done are passed over, by content."""
        before = Plan.from_json(run.asked, os.environ | dict(plan.environment))
        if why := difference(plan, before):
            raise UsageError(f"run {run.id} exists and {why}; or choose another {option_name('--run-id')} for this one")
        held = lock_own(run)
        try:
            note = keep_stdin(run.path) if plan.stdin == "-" else None
            batch = cls(Store.update(run, plan.to_json()), held, plan, work=work, stream=stream, source=source)
        except BaseException:
            held.close()
            raise
        batch.note = note
        return batch

    @classmethod
    def resume(cls, run: Run, environ: Mapping[str, str], *, jobs: int | None = None) -> Batch:
        """Do what is left of a run. Raises BusyError while somebody is working on it."""
        return cls._again(run, environ, "rest", jobs)

    @classmethod
    def retry(cls, run: Run, environ: Mapping[str, str], *, jobs: int | None = None) -> Batch:
        """Do again what failed in a run."""
        return cls._again(run, environ, "failed", jobs)

    @classmethod
    def _again(cls, run: Run, environ: Mapping[str, str], work: Scope, jobs: int | None) -> Batch:
        plan = Plan.from_json(run.asked, environ)
        check_plan(plan)
        for stage in plan.works:
            stage.check()
        check_stdin(plan, run.path)
        return cls(run, lock_own(run), plan.with_jobs(jobs) if jobs else plan, work=work)

    @property
    def untouched(self) -> bool:
        """Whether no job has been given out: the inputs were wrong, or there were none."""
        return not self._issued_any

    # -- while it runs ---------------------------------------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """End it because of signal ``number``; the second call kills. Safe in a signal handler and from any thread."""
        with self._mutex:
            self._stops.append(number)
            engine = self._engine
        if engine:
            engine.stop(number)
        else:
            self.inputs.cancel()

    def wake(self) -> None:
        """Look for new inputs, and whether something may begin again. Safe in a signal handler and from any thread."""
        if self._engine:
            self._engine.wake()

    def leave(self) -> None:
        """Wait for no input any more, and yield soon, so that `events` can be closed. From any thread."""
        self.inputs.cancel()
        self.wake()

    def discard(self) -> None:
        """Instead of `events`: let go of the run, and remove it if it is new."""
        if self.work == "new":
            discard(self.run)
        self.held.close()

    @property
    def stopped_by(self) -> int | None:
        """The signal that ended it, or came when it was ending anyway."""
        return self._stops[0] if self._stops else None

    def pause(self, paused: bool) -> None:
        """Hold or continue the jobs, and return when that is done. From any thread."""
        if self._engine:
            self._engine.pause(paused)

    def events(
        self, *, tick: float | None = None, before_waiting: Callable[[], None] = lambda: None
    ) -> Generator[Event, None, None]:
        """Carry it out. ``tick``: seconds after which a Tick comes even if nothing happens. ``before_waiting`` is called when all
        that has happened has been yielded. One thread iterates it to its end, and closes it.

        Raises UsageError when the inputs do not fit the template (a new run then leaves nothing behind),
        InputError when one cannot be read, and whatever a program's iterator raises (what began is finished first, and the
        Summary yielded), JournalError.
        """
        try:
            with ExitStack() as stack:
                stack.callback(self.held.close)
                self._keeper = Keeper(self.run.path, self.clock)
                stack.callback(self._keeper.close)
                journal = self.run.journal(check=self.work != "new")
                stack.callback(journal.close)
                yield from self.take_over(journal)
                yield from self._execute(journal, stack, tick, before_waiting)
            if self.no_inputs and self.work == "new" and self.place is None:
                discard(self.run)
        except UsageError:
            if self.work == "new" and self.untouched and self.place is None:
                discard(self.run)
            raise

    # -- inside ----------------------------------------------------------------------------------------------------------

    def take_over(self, journal: Journal) -> Iterator[Event]:
        """Make sure that nothing of an earlier execution is alive, and close its open records; once is enough."""
        if self.work != "new" and not self._taken:
            self._taken = True
            if self.note:
                yield Warned(self.note)
            if strays := take_over(self.run, self.plan, journal):
                yield Warned(f"{strays} processes of the earlier, killed execution were still alive and have been ended")

    def _execute(
        self, journal: Journal, stack: ExitStack, tick: float | None, before_waiting: Callable[[], None]
    ) -> Iterator[Event]:
        source = in_columns(self._open_source(journal, stack), self.run.asked.get("columns", ()))
        ask = self.channel.nudge if self.channel else None
        values = self.inputs.values(source, stack, backend=self.plan.backend, wake=self.wake, ask=ask)
        if self.place:
            self.place.columns(source.columns)
        renderer = self.plan.template.bind(source.columns, width=source.width)
        backend = self._open_backend(source)
        stack.callback(backend.close)
        if self.inputs.lacking:
            yield Warned(self.inputs.lacking)
        if source.columns and self.work != "failed" and (self.place is None or self.place.number == 1):
            self.run = Store.update(self.run, {"columns": source.columns})
        earlier = Earlier(self.work, journal.tally() if self.work != "new" else None, self.plan.max_args)
        lacking = self.inputs.lacking is not None
        total = None if lacking else earlier.total(source.total, self.run.asked.get("total"))
        halting = self.place.halting if self.place else earlier.halting(self.plan.limits.halt, total)
        climber, jobs = self._climber(backend), self._jobs(journal, values, renderer)
        stack.callback(jobs.close)
        engine = Engine(
            jobs=jobs, argv=lambda job: renderer.argv(job.values, job.number), backend=backend, journal=journal,
            limits=self.plan.limits, run=self.run.id, total=total, whole=not lacking and self.work != "failed", tick=tick or EVERY,
            halting=halting, climber=climber, gate=self._may_begin, before_waiting=lambda: self._wait(earlier, before_waiting),
            done_before=earlier.done, clock=self.clock,
        )  # fmt: skip
        self._use(engine)
        yield RunStarted(self.run.id, self.plan.template.text, self.plan.limits.jobs, total, earlier.done)
        started = time.time()
        stack.callback((told := engine.run()).close)
        recall = recall_from(journal, renderer)
        for event in in_order(told, self.issued, recall) if self.plan.limits.keep_order else told:
            if isinstance(event, Summary):
                if engine.broken and not self._issued_any:
                    continue  # nothing has been done: the error says it all
                self.summary = event = self._summarise(event, journal, earlier.done)
                self._keep_facts(event, climber)
                journal.executed(started, event.wall, complete=not event.left and not event.unread)
            yield event

    def _wait(self, earlier: Earlier, before_waiting: Callable[[], None]) -> None:
        """All that has happened has been yielded."""
        if (counted := self.inputs.counted) is not None:
            self._all_read((earlier.total(counted, self.run.asked.get("total")) or 0) - earlier.done)
        if self._engine:
            self._keeper.look(self._engine.standing)
        before_waiting()

    def _use(self, engine: Engine) -> None:
        """From now on `stop` goes to the engine, and so does what has come before."""
        with self._mutex:
            self._engine, stops = engine, list(self._stops)
        for number in stops:
            engine.stop(number)

    def _may_begin(self) -> bool:
        """Whether what ends has somewhere to go: who listens keeps up, and so does the next stage."""
        return not (self.channel and self.channel.full) and (self.place is None or self.place.open())

    def _keep_facts(self, summary: Summary, climber: Climber | None) -> None:
        """Write down what was found out about the run, if it is news."""
        facts: dict[str, Any] = {"widths": climber.steps} if climber else {}
        if summary.total is not None and summary.total != self.run.asked.get("total"):
            facts["total"] = summary.total
        if facts:
            self.run = Store.update(self.run, facts)

    def _summarise(self, summary: Summary, journal: Journal, done: int) -> Summary:
        """The whole run's state, if this was not its only execution."""
        inner = self.place is not None and self.place.number > 1
        self.no_inputs = not (self._met_any or inner or self.work == "failed" or summary.unread or self.inputs.lacking)
        if self.work == "new":
            return summary
        tally = journal.tally()
        unread = self.inputs.lacking is not None or (summary.unread and self.work != "failed")
        return replace(summary, counts=tally.counts, left=tally.left, unread=unread, done_before=done)

    # -- inputs ----------------------------------------------------------------------------------------------------------

    def _open_source(self, journal: Journal, stack: ExitStack) -> Source:
        if self.place and self.place.number > 1:
            return Rows([], self.place.columns(None))
        return self.inputs.open(self.run, self.plan, self.work, journal, stack)

    def _jobs(
        self, journal: Journal, values: Iterator[Values | None], renderer: BoundWork
    ) -> Generator[tuple[Job, int] | None, None, None]:
        """What is left or failed, then what is new among the inputs, or comes from the stage before."""
        left = journal.left() if self.work in ("rest", "both") else ()
        failed = journal.failed() if self.work in ("failed", "both") else ()
        for job, last in chain(left, failed):
            self._issue(job.number)
            yield job, last
        if self.place and self.place.number > 1:
            for one in self.place.coming():
                self._issued_any = True
                yield one
            return
        gathered: list[Job] = []
        for new in self._new_jobs(journal, values, renderer):
            if new is None:
                yield None
            elif self.plan.order == "input":
                self._issue(new.number)
                yield new, 0
            else:
                gathered.append(new)
        for job in gathered:
            self._issue(job.number)
        earlier = Store(self.run.path.parents[1]).all() if self.plan.order == "longest" and gathered else []
        for job in arrange(gathered, self.plan.order, walls_of(self.plan, earlier)):
            yield job, 0

    def _new_jobs(self, journal: Journal, values: Iterator[Values | None], renderer: BoundWork) -> Iterator[Job | None]:
        """What this run has not met before among the inputs; None while none has come."""
        number = journal.last_number()
        again, most = self.work in ("rest", "both"), self.plan.max_args
        known = journal.known() if again and most is None else None
        inputs: Iterator[Values | None] = map(self._noticed, values)
        if most is not None:
            inputs = new_groups(inputs, most, (one.job.values for one in journal.records()) if again else ())
        try:
            for value in inputs:
                if value is None:
                    yield None
                    continue
                key = renderer.key(value)
                if known is None or not known.met(key):
                    number += 1
                    if not again and not self._total_told and (rest := self.inputs.rest) is not None:
                        self._all_read(number + (groups_of(rest, most) or 0))
                    yield Job(number, key, self.inputs.remember(number, value))
        finally:
            if known:
                known.close()

    def _noticed(self, values: Values | None) -> Values | None:
        self._met_any = self._met_any or values is not None
        return values

    def _all_read(self, total: int) -> None:
        """Everything has come, although not everything has begun."""
        if self._engine and not self._total_told:
            self._total_told = True
            self._engine.know_total(total)

    def _issue(self, number: int) -> None:
        self._issued_any = True
        if self.plan.limits.keep_order or self.place:
            self.issued.append(number)

    def _open_backend(self, source: Source) -> Backend:
        plan = self.plan
        # Nothing is started for jobs that do not exist; of a later stage, nobody knows how many there will be.
        slots = min(plan.limits.jobs, source.total) if source.total and self.work == "new" else plan.limits.jobs
        return open_backend(plan.backend, settings_of(plan, self.run, self.held, slots, source.columns))

    def _climber(self, backend: Backend) -> Climber | None:
        """What finds out how many jobs at once are worth it, if that is asked for."""
        if not self.plan.limits.climb:
            return None
        from manyhands.host.metrics import strain

        climber = Climber(usable_cores(), self.plan.limits.jobs, strain, time.monotonic)
        if isinstance(backend, Adjustable):
            climber.obeyed_by(backend.limit)
        return climber
