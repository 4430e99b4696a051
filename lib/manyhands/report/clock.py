"""The time axis of a run: seconds from its start, without the hours between an execution and the resume that followed it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from manyhands.core.lean import NamedTuple

_SHORT: Final = 10.0
"""Seconds of a pause that is never left out."""
_SHARE: Final = 0.5
"""A pause is left out if it is longer than this share of all time in which something ran."""
_GAP: Final = 0.01
"""What is left of it, as a share of that time."""


class Pause(NamedTuple):
    """A time in which nothing ran and which is left out: ``at`` on the axis, ``seconds`` long."""

    at: float
    seconds: float


class Clock:
    """Places on the axis; ``intervals``: (begin, end) of all that ran, in seconds from the start, in any order."""

    def __init__(self, intervals: Iterable[tuple[float, float]]) -> None:
        busy, gaps = _union(sorted(intervals))
        self.pauses: list[Pause] = []
        self._ends: list[float] = []
        self._cut: list[float] = []
        cut, end = 0.0, 0.0
        for begin, until in gaps:
            if until - begin > max(_SHORT, _SHARE * busy):
                self.pauses.append(Pause(begin - cut + _GAP * busy / 2, until - begin))
                cut += until - begin - _GAP * busy
                self._ends.append(until)
                self._cut.append(cut)
        self._cut.insert(0, 0.0)
        end = busy + sum(until - begin for begin, until in gaps) - cut
        self.span = end if end > 0 else 1e-3
        """Seconds from the left to the right end of the axis."""

    def __call__(self, seconds: float) -> float:
        """The place of a moment."""
        return seconds - self._cut[bisect_right(self._ends, seconds)]


def _union(ordered: Iterable[tuple[float, float]]) -> tuple[float, list[tuple[float, float]]]:
    """(seconds in which something ran, the times between)."""
    busy, at, gaps = 0.0, 0.0, []
    for begin, end in ordered:
        if begin > at:
            gaps.append((at, begin))
        busy += max(0.0, end - max(begin, at))
        at = max(at, end)
    return busy, gaps


class Unit(NamedTuple):
    """How an axis is labelled."""

    name: str
    seconds: float


def unit_of(span: float) -> Unit:
    """The unit in which ``span`` seconds are a readable number."""
    for name, seconds in (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0)):
        if span >= 2 * seconds or (name == "seconds" and span >= 0.5):
            return Unit(name, seconds)
    return Unit("milliseconds", 0.001)
