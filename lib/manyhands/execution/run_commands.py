"""What the jobs of a run run, made again from its request, for showing them."""

from __future__ import annotations

import os
from collections.abc import Callable

from manyhands.core.errors import InputError, TemplateError
from manyhands.core.job import Arg, Job
from manyhands.storage.runs import Run
from manyhands.work.plan import Plan

Filled = Callable[[Job, int], tuple[Arg, ...]]
"""The arguments of a job at a stage, in which the number of its slot may be left open; nothing for a function."""


def commands_of(run: Run) -> Filled:
    """How the commands of a run are made; what an earlier version has accepted and is refused today is shown as it was written."""
    environ = dict.fromkeys(run.record["environment"], "") | dict(os.environ)
    try:
        plan = Plan.from_json(run.record, environ)
    except TemplateError as error:
        written = os.fsencode(error.text)
        return lambda job, _: (written, *job.values)
    renderers = [plan.stage(n).work.bind(run.record.get("columns", ())) for n in range(1, len(plan.then) + 2)]

    def filled(job: Job, stage: int) -> tuple[Arg, ...]:
        try:
            return renderers[stage - 1].argv(job.values, job.number)
        except InputError:
            return (os.fsencode(plan.stage(stage).work.text), *job.values)

    return filled
