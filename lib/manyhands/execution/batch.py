"""A batch: one plan carried out over many inputs, as a run on disk. Programs and the tasks both use it.

    OpenRun (a run folder, its lock, its plan) --> journal, inputs, backend --> Engine --> events, in order

The caller iterates the events, and may stop or pause the batch meanwhile. `manyhands.api.run_batch` is the short form for programs.
`open_run` makes or continues a run, `job_source` finds its jobs, `run_backend` makes the settings of its backend.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

from manyhands.backends.protocol import Backend, is_lasting, is_settling
from manyhands.core.errors import NotRunningError, UnavailableError, UsageError
from manyhands.core.events import Event, Finished, RunStarted, Summary, Warned
from manyhands.core.job import Status
from manyhands.core.limits import Halt
from manyhands.core.records import replace
from manyhands.engine.autoscale import Climber
from manyhands.engine.channel import Channel
from manyhands.engine.loop import Engine
from manyhands.engine.order import in_order
from manyhands.engine.recording import Record
from manyhands.engine.requests import Answer
from manyhands.execution.collection import Collection, Settled, without_mark
from manyhands.execution.continuation import in_columns
from manyhands.execution.earlier_executions import AGAIN, Earlier
from manyhands.execution.how_it_ended import how_it_ended
from manyhands.execution.job_source import JobSource
from manyhands.execution.listening import listen
from manyhands.execution.open_run import OpenRun, again, new_run
from manyhands.execution.run_backend import backend_for, climber_for, limits_for
from manyhands.execution.run_inputs import RunInputs
from manyhands.execution.stage_context import StageContext
from manyhands.execution.stored_results import recall_from
from manyhands.inputs.sources import Rows, Source
from manyhands.storage.journal import Journal
from manyhands.storage.progress_file import EVERY, Keeper
from manyhands.storage.runs import Run, Store, discard
from manyhands.work.plan import Plan
from manyhands.work.queue_kinds import is_queue


class Batch:
    """One execution of a run. Make it with `start`, `resume` or `retry`, iterate `events` once, then read ``summary``."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, opened: OpenRun, context: StageContext | None = None) -> None:
        """``context`` connects this batch with the other stages, if there are several."""
        self._opened, self._context = opened, context
        self.run, self.plan, self.scope, self.held = opened.run, opened.plan, opened.scope, opened.held
        self.summary: Summary | None = None
        self.inputs = RunInputs(opened.stream, opened.source)
        self._jobs = JobSource(self.run, self.plan, self.scope, self.inputs, context)
        self._engine: Engine | None = None
        self._collection: Collection | None = None
        self._stops: list[int] = []
        self._mutex = threading.RLock()  # reentrant: a signal handler may interrupt its thread in `stop`, and call it
        self.channel: Channel | None = None
        """Carries the events to another thread, if one takes them; while it is full, no new job begins."""
        self.begins = True
        """Whether an event is yielded also when an attempt begins."""
        self.issued = self._jobs.issued
        self.recovered: list[int] = []
        """Jobs that an earlier execution has finished, but did not record: their results are reported by this one, before those of its own."""
        self._taken = self._total_known = False
        self.no_inputs = False  # known at the end; a new run without inputs is removed

    # -- making one ------------------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, plan: Plan, store: Store, **options: Any) -> Batch:
        """Make a new run; ``options`` and exceptions are those of ``new_run`` in ``execution/open_run.py``."""
        return cls(new_run(plan, store, **options))

    @classmethod
    def resume(cls, run: Run, environ: Mapping[str, str], *, jobs: int | None = None) -> Batch:
        """Run the jobs of a run that are not done. Raises BusyError while another process is working on it."""
        return cls(again(run, environ, "rest", jobs))

    @classmethod
    def retry(cls, run: Run, environ: Mapping[str, str], *, jobs: int | None = None) -> Batch:
        """Run the failed jobs of a run again."""
        return cls(again(run, environ, "failed", jobs))

    @property
    def untouched(self) -> bool:
        """Whether no job has begun: the inputs were invalid, or there were none."""
        return not self._jobs.begun

    # -- while it runs ---------------------------------------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """End the batch because of signal ``number``; a second call kills. Safe in signal handlers and any thread."""
        with self._mutex:
            self._stops.append(number)
            engine = self._engine
        if engine:
            engine.stop(number)
        else:
            self.inputs.cancel()

    def wake(self) -> None:
        """Look for new inputs, and check whether jobs may begin again. Safe in a signal handler and from any thread."""
        if self._engine:
            self._engine.wake()

    def leave(self) -> None:
        """Stop waiting for inputs, and make `events` yield soon, so that it can be closed. Call it from any thread."""
        self.inputs.cancel()
        self.wake()

    def discard(self) -> None:
        """Release the run, and remove it if it is new: to be called instead of `events`."""
        if self.scope == "new":
            discard(self.run)
        self.held.close()

    @property
    def stopped_by(self) -> int | None:
        """The signal that ended the batch, or that arrived while the batch was ending anyway."""
        return self._stops[0] if self._stops else None

    def pause(self, paused: bool, reason: str = "") -> None:
        """Suspend or continue the jobs, and return when that is done: they continue when no reason is left. Call it from any other
        thread, as the four that follow; they raise NotRunningError while nothing is carried out."""
        self.ask(lambda engine: engine.pause(paused, reason))

    def finish(self) -> None:
        """Begin nothing more; what runs may end by itself."""
        self.ask(lambda engine: engine.finish())

    def stop_job(self, number: int) -> bool:
        """Stop one job, which a resume does again; returns whether it runs and can be stopped."""
        return self.ask(lambda engine: engine.stop_job(number))

    def set_jobs(self, jobs: Sequence[int]) -> list[int]:
        """Run at most so many at once from now on; returns what it is then (`Steered.set_jobs`). Raises UsageError for several numbers."""
        if len(jobs) > 1:
            raise UsageError("several numbers of jobs at once are for a run with several stages")
        return [self.ask(lambda engine: engine.set_jobs(jobs[0]))]

    def set_halt(self, rule: Halt) -> None:
        """End early by another rule from now on; see `Steered.set_halt`."""
        self.ask(lambda engine: engine.set_halt(rule))

    def ask(self, what: Callable[[Engine], Answer]) -> Answer:
        """Have ``what`` done by the engine's thread (`Requests.ask`)."""
        engine = self._engine
        if engine is None:
            raise NotRunningError("the run is just beginning: try again")
        return engine.ask(lambda: what(engine))

    def events(
        self, *, tick: float | None = None, before_waiting: Callable[[], None] = lambda: None
    ) -> Generator[Event, None, None]:
        """Carry out the batch. ``tick``: seconds after which a Tick is yielded even if nothing happens. ``before_waiting`` is called
        each time before the engine waits or ends. Iterate the events in one thread, and close them there.

        Raises UsageError when the inputs do not fit the template and UnavailableError when no host can be reached (after
        either, a new run in which no job began is removed), InputError when an input cannot be read, JournalError, and
        whatever a program's iterator raises (first, the jobs that began are finished and the Summary is yielded).
        """
        try:
            with ExitStack() as stack:
                stack.callback(self.held.close)
                self._keeper = Keeper(self.run.path, self.clock)
                stack.callback(self._keeper.close)
                if self._context is None:
                    stack.callback(listen(self.run, self))
                journal = self.run.journal(check=self.scope != "new")
                stack.callback(journal.close)
                yield from self.take_over(journal)
                yield from self._execute(journal, stack, tick, before_waiting)
                if self._collection and self._collection.is_over:
                    self.run = without_mark(self.run)
            if self.no_inputs and self.scope == "new" and self._context is None and self.plan.shard is None:
                discard(self.run)
        except (UsageError, UnavailableError):
            if self.scope == "new" and self.untouched and self._context is None:
                discard(self.run)
            raise

    # -- inside ----------------------------------------------------------------------------------------------------------

    def take_over(self, journal: Journal) -> Iterator[Event]:
        """End all processes of an earlier execution, and close its open records. Only the first call does anything."""
        if self._opened.submitted:
            return  # what has begun goes on elsewhere
        if self.scope != "new" and not self._taken:
            self._taken = True
            if self._opened.note:
                yield Warned(self._opened.note)
            from manyhands.execution import recovery  # imported here, because a new run does not need it

            unknown = [job.number for job, _ in journal.open_attempts()]
            if is_queue(self.plan.backend):
                yield from map(Warned, recovery.take_over_queue(self._opened, journal, lambda: bool(self._stops)))
            if strays := recovery.take_over(self.run, self.plan, journal):
                alive = "1 process was" if strays == 1 else f"{strays} processes were"
                yield Warned(
                    f"{alive} left over from the earlier, killed execution, and {'has' if strays == 1 else 'have'} been ended"
                )
            again = AGAIN if self.scope in ("failed", "both") else ()
            onward = (Status.OK,) if self._context and not self._context.last else ()
            self.recovered = recovery.finished(unknown, journal, without=(*again, *onward))
            self._jobs.recovered.extend(self.recovered)

    def _execute(
        self, journal: Journal, stack: ExitStack, tick: float | None, before_waiting: Callable[[], None]
    ) -> Iterator[Event]:
        source = in_columns(self._open_source(journal, stack), self.run.record.get("columns", ()))
        ask = self.channel.nudge if self.channel else None
        values = self.inputs.values(source, stack, backend=self.plan.backend, wake=self.wake, ask=ask)
        if self._context:
            self._context.columns(source.columns)
        renderer = self.plan.work.bind(source.columns, width=source.width)
        backend = stack.enter_context(closing(self._open_backend(source)))
        if self.inputs.missing:
            yield Warned(self.inputs.missing)
        if source.columns and self.scope != "failed" and (self._context is None or self._context.number == 1):
            self.run = Store.update(self.run, {"columns": source.columns})
        earlier = self._earlier(journal)
        total = self._total(earlier, source)
        halting = self._context.halting if self._context else earlier.halting(self.plan.limits.halt, total)
        limits, climber = limits_for(self.plan, backend), climber_for(self.plan, backend)
        stack.callback((jobs := self._jobs.jobs(journal, values, renderer, self._all_read)).close)
        engine = Engine(
            jobs=jobs,
            argv=renderer.argv,
            backend=backend,
            journal=self._record(journal, backend),
            limits=limits,
            run=self.run.id,
            total=total,
            whole=self.inputs.missing is None and self.scope != "failed",
            tick=tick or EVERY,
            halting=halting,
            climber=climber,
            gate=self._may_begin,
            before_waiting=lambda: self._wait(earlier, before_waiting),
            done_before=earlier.done,
            begins=self.begins,
            clock=self.clock,
        )
        self._use(engine)
        yield RunStarted(self.run.id, self.plan.work.text, min(limits.jobs, self.plan.limits.jobs), total, earlier.seen)
        yield from self._engine_events(engine, journal, stack, recall_from(journal, renderer), earlier.seen, climber)

    def _earlier(self, journal: Journal) -> Earlier:
        tally = journal.tally() if self.scope != "new" else None
        return Earlier(self.scope, tally, self.plan.max_args, unseen=len(self.recovered))

    def _record(self, journal: Journal, backend: Backend) -> Record:
        """What the engine writes to."""
        if not is_lasting(backend):
            return Settled(journal, backend) if is_settling(backend) else journal
        self._collection = Collection(journal, backend)
        self._jobs.adopted = self._collection.open
        return self._collection

    def _engine_events(
        self,
        engine: Engine,
        journal: Journal,
        stack: ExitStack,
        recall: Callable[[int], Finished | None],
        done_before: int,
        climber: Climber | None,
    ) -> Iterator[Event]:
        """The engine's events, with earlier executions added to the summary; the journal notes this execution."""
        started = time.time()
        stack.callback((running := engine.run()).close)
        happened = self._with_recovered(running, recall)
        for event in in_order(happened, self.issued, recall) if self.plan.limits.keep_order else happened:
            if isinstance(event, Summary):
                if engine.broken and not self._jobs.begun:
                    continue  # nothing was done, so there is nothing to sum up; the error follows
                self.summary = event = self._summarise(event, journal, done_before)
                self._keep_facts(event, climber)
                journal.executed(started, event.wall, complete=not event.left and not event.unread)
                if self._collection:
                    self._collection.end()
            yield event

    def _with_recovered(self, running: Iterator[Event], recall: Callable[[int], Finished | None]) -> Iterator[Event]:
        yield from filter(None, map(recall, self.recovered))
        for event in running:
            if isinstance(event, Summary):
                self._jobs.issue_recovered()  # if it was stopped before it had begun what comes before them
            yield event

    def _total(self, earlier: Earlier, source: Source) -> int | None:
        """How many jobs the run has; None if that is not known yet, or if some inputs are missing."""
        return None if self.inputs.missing is not None else earlier.total(source.total, self.run.record.get("total"))

    def _wait(self, earlier: Earlier, before_waiting: Callable[[], None]) -> None:
        """Note the number of inputs and write the progress file, before each wait, when all events have been yielded."""
        if (counted := self.inputs.counted) is not None:
            self._all_read((earlier.total(counted, self.run.record.get("total")) or 0) - earlier.done)
        if self._engine:
            self._keeper.look(self._engine.standing)
        if self._collection:
            self._collection.hold(self.channel is not None and self.channel.full and not self._stops)
        before_waiting()

    def _use(self, engine: Engine) -> None:
        """Let `stop` reach the engine, and pass on the stops that came before there was one."""
        with self._mutex:
            self._engine, stops = engine, list(self._stops)
        for number in stops:
            engine.stop(number)

    def _may_begin(self) -> bool:
        """Whether there is room for results: the thread that takes the events keeps up, and so does the next stage."""
        return not (self.channel and self.channel.full) and (self._context is None or self._context.open())

    def _keep_facts(self, summary: Summary, climber: Climber | None) -> None:
        """Store in run.json what this execution has found out: the number of jobs, and the widths that were tried."""
        facts: dict[str, Any] = {"widths": climber.steps} if climber else {}
        if summary.total is not None and summary.total != self.run.record.get("total"):
            facts["total"] = summary.total
        if self._context is None:
            facts |= how_it_ended(summary, self.run)
        if facts:
            self.run = Store.update(self.run, facts)

    def _summarise(self, summary: Summary, journal: Journal, done: int) -> Summary:
        """The summary of the whole run, if it had executions before this one."""
        inner = self._context is not None and self._context.number > 1
        shard = self.plan.shard
        self.no_inputs = (
            shard.total == 0
            if shard
            else not (self._jobs.any_input or inner or self.scope == "failed" or summary.unread or self.inputs.missing)
        )
        if self.scope == "new":
            return summary
        tally = journal.tally()
        unread = self.inputs.missing is not None or (summary.unread and self.scope != "failed")
        return replace(summary, counts=tally.counts, left=tally.left, unread=unread, done_before=done)

    # -- what it works with ----------------------------------------------------------------------------------------------

    def _open_source(self, journal: Journal, stack: ExitStack) -> Source:
        if self._context and self._context.number > 1:
            return Rows([], self._context.columns(None))
        return self.inputs.open(self.run, self.plan, self.scope, journal, stack)

    def _open_backend(self, source: Source) -> Backend:
        return backend_for(self._opened, source)

    def _all_read(self, total: int) -> None:
        """Tell the engine the number of jobs, now that all inputs have been read; only the first call counts."""
        if self._engine and not self._total_known:
            self._total_known = True
            self._engine.know_total(total)
