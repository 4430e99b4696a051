"""The drawing of a comparison of backends: throughput by width, the speed-up and the time of each, and a table of all that was measured."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from manyhands.execution.benchmark import Measured, advise
from manyhands.posix.cores import usable_cores
from manyhands.render.comparison import three_digits
from manyhands.render.words import size
from manyhands.report.drawing import Drawing, Figure, Table
from manyhands.report.plots import Axes, Bar, Line, Point, bars, lines

_HEAD = (
    "backend",
    "jobs at once",
    "time",
    "start",
    "jobs a second",
    "speed-up",
    "user CPU",
    "system CPU",
    "waiting",
    "peak memory",
    "beyond each job",
    "not ok",
)


def compared(found: Sequence[Measured], work: str, count: int) -> Drawing:
    """Of what was measured, the reference first."""
    reference = found[0]
    good = [one for one in found if one.error is None]
    facts = [
        ("jobs", f"{count:,} on each backend and at each width"),
        ("reference", f"{reference.backend}, {_jobs(reference)}"),
        (
            "machine",
            f"{socket.gethostname()}: {usable_cores()} of {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        ),
        ("Python", platform.python_version()),
        ("made", datetime.now().strftime("%Y-%m-%d %H:%M:%S")),
    ]
    figures = list(_figures(good, reference)) if good else []
    return Drawing(f"{work}: backends compared", advise(found), facts, figures, [_table(found, reference)])


def _figures(good: Sequence[Measured], reference: Measured) -> list[Figure]:
    backends = list(dict.fromkeys(one.backend for one in good))
    some = [
        Line(name, [Point(one.jobs, one.rate, one.rate, one.rate) for one in good if one.backend == name])
        for name in backends
    ]
    best = max(good, key=lambda one: one.rate)
    told = f"The most: {_number(best.rate)} jobs a second by {best.backend}, {_jobs(best)} at once."
    axes = Axes("jobs at once", "jobs a second", log=True, dots=True)
    speeds = [
        Bar(
            _name(one),
            _speed_up(one, reference),
            f"{_speed_up(one, reference):.2f}x",
            backends.index(one.backend),
            bool(one.failed),
        )
        for one in good
    ]
    walls = [
        Bar(_name(one), one.wall, three_digits(one.wall), backends.index(one.backend), bool(one.failed)) for one in good
    ]
    shortest = min(good, key=lambda one: one.wall)
    bad = " In another colour: jobs of it were not ok." if any(one.failed for one in good) else ""
    return [
        Figure("rate", "Throughput", told, partial(lines, some, axes), half=False),
        Figure(
            "speed-up",
            "Speed-up",
            f"How many times as many jobs a second as {reference.backend} with {_jobs(reference)} at once.{bad}",
            partial(bars, speeds, "times as fast"),
        ),
        Figure(
            "time",
            "Time",
            f"From the start of the first job to the end of the last; the shortest: {three_digits(shortest.wall)}, by {_name(shortest)}.{bad}",
            partial(bars, walls, "seconds"),
        ),
    ]


def _table(found: Sequence[Measured], reference: Measured) -> Table:
    rows = [_row(one, reference) for one in found]
    return Table("All that was measured", _HEAD, rows, frozenset(range(1, len(_HEAD))))


def _row(one: Measured, reference: Measured) -> tuple[str, ...]:
    if one.error is not None:
        return (f"{one.backend}: {one.error}", str(one.jobs), *[""] * (len(_HEAD) - 2))
    return (
        one.backend,
        str(one.jobs),
        three_digits(one.wall),
        three_digits(one.startup),
        _number(one.rate),
        f"{_speed_up(one, reference):.2f}",
        three_digits(one.user),
        three_digits(one.system),
        f"{one.waiting:.0%}",
        size(one.memory),
        three_digits(one.overhead),
        str(one.failed),
    )


def _speed_up(one: Measured, reference: Measured) -> float:
    return one.rate / reference.rate if reference.rate else 0.0


def _name(one: Measured) -> str:
    return f"{one.backend}, {_jobs(one)}"


def _jobs(one: Measured) -> str:
    return "1 job" if one.jobs == 1 else f"{one.jobs} jobs"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
