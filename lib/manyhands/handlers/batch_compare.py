"""What ``batch.compare`` does: a sample on each backend that fits, a table, and one sentence of advice."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from json import dumps
from typing import TYPE_CHECKING, Final

from manyhands.core.errors import UsageError
from manyhands.core.records import replace
from manyhands.execution.benchmark import Measured, advise, compare, sample_of
from manyhands.handlers.batch import forget_main
from manyhands.handlers.batch_options import BatchOptions, plan_of
from manyhands.handlers.picture_file import Target, draw, target_of
from manyhands.inputs.grouping import groups_of
from manyhands.inputs.sources import open_source
from manyhands.options.batch import CommandOptions, CompareOptions, FunctionOptions
from manyhands.posix.cores import usable_cores
from manyhands.render.comparison import HEADER, record, row

if TYPE_CHECKING:
    from manyhands.report.drawing import Drawing

_FUNCTION: Final = re.compile(r"[\w./-]+:[A-Za-z_][\w.]*")


def compare_backends(options: CompareOptions) -> int:
    """Measure, print, advise; returns the exit status: 1 if nothing worked."""
    sample = options.sample
    if sample < 1:
        raise UsageError(f"--sample {sample}: at least one is needed")
    target = target_of(options)
    plan, stream = plan_of(_as_batch(options))
    with nullcontext() if stream is None else open(stream, "rb", closefd=False) as file:
        source = open_source(plan.source, stream=file)
        values = sample_of(source, sample * (plan.max_args or 1))
    if not values:
        raise UsageError("no inputs: nothing to run")
    plan.work.bind(source.columns, width=source.width).key(values[0])
    measured = compare(replace(plan, streamed=False), values, source.columns, usable_cores())
    count = groups_of(len(values), plan.max_args) or 0
    return report(measured, count, options.work, target=target, json=options.json)


def report(measured: Iterable[Measured], count: int, work: str, *, target: Target | None, json: bool) -> int:
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
    draw(target, lambda: _drawing(found, work, count))
    return 0 if any(one.error is None for one in found) else 1


def _drawing(found: Sequence[Measured], work: str, count: int) -> Drawing:
    from manyhands.report.compared import compared

    return compared(found, work, count)


def _as_batch(options: CompareOptions) -> BatchOptions:
    """The options as those of ``batch.call``, if the work looks like a function, else of ``batch``."""
    both = {one.name for one in fields(options)} & {one.name for one in fields(CommandOptions)} - {
        "shell",
        "json",
        "output",
    }
    given = {name: getattr(options, name) for name in both}
    if _FUNCTION.fullmatch(options.work):
        if options.shell:
            raise UsageError(f"--shell is for commands, and {options.work} is a function")
        return FunctionOptions(**given, function=options.work, type=options.type, result="none", jobs=1)
    if options.type != "str":
        raise UsageError(f"--type is for functions (module:function), and {options.work} is a command")
    return CommandOptions(**given, template=options.work, shell=options.shell, jobs=1)
