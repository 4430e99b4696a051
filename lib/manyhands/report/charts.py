"""The pictures of a run, made by altair: each is a chart of what was computed elsewhere, so that its size does not grow with the run.

Colours are those of `COLOURS` and `INKS`, which nothing else has: `manyhands.report.svg` puts variables of the page in their place.
Blue and vermillion are told apart by everybody (Okabe and Ito, 2008); what failed also has a sign, and a bar of another height.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from manyhands.core.lean import NamedTuple
from manyhands.core.safe_text import one_line
from manyhands.render.words import duration
from manyhands.report.attempts import BAD, RUNNING, Attempts
from manyhands.report.bins import Histogram, OverTime, distribution, histogram, over_time, quantile
from manyhands.report.clock import Clock, unit_of
from manyhands.report.lanes import Label, Timeline, timeline

COLOURS: Final = {
    "ok": "#0072b2",
    "failed": "#d55e00",
    "timeout": "#e69f00",
    "lost": "#b5569a",
    "cancelled": "#868b90",
    "skipped": "#868b91",
    "running": "#56b4e9",
    "left": "#868b92",
}
"""Of each state."""
INK, MUTED, GRID, SECOND, PAPER = "#1b1f24", "#5b636b", "#d9dde1", "#009e73", "#fefefe"
"""Text; axes; lines behind; a second colour that means no state; what is written on a bar."""
SIGNS: Final = {"failed": "cross", "timeout": "triangle-up", "lost": "diamond", "cancelled": "circle"}
"""Shapes that stand at the end of a bar."""


class Size(NamedTuple):
    """Of a picture. ``narrow``: for a telephone."""

    width: int
    narrow: bool = False

    @property
    def half(self) -> Size:
        """Of one of two pictures beside each other."""
        return self if self.narrow else Size((self.width - 60) // 2)


WIDE, NARROW = Size(980), Size(270, narrow=True)


def lanes_chart(attempts: Attempts, clock: Clock, wanted: Size) -> Any:
    """The timeline."""
    import altair as alt

    found = timeline(attempts, clock, narrow=wanted.narrow)
    unit = unit_of(clock.span)
    step = 18 if found.height <= 24 else 14 if found.single else 12
    least = clock.span / wanted.width * (1.2 if found.single else 0.0)  # a bar is seen, however short
    rows = [
        {
            "x": one.x / unit.seconds,
            "x2": max(one.x2, one.x + least) / unit.seconds,
            "y": one.y,
            "y2": one.y2,
            "c": COLOURS[one.state],
        }
        for one in found.rects
    ]
    scale = alt.Scale(domain=[0, clock.span / unit.seconds], nice=False, clamp=True)
    x = alt.X("x:Q", scale=scale, title=_time_title(clock, unit.name), axis=axis_of(wanted, domain=True))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[found.height, 0], nice=False), axis=None)
    edge: dict[str, Any] = {"stroke": PAPER, "strokeWidth": 0.7} if found.single else {}
    bars = alt.Chart(data_of(rows)).mark_rect(**edge).encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=as_is("c"))
    layers = [
        _rules(found, y),
        bars,
        *_signs(found, x, y, unit.seconds, step),
        *_retries(found, x, y, unit.seconds, clock.span / wanted.width),
        *_pauses(clock, x, unit.seconds),
        *_labels(found.labels, y, wanted),
    ]
    return alt.layer(*layers).properties(width=wanted.width, height=max(40, step * found.height))


def _rules(found: Timeline, y: Any) -> Any:
    import altair as alt

    rows = [{"y": label.y + 0.5} for label in found.labels if not label.head]
    return alt.Chart(data_of(rows)).mark_rule(color=GRID, strokeWidth=1).encode(y=y)


def _signs(found: Timeline, x: Any, y: Any, second: float, step: int) -> Iterable[Any]:
    """A shape for each attempt that was not well, on its end."""
    import altair as alt

    rows = [
        {"x": one.x2 / second, "y": (one.y + one.y2) / 2, "s": SIGNS[one.state], "c": COLOURS[one.state]}
        for one in found.rects
        if one.state in SIGNS and found.single
    ]
    for sign in sorted(set(SIGNS.values())):
        some = [row for row in rows if row["s"] == sign]
        if some:
            mark = alt.Chart(data_of(some)).mark_point(
                shape=sign,
                filled=True,
                size=step * 4.5,
                opacity=1,
                angle=45 if sign == "cross" else 0,
                stroke=PAPER,
                strokeWidth=1,
            )
            yield mark.encode(x=x, y=y, color=as_is("c"))


def _retries(found: Timeline, x: Any, y: Any, second: float, pixel: float) -> Iterable[Any]:
    """A line where a retry begins, and its number where there is room."""
    import altair as alt

    again = [one for one in found.rects if one.retry]
    if again:
        rows = [{"x": one.x / second, "y": round(one.y), "y2": round(one.y) + 1} for one in again]
        yield alt.Chart(data_of(rows)).mark_rule(color=INK, strokeWidth=2).encode(x=x, y=y, y2="y2:Q")
    texts = [
        {"x": one.x / second, "y": (one.y + one.y2) / 2, "t": str(one.retry)}
        for one in again
        if one.x2 - one.x > 14 * pixel
    ]
    if texts:
        mark = alt.Chart(data_of(texts)).mark_text(color=PAPER, align="left", dx=4, fontSize=10, fontWeight="bold")
        yield mark.encode(x=x, y=y, text="t:N")


def _pauses(clock: Clock, x: Any, second: float) -> Iterable[Any]:
    import altair as alt

    if clock.pauses:
        rows = [{"x": one.at / second, "y": 0, "t": f"pause of {duration(one.seconds)}"} for one in clock.pauses]
        base = alt.Chart(data_of(rows)).encode(x=x)
        yield base.mark_rule(color=MUTED, strokeDash=[4, 3], strokeWidth=1.5)
        yield base.mark_text(color=MUTED, align="left", dx=4, dy=-6, baseline="bottom").encode(y=alt.value(0), text="t:N")


def _labels(labels: Sequence[Label], y: Any, wanted: Size) -> Iterable[Any]:
    import altair as alt

    room = 12 if wanted.narrow else 24
    for head in (False, True):
        rows = [{"y": one.y, "t": one_line(one.text, room)} for one in labels if one.head == head]
        if rows:
            mark = alt.Chart(data_of(rows)).mark_text(
                color=INK if head else MUTED,
                align="left" if head else "right",
                dx=2 if head else -8,
                fontWeight="bold" if head else "normal",
                clip=False,
            )
            yield mark.encode(x=alt.value(0), y=y, text="t:N")


def flow_charts(attempts: Attempts, clock: Clock, wanted: Size) -> dict[str, Any]:
    """Over time: how many ran at once, how many ended, how many cores worked, if that is known."""
    wanted = wanted.half
    over = over_time(attempts, clock, 60 if wanted.narrow else 120)
    found = {"width": _width(over, clock, wanted), "throughput": _throughput(over, clock, wanted)}
    if any(over.cores):
        rows = _series(over, clock, [("cores", over.cores, SECOND)])
        found["cores"] = _area(rows, clock, wanted, "cores at work")
    return found


def _width(over: OverTime, clock: Clock, wanted: Size) -> Any:
    colours = [COLOURS["ok"], SECOND, COLOURS["lost"], COLOURS["cancelled"]]
    series = [
        (f"stage {stage}", values, colours[number % len(colours)])
        for number, (stage, values) in enumerate(over.running.items())
    ]
    return _area(_series(over, clock, series), clock, wanted, "running at once", labelled=len(series) > 1)


def _throughput(over: OverTime, clock: Clock, wanted: Size) -> Any:
    series = [("ok", over.well, COLOURS["ok"]), ("not ok", over.bad, COLOURS["failed"])]
    return _area(_series(over, clock, series), clock, wanted, "ended per second")


def _series(over: OverTime, clock: Clock, series: Sequence[tuple[str, Sequence[float], str]]) -> list[dict[str, object]]:
    """Steps of stacked areas."""
    second = unit_of(clock.span).seconds
    rows: list[dict[str, object]] = []
    base = [0.0] * (len(series[0][1]) if series else 0)
    for name, values, colour in series:
        tops = [low + value for low, value in zip(base, values, strict=True)]
        for place, (low, top) in enumerate(zip(base, tops, strict=True)):
            if top > low:
                begin, end = place * over.length / second, (place + 1) * over.length / second
                rows.append({"x": begin, "x2": end, "y": round(low, 4), "y2": round(top, 4), "c": colour, "n": name})
        base = tops
    return _joined(rows)


def _joined(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Neighbours of one height are one."""
    joined: list[dict[str, object]] = []
    for row in rows:
        last = joined[-1] if joined else None
        if last and last["x2"] == row["x"] and all(last[key] == row[key] for key in ("y", "y2", "c")):
            last["x2"] = row["x2"]
        else:
            joined.append(dict(row))
    return joined


