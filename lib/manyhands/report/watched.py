"""What was seen over time, kept in bounded memory, and its drawing: figures of lines, and for each a table of least, mean, most and last.

    a look --> {figure: {series: value}} --History--> Drawing

A `History` holds at most `_MOST` points of each series, however long it lasts: then two neighbours become one, which knows between
which values both lay.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from manyhands.core.lean import NamedTuple
from manyhands.render.words import duration
from manyhands.report.clock import unit_of
from manyhands.report.drawing import Drawing, Figure, Table
from manyhands.report.plots import MOST_LINES, Axes, Line, Point, lines

_MOST: Final = 600
Values = Mapping[str, Mapping[str, float]]
"""What one look has seen: for each figure, the value of each series."""


class Kind(NamedTuple):
    """What a figure shows. ``shown``: a value in words; ``scale``: (a divisor, the name of the axis) for the largest value; ``most``: where
    the axis ends, if that is known."""

    title: str
    told: str
    shown: Callable[[float], str]
    scale: Callable[[float], tuple[float, str]]
    most: float | None = None


class _Bin(NamedTuple):
    at: float
    many: int
    total: float
    low: float
    high: float

    def and_(self, other: _Bin) -> _Bin:
        low, high = min(self.low, other.low), max(self.high, other.high)
        return _Bin(self.at, self.many + other.many, self.total + other.total, low, high)


class Series:
    """One value over time."""

    def __init__(self) -> None:
        self._bins: list[_Bin] = []
        self._each = 1
        self.last = 0.0

    def add(self, at: float, value: float) -> None:
        """Seen ``at`` so many seconds, which grow."""
        self.last = value
        one = _Bin(at, 1, value, value, value)
        if self._bins and self._bins[-1].many < self._each:
            self._bins[-1] = self._bins[-1].and_(one)
            return
        if len(self._bins) == _MOST:
            pairs = zip(self._bins[::2], self._bins[1::2], strict=True)
            self._bins = [early.and_(late) for early, late in pairs]
            self._each *= 2
        self._bins.append(one)

    def points(self, second: float, unit: float) -> list[Point]:
        """In units of time and of the value."""
        return [
            Point(one.at / second, one.total / one.many / unit, one.low / unit, one.high / unit) for one in self._bins
        ]

    @property
    def least(self) -> float:
        """Of all values."""
        return min(one.low for one in self._bins)

    @property
    def most(self) -> float:
        """Of all values."""
        return max(one.high for one in self._bins)

    @property
    def mean(self) -> float:
        """Of all values."""
        return sum(one.total for one in self._bins) / sum(one.many for one in self._bins)


class History:
    """All looks of a watch."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, datetime.now()
        self._first: float | None = None
        self._span = 0.0
        self._looks = 0
        self._seen: dict[str, dict[str, Series]] = {}

    def add(self, values: Values) -> None:
        """What is seen now."""
        now = self._clock()
        self._first = now if self._first is None else self._first
        self._span, self._looks = now - self._first, self._looks + 1
        for figure, some in values.items():
            kept = self._seen.setdefault(figure, {})
            for name, value in some.items():
                kept.setdefault(name, Series()).add(self._span, value)

    def drawing(self, title: str, kinds: Mapping[str, Kind]) -> Drawing:
        """All that was seen."""
        end = datetime.now()
        facts = [
            ("machine", socket.gethostname()),
            ("looks", f"{self._looks:,}"),
            ("from", f"{self._began:%Y-%m-%d %H:%M:%S}"),
            ("until", f"{end:%Y-%m-%d %H:%M:%S}"),
            ("lasted", duration(self._span)),
        ]
        there = [(name, kind, self._seen[name]) for name, kind in kinds.items() if self._seen.get(name)]
        figures = [self._figure(name, kind, some) for name, kind, some in there]
        tables = [_table(kind, some) for _, kind, some in there]
        told = f"{self._looks:,} look{'s' * (self._looks != 1)} in {duration(self._span)}, until {end:%Y-%m-%d %H:%M:%S}"
        if not there:
            told += ": nothing of it has a number here"
        return Drawing(f"{title} on {socket.gethostname()}", told, facts, figures, tables)

    def _figure(self, name: str, kind: Kind, some: Mapping[str, Series]) -> Figure:
        unit = unit_of(self._span)
        most = max(one.most for one in some.values())
        divisor, axis = kind.scale(most)
        moved = [one for one in some if some[one].most > 0] or list(some)[:1]
        drawn = sorted(moved, key=lambda one: -some[one].most)[:MOST_LINES]
        names = [one for one in some if one in drawn]
        shown = [Line(one, some[one].points(unit.seconds, divisor)) for one in names]
        axes = Axes(f"{unit.name} from the first look", axis, None if kind.most is None else kind.most / divisor)
        return Figure(name, kind.title, _told(kind, some, len(names)), partial(lines, shown, axes))


def _told(kind: Kind, some: Mapping[str, Series], drawn: int) -> str:
    top = max(some, key=lambda one: some[one].most)
    if some[top].most <= 0:
        return f"{kind.told} It was 0 all the time."
    text = f"{kind.told} The most was {kind.shown(some[top].most)}" + (f" ({top})." if len(some) > 1 else ".")
    if drawn < sum(one.most > 0 for one in some.values()):
        text += f" The {drawn} with the largest values are drawn."
    return text + (" The table also has the others." if drawn < len(some) else "")


def _table(kind: Kind, some: Mapping[str, Series]) -> Table:
    rows: Sequence[tuple[str, ...]] = [
        (name, *map(kind.shown, (one.least, one.mean, one.most, one.last))) for name, one in some.items()
    ]
    return Table(kind.title, ("of", "least", "mean", "most", "last"), rows, frozenset(range(1, 5)))
