"""What was measured of backends: a row for each with its speed-up as a bar, records for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from manyhands.core.safe_text import one_line
from manyhands.execution.benchmark import Measured
from manyhands.render.words import size

SCHEMA: Final = "manyhands.measured/1"
HEADER: Final = (
    f"{'BACKEND':15} {'JOBS':>4} {'WALL':>9} {'USER':>8} {'SYSTEM':>8} {'MEMORY':>9} {'PER JOB':>9} {'SPEED-UP':>8}"
)
_LEAST: Final = 8  # columns: a shorter bar tells nothing
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"


def row(one: Measured, reference: Measured, width: int) -> str:
    """One line under `HEADER`, not wider than ``width`` columns; the reference has a speed-up of 1."""
    name = f"{one.backend:15} {one.jobs:>4} "
    if one.error is not None:
        return name + one_line(one.error, max(20, width - len(name)))
    faster = one.rate / reference.rate if reference.rate else 0.0
    text = (
        f"{name}{three_digits(one.wall):>9} {three_digits(one.user):>8} {three_digits(one.system):>8} {size(one.memory):>9} {three_digits(one.overhead):>9} "
        f"{faster:>7.2f}x"
    )
    if one.failed:
        return f"{text} {one.failed} failed"
    room = width - len(text) - 1
    return f"{text} {_bar(faster, room)}".rstrip() if room >= _LEAST else text


def three_digits(seconds: float) -> str:
    """Three digits: ``12.3 ms``."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 999.5 else f"{seconds * factor:,.0f} {unit}"
    raise AssertionError


def _bar(value: float, room: int) -> str:
    """Two columns for each 1.0."""
    eighths = min(round(value * 16), room * 8)
    return _BLOCKS[-1] * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")


def record(one: Measured, reference: Measured) -> dict[str, Any]:
    """For JSON: seconds, bytes, and the speed-up against the reference."""
    faster = one.rate / reference.rate if reference.rate and one.error is None else None
    return {
        "schema": SCHEMA,
        **asdict(one),
        "rate": one.rate,
        "overhead": one.overhead,
        "waiting": one.waiting,
        "speed_up": faster,
    }