def _area(rows: list[dict[str, object]], clock: Clock, wanted: Size, title: str, *, labelled: bool = False) -> Any:
    import altair as alt

    unit = unit_of(clock.span)
    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[0, clock.span / unit.seconds], nice=False),
        title=_time_title(clock, unit.name),
        axis=axis_of(wanted, domain=True),
    )
    y = alt.Y("y:Q", title=title, axis=axis_of(wanted), scale=alt.Scale(domainMin=0))
    ends = {"x2": "x2:Q", "y2": "y2:Q", "stroke": alt.Stroke("c:N", scale=None, legend=None)}  # no seams between bins
    layers = [alt.Chart(data_of(rows)).mark_rect(strokeWidth=0.8).encode(x=x, y=y, color=as_is("c"), **ends)]
    if labelled:
        names = {str(row["n"]): row["c"] for row in rows}
        texts = [{"t": f"■ {name}", "c": colour, "n": n} for n, (name, colour) in enumerate(names.items())]
        legend = alt.Chart(data_of(texts)).mark_text(align="left", baseline="bottom", dy=-4)
        layers += [
            legend.transform_filter(f"datum.n == {n}").encode(
                x=alt.value(70 * n), y=alt.value(0), text="t:N", color=as_is("c")
            )
            for n in range(len(texts))
        ]
    return alt.layer(*layers).properties(width=wanted.width, height=150)


