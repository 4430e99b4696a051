"""How an execution gets its run: a new one is made, an existing one is continued; in both cases its lock is held from here on.

    Plan + Source --new_run--> OpenRun <--again-- a run's own run.json

Separate from `manyhands.execution.batch`, which carries out the run. An invalid plan is rejected here, before anything is made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack

from manyhands.backends.registry import check_plan
from manyhands.core.errors import UsageError
from manyhands.core.hints import option_name, typed
from manyhands.core.records import dataclass, replace
from manyhands.execution.continuation import check_stdin, check_trusted, difference, keep_stdin
from manyhands.execution.run_inputs import Scope, check_inputs
from manyhands.inputs.grouping import groups_of
from manyhands.inputs.program_inputs import AtHand, Iterating
from manyhands.inputs.sources import Source, open_source
from manyhands.inputs.value_file import FIRST, fresh_name
from manyhands.storage.runs import Run, RunLock, Store, lock_own
from manyhands.work.plan import Plan
from manyhands.work.submitted import Submitted


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A run whose lock we hold, and what to do of it."""

    run: Run
    held: RunLock
    plan: Plan
    scope: Scope
    stream: int | None = None
    """The descriptor to read its inputs from, if they are piped in."""
    source: Source | None = None
    """Its inputs, if they are given now."""
    note: str | None = None
    """A warning to report before anything begins."""

    @property
    def submitted(self) -> Submitted | None:
        """The execution that has gone on in the broker and is to be collected, if there is one."""
        return Submitted.of(self.run.record)


def new_run(
    plan: Plan,
    store: Store,
    *,
    run_id: str | None = None,
    stream: int | None = None,
    source: Source | None = None,
    retry_failed: bool = False,
) -> OpenRun:
    """Make a new run. Its inputs come from ``source`` if given, from descriptor ``stream`` if given, else from where the plan says. If
    the run ``run_id`` exists, it is continued: only new inputs run, and with ``retry_failed`` also the jobs that failed.

    Raises UsageError if the plan is invalid, before anything is made; CannotCreateError if the folder cannot be made.
    """
    check_plan(plan)
    if stream is None and plan.then:
        source = source or open_source(plan.source)
    _check_stages(plan, source)
    existing = store.get(run_id) if run_id else None
    if existing:
        return _continued(existing, plan, stream, source, "both" if retry_failed else "rest")
    if stream is None:
        source = source or open_source(plan.source)
        _fit(plan, source)
    plan.work.check()
    check_inputs(plan, source)
    total = groups_of(source.total, plan.max_args) if source else None
    kept = source if isinstance(source, AtHand) and store.keeps and not source.few else None
    if kept:
        plan = replace(plan, source=kept.named(FIRST))
    more = {} if total is None else {"total": total}
    run, held = store.create(plan.to_json() | more, run_id, kept.keep if kept else None)
    if plan.stdin == "-":
        keep_stdin(run.path)
    return OpenRun(run=run, held=held, plan=plan, scope="new", stream=stream, source=source)


def again(run: Run, environ: Mapping[str, str], scope: Scope, jobs: int | None = None) -> OpenRun:
    """Run the jobs of a run that are not done, or those that failed; ``jobs`` applies to its first stage. Raises BusyError while another process works on it."""
    check_trusted(run)
    plan = Plan.from_json(run.record, environ)
    if Submitted.of(run.record) and jobs:
        raise UsageError(f"{option_name('--jobs')} has no effect: all jobs of the run {run.id} are in the queue")
    if scope != "rest":
        _check_collected(run)
    check_plan(plan)
    for work in plan.works:
        work.check()
    check_stdin(plan, run.path)
    return OpenRun(run=run, held=lock_own(run), plan=plan.with_jobs(jobs) if jobs else plan, scope=scope)


def _continued(run: Run, plan: Plan, stream: int | None, source: Source | None, scope: Scope) -> OpenRun:
    """Continue a run with inputs given again: those that it has done, compared by content, are skipped."""
    check_trusted(run)
    _check_collected(run)
    before = Plan.from_json(run.record, os.environ | dict(plan.environment))
    if why := difference(plan, before):
        raise UsageError(f"run {run.id} exists and {why}; to make a new run, choose another {option_name('--run-id')}")
    held = lock_own(run)
    with ExitStack() as failing:
        failing.callback(held.close)
        with ExitStack() as last:
            note = keep_stdin(run.path) if plan.stdin == "-" else None
            if plan.shard:  # its inputs are those that it began with
                plan = replace(plan, source=before.source)
            elif isinstance(source, AtHand) and not source.few:
                plan = replace(plan, source=source.named(fresh_name(run.path)))
                source.keep(run.path, run.disk, last)
            whole_now = {"shard": None} if before.shard and plan.shard is None else {}
            run = Store.update(run, plan.to_json() | whole_now)
        failing.pop_all()
    return OpenRun(run=run, held=held, plan=plan, scope=scope, stream=stream, source=source, note=note)


def _check_collected(run: Run) -> None:
    """Raise UsageError for a run whose jobs are in a queue, where they go on: their ends have to be known first."""
    if Submitted.of(run.record):
        raise UsageError(
            f"the run {run.id} was submitted, and is not collected yet: {typed('batch.resume', run.id)} does that"
        )


def _check_stages(plan: Plan, source: Source | None) -> None:
    """Raise UsageError if a later stage is invalid."""
    for stage in plan.then:
        stage.work.check()
        if stage.work.is_function:
            stage.work.bind().key((b"null",))  # it is called with one argument
        else:
            _fit(replace(plan, work=stage.work), source)


def _fit(plan: Plan, source: Source | None) -> None:
    """Raise TemplateError if the work does not fit the columns of the inputs, as far as they are known."""
    if source is not None and (not isinstance(source, Iterating) or source.shaped):
        plan.work.bind(source.columns, width=source.width)
