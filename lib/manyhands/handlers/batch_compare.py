"""What ``batch.compare`` does: a sample on each backend that fits, a table, and one sentence of advice."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import fields, replace
from json import dumps
from typing import Any, Final

from manyhands.core.errors import UsageError
from manyhands.execution.benchmark import Measured, advise, compare, sample_of
from manyhands.handlers.batch import forget_main
from manyhands.handlers.batch_options import Asked, AskedCall, AskedCommand, plan_of
from manyhands.inputs.grouping import groups_of
from manyhands.inputs.sources import open_source
from manyhands.posix.cores import usable_cores
from manyhands.render.measured import HEADER, check_plot, plot, record, row

_FUNCTION: Final = re.compile(r"[\w./-]+:[A-Za-z_][\w.]*")
_USUAL: Final[dict[str, Any]] = {
    "jobs": "1", "grace": "5", "retries": 0, "delay": "0", "backoff": "1", "halt": "never", "order": "input", "keep_order": True,
    "then": (), "tag": False, "dry_run": False, "output_cap": None, "nice": 0, "run_id": None, "retry_failed": False, "quiet": True, "json": False,
    "state_dir": None, "retry_on": None, "fail_if_empty": False, "max_args": None,
}  # fmt: skip
_OF_CALLS: Final[dict[str, Any]] = {
    "result": "none", "initializer": None, "initargs": None, "chunk": "auto", "max_jobs_per_worker": None,
    "start_method": "forkserver", "backend": "processes",
}  # fmt: skip


def compare_backends(work: str, options: dict[str, Any], *, sample: int, plot_to: str | None, json: bool) -> int:
    """Measure, print, advise; returns the exit status: 1 if nothing worked."""
    if sample < 1:
        raise UsageError(f"--sample {sample}: at least one is needed")
    if plot_to:
        check_plot(plot_to)
    plan, stream = plan_of(_asked(work, options))
    with nullcontext() if stream is None else open(stream, "rb", closefd=False) as file:
        source = open_source(plan.source, stream=file)
        values = sample_of(source, sample * (plan.max_args or 1))
    if not values:
        raise UsageError("no inputs: nothing to run")
    plan.template.bind(source.columns, width=source.width).key(values[0])
    measured = compare(replace(plan, streamed=False), values, source.columns, usable_cores())
    return report(measured, groups_of(len(values), plan.max_args) or 0, work, plot_to=plot_to, json=json)


def report(measured: Iterable[Measured], count: int, title: str, *, plot_to: str | None, json: bool) -> int:
    """Print what is measured as it comes, and the advice; returns the exit status: 1 if nothing worked."""
    forget_main()
    width = shutil.get_terminal_size((120, 24)).columns
    found: list[Measured] = []
    if not json:
        sys.stdout.write(f"{count} jobs on each\n{HEADER}\n")
    for one in measured:
        found.append(one)
        line = dumps(record(one, found[0])) if json else row(one, found[0], width)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    said = advise(found)
    sys.stdout.write((dumps({"schema": "manyhands.advice/1", "advice": said}) if json else said) + "\n")
    if plot_to:
        plot(found, plot_to, title)
    return 0 if any(one.error is None for one in found) else 1


def _asked(work: str, options: dict[str, Any]) -> AskedCommand | AskedCall:
    """The options as those of ``batch.call``, if the work looks like a function, else of ``batch``."""
    given = _USUAL | {name: value for name, value in options.items() if name in {one.name for one in fields(Asked)}}
    if _FUNCTION.fullmatch(work):
        if options["shell"]:
            raise UsageError(f"--shell is for commands, and {work} is a function")
        return AskedCall(**given | _OF_CALLS, function=work, type=options["type"])
    if options["type"] != "str":
        raise UsageError(f"--type is for functions (module:function), and {work} is a command")
    return AskedCommand(
        **given, backend="commands", template=work, shell=options["shell"], stdin=None, allow_daemons=False
    )
