"""A batch: one plan carried out over many inputs, as a run on disk. The library's front door; the tasks use it, too.

    Plan + Source --> run folder, lock, journal --> Engine on a backend --> events, in order

Who drives it reads the events, and may stop and pause it in between. `manyhands.library` is the short form for programs.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

from manyhands.backend import Backend
from manyhands.backends import check_backend, open_backend
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.call import Call, CallRenderer
from manyhands.continuing import check_stdin, difference, in_columns, keep_stdin
from manyhands.cores import usable_cores
from manyhands.engine import Engine, in_order
from manyhands.engine.climbing import Climber
from manyhands.engine.judging import Halting
from manyhands.engine.loop import Pull
from manyhands.errors import InputError, UsageError
from manyhands.events import Event, Finished, RunStarted, Summary, Warned
from manyhands.feed import Feed
from manyhands.inputs import Rows, Source, open_source
from manyhands.job import Job, Values
from manyhands.journal import Journal
from manyhands.ordering import arrange, walls_of
from manyhands.plan import Plan
from manyhands.runs import Run, RunLock, Store, discard, lock
from manyhands.spool import Spool, spooled
from manyhands.takeover import take_over
from manyhands.template import Renderer

Work = Literal["new", "rest", "failed"]


class Place(Protocol):
    """What a batch that is a stage of a line (`manyhands.line`) has around it."""

    number: int
    """Counted from 1; the first has inputs."""
    halting: Halting
    """The rule that ends the whole line."""

    def columns(self, found: Sequence[str] | None) -> Sequence[str]:
        """Names of the inputs' columns; the first stage has ``found`` them, the others wait for it."""
        ...

    def coming(self) -> Pull:
        """What comes from the stage before, new jobs only."""
        ...

    def open(self) -> bool:
        """Whether there is room after this stage: while there is none, nothing more begins."""
        ...