def time_charts(attempts: Attempts, wanted: Size) -> dict[str, Any]:
    """How long attempts took, and how much memory they had, if that is known."""
    wanted = wanted.half
    ended = [place for place, state in enumerate(attempts.state) if state != RUNNING]
    walls = [attempts.wall[place] for place in ended]
    bad = [attempts.state[place] in BAD for place in ended]
    bins = 20 if wanted.narrow else 40
    found = {"times": _histogram(histogram(walls, bad, bins), wanted, "run time", "seconds")}
    found["distribution"] = _distribution(walls, wanted)
    known = [place for place in ended if attempts.rss[place]]
    if known:
        peaks = [attempts.rss[place] / 2**20 for place in known]
        bad = [attempts.state[place] in BAD for place in known]
        found["memory"] = _histogram(histogram(peaks, bad, bins), wanted, "peak memory", "MiB")
    return found


def _histogram(found: Histogram, wanted: Size, title: str, unit: str) -> Any:
    import altair as alt

    factor, shown = (1000.0, "milliseconds") if unit == "seconds" and found.bins[-1].end < 0.5 else (1.0, unit)
    rows = []
    for one in found.bins:
        place = {"x": one.begin * factor, "x2": one.end * factor}
        for low, top, colour in ((0, one.well, "ok"), (one.well, one.well + one.bad, "failed")):
            if top > low:
                rows.append({**place, "y": low, "y2": top, "c": COLOURS[colour]})
    ends = [found.bins[0].begin * factor, found.bins[-1].end * factor]
    scale = alt.Scale(type="log" if found.log else "linear", domain=ends, nice=False)
    name = f"{title} in {shown}" + (" (logarithmic)" if found.log else "")
    x = alt.X("x:Q", scale=scale, title=name, axis=axis_of(wanted, domain=True, log=found.log))
    y = alt.Y("y:Q", title="attempts", axis=axis_of(wanted), scale=alt.Scale(domainMin=0))
    mark = alt.Chart(data_of(rows)).mark_rect(stroke=PAPER, strokeWidth=0.6)
    return mark.encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=as_is("c")).properties(width=wanted.width, height=150)


