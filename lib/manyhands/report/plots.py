"""The charts of a `Drawing`, made by altair in the report's colours: lines over an amount, bars of values, lanes of what ran when.

Each series has a colour and a dash or shape of its own, so that nobody has to see colours; a legend names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from manyhands.core.lean import NamedTuple
from manyhands.core.safe_text import cells, one_line
from manyhands.report.charts import COLOURS, INK, MUTED, PAPER, SECOND, Size, as_is, axis_of, data_of

_COLOURS: Final = (
    COLOURS["ok"],
    SECOND,
    COLOURS["lost"],
    COLOURS["timeout"],
    COLOURS["running"],
    COLOURS["cancelled"],
)
"""Of series, which are no states: without the colour of failures."""
_DASHES: Final = ([1, 0], [7, 3], [2, 2])
_SHAPES: Final = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
MOST_LINES: Final = len(_COLOURS) * len(_DASHES)
"""Series that can be told apart in one chart."""
_HEIGHT: Final = 170
_LEGEND_ROW: Final = 17


class Point(NamedTuple):
    """``low`` and ``high``: between which values it lay, if it stands for several."""

    x: float
    y: float
    low: float
    high: float


class Line(NamedTuple):
    """A named series."""

    name: str
    points: Sequence[Point]


class Axes(NamedTuple):
    """What they are called; ``most``: the end of the upright one, if it has one. ``log``: the horizontal one doubles; ``dots``: each point
    is marked."""

    x: str
    y: str
    most: float | None = None
    log: bool = False
    dots: bool = False


def lines(some: Sequence[Line], axes: Axes, wanted: Size) -> Any:
    """A line for each series, with a band where its points stand for several values."""
    import altair as alt

    places = sorted({point.x for line in some for point in line.points}) or [0.0, 1.0]
    ends = [places[0], places[-1]] if places[-1] > places[0] else [places[0] - 0.5, places[0] + 0.5]
    if axes.log:
        scale = alt.Scale(type="log", base=2, domain=[places[0], max(places[-1], 2 * places[0])], nice=False)
        ticks = alt.Axis(values=places, format="d", grid=False, labelOverlap=True)
    else:
        scale, ticks = alt.Scale(domain=ends, nice=False), axis_of(wanted, domain=True)
    x = alt.X("x:Q", scale=scale, title=axes.x, axis=ticks)
    top = axes.most or 1.05 * max((point.high for line in some for point in line.points), default=0.0) or 1.0
    upright = {
        "scale": alt.Scale(domain=[0, top], nice=False, clamp=True),
        "title": axes.y,
        "axis": axis_of(wanted.half),
    }
    y = alt.Y("y:Q", **upright)
    layers = [
        *_bands(some, x, upright),
        *_strokes(some, x, y, dots=axes.dots),
        *_legend([one.name for one in some], wanted, dots=axes.dots),
    ]
    return alt.layer(*layers).properties(width=wanted.width, height=_HEIGHT)


def _bands(some: Sequence[Line], x: Any, upright: dict[str, Any]) -> Iterator[Any]:
    import altair as alt

    for number, line in enumerate(some):
        if any(point.high > point.low for point in line.points):
            rows = [{"x": point.x, "y": point.low, "y2": point.high} for point in line.points]
            mark = alt.Chart(data_of(rows)).mark_area(color=_COLOURS[number % len(_COLOURS)], opacity=0.25)
            yield mark.encode(x=x, y=alt.Y("y:Q", **upright), y2="y2:Q")


def _strokes(some: Sequence[Line], x: Any, y: Any, *, dots: bool) -> Iterator[Any]:
    import altair as alt

    for number, line in enumerate(some):
        colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
        base = alt.Chart(data_of([{"x": point.x, "y": point.y} for point in line.points])).encode(x=x, y=y)
        yield base.mark_line(color=colour, strokeDash=dash, strokeWidth=1.8, interpolate="linear")
        if dots or len(line.points) == 1:
            shape = _SHAPES[number % len(_SHAPES)]
            yield base.mark_point(color=colour, filled=True, shape=shape, size=55, opacity=1)


def _legend(names: Sequence[str], wanted: Size, *, dots: bool) -> Iterator[Any]:
    """Names above the chart, as many rows as they need, each behind a piece of its line."""
    import altair as alt

    if len(names) < 2:
        return
    places: list[tuple[float, int]] = []
    at, row = 0.0, 0
    shown = [one_line(name, 30) for name in names]
    for name in shown:
        width = 34 + 6.6 * cells(name)
        if at and at + width > wanted.width:
            at, row = 0.0, row + 1
        places.append((at, row))
        at += width
    for number, (name, (left, line)) in enumerate(zip(shown, places, strict=True)):
        up = -8 - _LEGEND_ROW * (row - line)
        colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
        one = alt.Chart(data_of([{"t": name}]))
        yield one.mark_rule(color=colour, strokeDash=dash, strokeWidth=3).encode(
            x=alt.value(left), x2=alt.value(left + 18), y=alt.value(up)
        )
        if dots:
            mark = one.mark_point(color=colour, filled=True, shape=_SHAPES[number % len(_SHAPES)], size=55, opacity=1)
            yield mark.encode(x=alt.value(left + 9), y=alt.value(up))
        yield one.mark_text(color=INK, align="left", baseline="middle", fontSize=11).encode(
            x=alt.value(left + 23), y=alt.value(up), text="t:N"
        )


class Bar(NamedTuple):
    """``shown``: the value in words; ``bad``: it is in the colour of failures."""

    name: str
    value: float
    shown: str
    group: int = 0
    bad: bool = False


def bars(some: Sequence[Bar], title: str, wanted: Size) -> Any:
    """A bar for each value, with its name and the value above it."""
    import altair as alt

    most = max((one.value for one in some), default=0.0) or 1.0
    rows = [
        {
            "y": n + 0.45,
            "y2": n + 0.9,
            "x": 0,
            "x2": one.value,
            "t": f"{one_line(one.name, (36 if wanted.narrow else 62) - len(one.shown))}: {one.shown}",
            "c": COLOURS["failed"] if one.bad else _COLOURS[one.group % len(_COLOURS)],
        }
        for n, one in enumerate(some)
    ]
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, most], nice=False), title=title, axis=axis_of(wanted, domain=True))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[max(len(some), 1), 0], nice=False), axis=None)
    base = alt.Chart(data_of(rows))
    layers = [
        base.mark_rect().encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=as_is("c")),
        base.mark_text(color=INK, align="left", baseline="bottom", fontSize=11, dy=-1).encode(
            x=alt.value(0), y=y, text="t:N"
        ),
    ]
    return alt.layer(*layers).properties(width=wanted.width, height=max(60, 30 * len(some)))


class Stretch(NamedTuple):
    """Something that ran in a lane from ``begin`` to ``end``."""

    lane: int
    begin: float
    end: float


class Moment(NamedTuple):
    """Something that happened in a lane."""

    lane: int
    at: float


def lanes(
    names: Sequence[str], ran: Sequence[Stretch], told: Iterable[Moment], end: float, title: str, wanted: Size
) -> Any:
    """A lane for each name, with bars for what ran in it and a dot for what happened."""
    import altair as alt

    least = end / wanted.width * 1.5  # a bar is seen, however short
    step = 27 if len(names) <= 24 else 21
    bars_ = [
        {
            "x": one.begin,
            "x2": min(max(one.end, one.begin + least), end),
            "y": one.lane + 0.42 + 0.5 * part,
            "y2": one.lane + 0.42 + 0.5 * (part + share),
            "c": _COLOURS[one.lane % len(_COLOURS)],
        }
        for one, part, share in _stacked(ran)
    ]
    dots = [{"x": one.at, "y": one.lane + 0.67} for one in told]
    x = alt.X(
        "x:Q", scale=alt.Scale(domain=[0, end], nice=False, clamp=True), title=title, axis=axis_of(wanted, domain=True)
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=[len(names), 0], nice=False), axis=None)
    text = [{"y": n + 0.38, "t": one_line(name, 36 if wanted.narrow else 80)} for n, name in enumerate(names)]
    layers = [
        alt.Chart(data_of(bars_))
        .mark_rect(stroke=PAPER, strokeWidth=0.7)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=as_is("c")),
        alt.Chart(data_of(dots)).mark_point(color=INK, filled=True, size=14, opacity=0.75).encode(x=x, y=y),
        alt.Chart(data_of(text))
        .mark_text(color=MUTED, align="left", baseline="bottom", fontSize=10)
        .encode(x=alt.value(0), y=y, text="t:N"),
    ]
    return alt.layer(*layers).properties(width=wanted.width, height=max(48, step * len(names)))


def _stacked(ran: Sequence[Stretch]) -> Iterator[tuple[Stretch, float, float]]:
    """Each with its place in its lane and its share of the height: those of a lane that run at the same time stand above each other."""
    by_lane: dict[int, list[Stretch]] = {}
    for one in sorted(ran, key=lambda one: one.begin):
        by_lane.setdefault(one.lane, []).append(one)
    for some in by_lane.values():
        if all(late.begin >= early.end for early, late in pairwise(some)):
            yield from ((one, 0.0, 1.0) for one in some)
            continue
        free: list[float] = []
        rows = []
        for one in some:
            row = next((n for n, until in enumerate(free) if until <= one.begin), len(free))
            free[row : row + 1] = [one.end]
            rows.append(row)
        yield from ((one, row / len(free), 1 / len(free)) for one, row in zip(some, rows, strict=True))