class Batch:
    """One execution of a run. Make it with `start`, `resume` or `retry`, iterate `events` once, then read `summary`."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(
        self, run: Run, held: RunLock, plan: Plan, *, work: Work, stream: int | None = None, source: Source | None = None
    ) -> None:
        self.run, self.plan, self.work = run, plan, work
        self.summary: Summary | None = None
        self.held, self._stream, self._source = held, stream, source
        self._engine: Engine | None = None
        self._stops: list[int] = []
        self._spool: Spool | None = None
        self._feed: Feed | None = None
        self.issued: deque[int] = deque()
        self.note: str | None = None
        """What is to be said before anything begins."""
        self._issued_any = self._taken = False
        self.place: Place | None = None
        """Set before `events` if this is a stage of a line."""

    # -- making one ------------------------------------------------------------------------------------------------------

    @classmethod
    def start(
        cls,
        plan: Plan,
        store: Store,
        *,
        run_id: str | None = None,
        stream: int | None = None,
        source: Source | None = None,
    ) -> Batch:
        """A new run. Its inputs come from ``source`` if given, from descriptor ``stream`` if given, else from where the plan
        says. A ``run_id`` that exists is gone on with.

        Raises UsageError for a plan that cannot be meant, before anything is made; CannotCreateError for the folder.
        """
        check_backend(plan.backend, functions=isinstance(plan.template, Call))
        existing = store.get(run_id) if run_id else None
        if existing:
            return cls._continue(existing, plan, stream, source)
        if stream is None:
            source = source or open_source(plan.source)
            plan.template.bind(source.columns, width=source.width)
        if isinstance(plan.template, Call):
            plan.template.check()
        run, held = store.create(plan.to_json(), run_id)
        if plan.stdin == "-":
            keep_stdin(run.path)
        return cls(run, held, plan, work="new", stream=stream, source=source)

    @classmethod
    def _continue(cls, run: Run, plan: Plan, stream: int | None, source: Source | None) -> Batch:
        """Go on with a run over inputs given anew: those it has done are passed over, by content."""
        before = Plan.from_json(run.asked, os.environ | dict(plan.environment))
        if why := difference(plan, before):
            raise UsageError(f"run {run.id} exists and {why}; or choose another --run-id for this one")
        held = lock(run)
        try:
            note = keep_stdin(run.path) if plan.stdin == "-" else None
            batch = cls(Store.update(run, plan.to_json()), held, plan, work="rest", stream=stream, source=source)
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
    def _again(cls, run: Run, environ: Mapping[str, str], work: Work, jobs: int | None) -> Batch:
        plan = Plan.from_json(run.asked, environ)
        for work_ in (plan.template, *(stage.template for stage in plan.then)):
            if isinstance(work_, Call):
                work_.check()
        check_stdin(plan, run.path)
        return cls(run, lock(run), plan.with_jobs(jobs) if jobs else plan, work=work)

    @property
    def untouched(self) -> bool:
        """Whether no job has been given out: the inputs were wrong, or there were none."""
        return not self._issued_any

    # -- while it runs ---------------------------------------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """End it because of signal ``number``; the second call kills. Safe in a signal handler and from any thread."""
        self._stops.append(number)
        if self._engine:
            self._engine.stop(number)
        elif self._spool:
            self._spool.cancel()

    def wake(self) -> None:
        """Yield a Tick soon. Safe in a signal handler and from any thread."""
        if self._engine:
            self._engine.wake()

    def pause(self, paused: bool) -> None:
        """Hold or continue the jobs; call it between two events."""
        if self._engine:
            self._engine.pause(paused)

    def events(self, *, tick: float | None = None) -> Generator[Event, None, None]:
        """Carry it out. ``tick``: seconds after which a Tick comes even if nothing happens.

        Raises UsageError when the inputs do not fit the template or there are none (a new run then leaves nothing behind),
        InputError when one cannot be read (what began is finished first), JournalError.
        """
        try:
            with ExitStack() as stack:
                stack.callback(self.held.close)
                journal = self.run.journal(check=self.work != "new")
                stack.callback(journal.close)
                yield from self.take_over(journal)
                yield from self._execute(journal, stack, tick)
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

    def _execute(self, journal: Journal, stack: ExitStack, tick: float | None) -> Iterator[Event]:
        source, lacking = self._open_source(journal, stack)
        source = in_columns(source, self.run.asked.get("columns", ()))
        if self.place:
            self.place.columns(source.columns)
        backend = self._open_backend(source)
        stack.callback(backend.close)
        if lacking:
            yield Warned(lacking)
        renderer = self.plan.template.bind(source.columns, width=source.width)
        if source.columns and self.work != "failed" and (self.place is None or self.place.number == 1):
            self.run = Store.update(self.run, {"columns": source.columns})
        total = source.total if self.work == "new" else None
        climber = self._climber()
        engine = self._engine = Engine(
            jobs=self._pull(journal, source, renderer), argv=lambda job: renderer.argv(job.values, job.number),
            backend=backend, journal=journal, limits=self.plan.limits, run=self.run.id, total=total, tick=tick,
            halting=self.place.halting if self.place else None, climber=climber, clock=self.clock,
        )  # fmt: skip
        for number in self._stops:
            engine.stop(number)
        yield RunStarted(self.run.id, self.plan.template.text, self.plan.limits.jobs, total)
        started = time.time()
        told = engine.run()
        stack.callback(told.close)
        for event in self._in_order(told, journal, renderer) if self.plan.limits.keep_order else told:
            if isinstance(event, Summary):
                self.summary = event = self._summarise(event, journal, lacking is not None)
                if climber:
                    self.run = Store.update(self.run, {"widths": climber.steps})
                journal.executed(started, event.wall, complete=not event.left and not event.unread)
            yield event

    def _in_order(self, told: Iterator[Event], journal: Journal, renderer: Renderer | CallRenderer) -> Iterator[Event]:
        def recall(number: int) -> Finished | None:
            record = journal.record(number)
            if record is None or record.outcome is None or not record.outcome.final:
                return None
            attempt = record.outcome.attempt._replace(argv=renderer.argv(record.job.values, number))
            return Finished(record.outcome._replace(attempt=attempt))

        return in_order(told, self.issued, recall)

    def _summarise(self, summary: Summary, journal: Journal, lacking: bool) -> Summary:
        """The whole run's state, if this was not its only execution. Raises UsageError for a run without inputs."""
        if self.work == "new":
            if not self._issued_any and summary.stopped_by is None and not (self.place and self.place.number > 1):
                raise UsageError("no inputs: nothing to run")
            return summary
        tally = journal.tally()
        unread = lacking or (summary.unread and self.work == "rest")
        return replace(summary, counts=tally.counts, left=tally.left, unread=unread)

    # -- inputs ----------------------------------------------------------------------------------------------------------

    def _open_source(self, journal: Journal, stack: ExitStack) -> tuple[Source, str | None]:
        """(the inputs, what is lacking of them if they were cut off)."""
        if self._stream is not None:
            journal.follow(lambda: self._spool.kept() if self._spool else (0, 0))
            spool = self._spool = Spool(self._stream, self.run.path, limit=self.plan.spool_limit)
            stack.callback(self._close_inputs)
            return open_source(self.plan.source, stream=spool.follow(self._flush)), None
        if self.place and self.place.number > 1:
            return Rows([], self.place.columns(None)), None
        if self.work == "failed":  # no new inputs; the columns are as they were
            return Rows([], self.run.asked.get("columns", ())), None
        if self._source is not None:
            return self._source, None
        if self.plan.source["kind"] == "iterator":
            return Rows(
                [], self.run.asked.get("columns", ())
            ), "the inputs came from a program: only it can give the rest"
        if not self.plan.streamed:
            return open_source(self.plan.source), None
        there = spooled(self.run.path, self.plan.source, journal.kept_inputs())
        lacking = None if there.complete else (
            "the inputs were cut off when the run was killed; what had come is done now, "
            f"give them all again with --run-id {self.run.id} to do the rest"
        )  # fmt: skip
        if lacking and not there.size:
            if self.plan.source["kind"] == "csv" and "columns" not in self.run.asked:
                raise InputError(lacking)  # not even the names of the columns have come
            return Rows([], self.run.asked.get("columns", ())), lacking
        return open_source(self.plan.source, stream=stack.enter_context(there.open())), lacking

    def _flush(self) -> None:
        if self._feed:
            self._feed.flush()

    def _close_inputs(self) -> None:
        if self._spool:
            self._spool.close()
        if self._feed:
            self._feed.close()

    def _pull(self, journal: Journal, source: Source, renderer: Renderer | CallRenderer) -> Pull:
        """The jobs to do; in a line, only while there is room after this stage."""
        jobs = self._jobs(journal, source, renderer)
        if self.place is None:
            yield from jobs
            return
        for one in jobs:
            while not self.place.open():
                yield None
            yield one

    def _jobs(self, journal: Journal, source: Source, renderer: Renderer | CallRenderer) -> Pull:
        """What is left or failed, then what is new among the inputs, or comes from the stage before."""
        if self.work != "new":
            for job, last in journal.left() if self.work == "rest" else journal.failed():
                self._issue(job.number)
                yield job, last
        if self.place and self.place.number > 1:
            for one in self.place.coming():
                self._issued_any = True
                yield one
            return
        gathered: list[Job] = []
        for new in self._new_jobs(journal, source, renderer):
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

    def _new_jobs(self, journal: Journal, source: Source, renderer: Renderer | CallRenderer) -> Iterator[Job | None]:
        """What this run has not met before among the inputs; None while none has come."""
        number = journal.last_number()
        known = journal.known() if self.work == "rest" else None
        try:
            values: Iterator[Values | None] = iter(source)
            if self._stream is not None:
                self._feed = Feed(source, self.wake)
                self._feed.start()
                values = iter(self._feed)
            for value in values:
                if value is None:
                    yield None
                    continue
                key = renderer.key(value)
                if known is None or not known.met(key):
                    number += 1
                    yield Job(number, key, value)
        finally:
            if known:
                known.close()

    def _issue(self, number: int) -> None:
        self._issued_any = True
        if self.plan.limits.keep_order or self.place:
            self.issued.append(number)

    def _open_backend(self, source: Source) -> Backend:
        plan = self.plan
        environment = dict(os.environb) | {os.fsencode(k): os.fsencode(v) for k, v in plan.environment.items()}
        environment[b"MH_RUN"] = self.run.id.encode()
        shared: dict[str, Any] = {
            "slots": plan.limits.jobs, "outputs": self.run.outputs.absolute(), "token": self.run.token,
            "environment": environment, "workdir": Path(plan.workdir), "grace": plan.limits.grace,
            "output_cap": plan.limits.output_cap, "nice": plan.nice, "keep_open": (self.held.descriptor,),
        }  # fmt: skip
        if isinstance(plan.template, Call):
            return open_backend(plan.backend, FunctionSettings(
                **shared, call=plan.template, columns=source.columns, workers=plan.workers, timed=plan.limits.timeout is not None,
            ))  # fmt: skip
        return open_backend(plan.backend, CommandSettings(
            **shared, stdin=self._stdin(), allow_daemons=plan.allow_daemons, launchers=min(plan.limits.jobs, usable_cores()),
        ))  # fmt: skip

    def _climber(self) -> Climber | None:
        """What finds out how many jobs at once are worth it, if that is asked for."""
        if not self.plan.limits.climb:
            return None
        from manyhands.meters import strain

        return Climber(usable_cores(), self.plan.limits.jobs, strain, time.monotonic)

    def _stdin(self) -> Path | None:
        asked = self.plan.stdin
        return None if asked is None else (self.run.path / "stdin").absolute() if asked == "-" else Path(asked)