def _distribution(walls: Sequence[float], wanted: Size) -> Any:
    import altair as alt

    points = distribution(walls)
    most = points[-1][0] if points else 1.0
    positive = [value for value, _ in points if value > 0] or [0.001]
    log = most / min(positive) > 50
    factor, unit = (1000.0, "milliseconds") if most < 0.5 else (1.0, "seconds")
    least = min(positive) if log else 0.0
    rows = [{"x": max(value, least) * factor, "y": 100 * share} for value, share in points]
    rows.insert(0, {"x": least * factor, "y": 0.0})
    scale = alt.Scale(type="log" if log else "linear", domain=[least * factor, max(most, 1e-6) * factor], nice=False)
    x = alt.X("x:Q", scale=scale, title=f"took at most so many {unit}", axis=axis_of(wanted, domain=True, log=log))
    y = alt.Y("y:Q", title="% of attempts", axis=axis_of(wanted), scale=alt.Scale(domain=[0, 100]))
    line = (
        alt.Chart(data_of(rows)).mark_line(interpolate="step-after", color=COLOURS["ok"], strokeWidth=2).encode(x=x, y=y)
    )
    ordered = sorted(walls)
    marks = [
        {
            "x": max(quantile(ordered, share), least) * factor,
            "y": 100 * share,
            "t": f"{share:.0%} {duration(quantile(ordered, share))}",
        }
        for share in (0.5, 0.95)
        if ordered
    ]
    base = alt.Chart(data_of(marks)).encode(x=x, y=y)
    dots = base.mark_point(filled=True, size=45, color=INK, opacity=1)
    names = base.transform_calculate(late=f"datum.x > {_middle(scale_of=(least, most), log=log) * factor}")
    sides: Any = (("!datum.late", "left", 8, 8), ("datum.late", "right", -8, -8))
    texts = [
        names.transform_filter(rule).mark_text(align=align, dx=dx, dy=dy, color=INK, fontSize=11).encode(text="t:N")
        for rule, align, dx, dy in sides
    ]
    return alt.layer(line, dots, *texts).properties(width=wanted.width, height=150)


def _middle(*, scale_of: tuple[float, float], log: bool) -> float:
    least, most = scale_of
    return float((least * most) ** 0.5) if log else (least + most) / 2


def picture(attempts: Attempts, clock: Clock, title: str, told: str) -> Any:
    """Timeline and run times in one, for a file of its own."""
    import altair as alt

    times = time_charts(attempts, WIDE)
    flow = flow_charts(attempts, clock, WIDE)
    below = alt.vconcat(
        alt.hconcat(flow["width"], flow["throughput"]), alt.hconcat(times["times"], times["distribution"])
    )
    heading = alt.TitleParams(one_line(title, 110), subtitle=one_line(told, 140), anchor="start", offset=14)
    return alt.vconcat(lanes_chart(attempts, clock, WIDE), below, spacing=24).properties(title=heading)


def data_of(rows: Sequence[dict[str, Any]]) -> Any:
    """Rows as altair takes them without a look at their types."""
    return {"values": list(rows)}


def as_is(field: str) -> Any:
    """A colour that the rows have themselves, in this field."""
    import altair as alt

    return alt.Color(f"{field}:N", scale=None, legend=None)


def axis_of(wanted: Size, *, domain: bool = False, log: bool = False) -> Any:
    """An axis of numbers, with fewer of them in a narrow picture; ``domain``: the horizontal one."""
    import altair as alt

    count = 4 if wanted.narrow else 6 if wanted.width < 700 else 10
    return alt.Axis(
        grid=not domain, domain=domain, ticks=domain, tickCount=count, labelOverlap=True, format="~g" if log else ",.4~r"
    )


def _time_title(clock: Clock, unit: str) -> str:
    return f"{unit} from the first start" + (", pauses left out" if clock.pauses else "")
