"""What the ``batch`` tasks do: what was asked (`manyhands.handlers.batch_options`) becomes a run, or what is left
of a run is done."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from manyhands.core.errors import UsageError
from manyhands.core.limits import parse_jobs
from manyhands.execution.begin import begin, go_on
from manyhands.execution.run_inputs import Scope
from manyhands.handlers.batch_options import BatchOptions, nothing_to_run, plan_of
from manyhands.handlers.batch_store import store
from manyhands.handlers.run_console import carry_out
from manyhands.handlers.run_extras import Extras
from manyhands.inputs.grouping import in_groups
from manyhands.inputs.sources import Source, open_source
from manyhands.options.batch import FunctionOptions
from manyhands.options.runs import AgainOptions
from manyhands.posix.cores import usable_cores
from manyhands.storage.expiry import expire, parse_keep
from manyhands.storage.runs import Store
from manyhands.work.plan import Plan
from manyhands.work.queue_kinds import is_elsewhere
from manyhands.work.template import display, fill_slot

if TYPE_CHECKING:
    from manyhands.execution.batch import Batch
    from manyhands.execution.staged import StagedBatch

# -- a new run -----------------------------------------------------------------------------------------------------------


def new(options: BatchOptions) -> int:
    """Carry out what was asked; returns the exit status. Raises UsageError before anything is run."""
    forget_main()
    if isinstance(options, FunctionOptions) and options.no_journal:
        from manyhands.handlers.batch_unjournaled import call_unjournaled

        return call_unjournaled(options)
    plan, stream = plan_of(options)
    if options.line_buffer:
        check_line_buffer(plan.to_json())
    extras = Extras(options)
    source = None
    if options.shard is not None or options.times is not None:
        from manyhands.execution.sharding import asked_for, shared  # here: most batches do all

        plan, source = shared(plan, asked_for(options, os.environ), options.times, stream=stream)
        stream = None
    if options.dry_run:
        return dry_run(plan, stream, source, fail_if_empty=options.fail_if_empty)
    kept, keep = store(options.state_dir), parse_keep(options.keep)
    if (said := expire(kept, keep, time.time())) and not options.quiet:
        sys.stderr.write(f"manyhands: {said}\n")

    def made() -> Batch | StagedBatch:
        return begin(plan, kept, run_id=options.run_id, stream=stream, source=source, retry_failed=options.retry_failed)

    return _carry_out(made, kept, extras, keep_stdin=stream is not None or plan.stdin == "-")


def _carry_out(made: Callable[[], Batch | StagedBatch], kept: Store, extras: Extras, *, keep_stdin: bool = False) -> int:
    """Carry out what ``made`` makes, here or in the background; returns the exit status."""
    if not extras.options.background:
        return carry_out(made(), kept, extras)
    from manyhands.handlers.background import Detached, in_background

    def detached(child: Detached) -> int:
        batch, extras.detached = made(), child
        child.take_streams(batch.run, keep_stdin=keep_stdin)
        return carry_out(batch, kept, extras)

    return in_background(detached, kept, as_json=extras.options.json, quiet=extras.options.quiet)


def check_line_buffer(record: Mapping[str, Any]) -> None:
    """Raise UsageError if what the jobs of a run print cannot be read while they run."""
    backends = [record["backend"], *(one["backend"] for one in record.get("then", ()))]
    if record.get("call") or record.get("on") or any(map(is_elsewhere, backends)):
        raise UsageError(
            "--line-buffer is for commands on this machine: what other jobs print is read when they have ended"
        )


def forget_main() -> None:
    """Let no worker process import the program that we are: a function of a command line is found by its name, elsewhere.

    multiprocessing goes by this attribute, and invoke takes a tenth of a second to import.
    """
    vars(sys.modules["__main__"]).pop("__file__", None)


def dry_run(plan: Plan, stream: int | None, source: Source | None = None, *, fail_if_empty: bool) -> int:
    """Print the command lines as they would be run, quoted for a shell; ``source``: the inputs, if they were read already."""
    opened = None if stream is None else os.fdopen(os.dup(stream), "rb")
    source = source or open_source(plan.source, stream=opened)
    renderer = plan.work.bind(source.columns, width=source.width)
    further = [one.work.bind(source.columns, width=source.width) for one in plan.then if not one.work.is_function]
    place = 0
    values_of = source if plan.max_args is None else in_groups(source, plan.max_args)
    numbers = count(1) if plan.shard is None else plan.shard.jobs
    for place, (number, values) in enumerate(zip(numbers, filter(None, values_of), strict=False), 1):
        renderer.key(values)
        slot = (place - 1) % plan.limits.jobs + 1
        for one in (renderer, *further):
            sys.stdout.write(display(fill_slot(one.argv(values, number), slot)) + "\n")
    return 0 if place or plan.shard else nothing_to_run(fail_if_empty=fail_if_empty)


# -- runs that exist -----------------------------------------------------------------------------------------------------


def again(work: Scope, options: AgainOptions) -> int:
    """Resume or retry a run; returns the exit status."""
    forget_main()
    extras = Extras(options)
    number = parse_jobs(options.jobs, usable_cores()) if options.jobs else None
    kept = store(options.state_dir)
    run = kept.find(options.run, by_program=False)
    if options.line_buffer:
        check_line_buffer(run.record)
    return _carry_out(lambda: go_on(run, os.environ, work, number), kept, extras)
