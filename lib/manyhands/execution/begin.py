"""What carries out a run that is made or continued: a batch, or one of several stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from manyhands.execution.batch import Batch
from manyhands.execution.open_run import OpenRun, again, new_run
from manyhands.execution.run_inputs import Scope
from manyhands.storage.runs import Run, Store
from manyhands.work.plan import Plan

if TYPE_CHECKING:
    from manyhands.execution.staged import StagedBatch


def begin(plan: Plan, store: Store, **options: Any) -> Batch | StagedBatch:
    """Make a new run of one stage or of several; ``options`` are those of `manyhands.execution.open_run.new_run`."""
    return _batch_for(new_run(plan, store, **options))


def go_on(run: Run, environ: Mapping[str, str], scope: Scope, jobs: int | None = None) -> Batch | StagedBatch:
    """Run the jobs of a run that are not done, or those that failed; see `manyhands.execution.open_run.again`."""
    return _batch_for(again(run, environ, scope, jobs))


def _batch_for(opened: OpenRun) -> Batch | StagedBatch:
    if not opened.plan.then:
        return Batch(opened)
    from manyhands.execution.staged import StagedBatch  # here: most batches have one stage

    return StagedBatch(opened)
