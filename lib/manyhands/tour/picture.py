"""The drawing of a scene: when each part ran, how long it took, and all events. It is made from the events alone, so
every scene has one."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from manyhands.render.comparison import three_digits
from manyhands.render.words import duration
from manyhands.report.clock import unit_of
from manyhands.report.drawing import Drawing, Figure, Table
from manyhands.report.plots import Bar, Moment, Stretch, bars, lanes
from manyhands.tour.contents import Scene
from manyhands.tour.narrating import title_of
from manyhands.tour.seen import Event, Seen, Span
from manyhands.tour.showing import Performance

_LANES: Final = 48
_BARS: Final = 30
_DRAWN: Final = 3000
_ROWS: Final = 1000


def drawing(scene: Scene, options: Mapping[str, Any], done: Performance) -> Drawing:
    """Of a scene that was played with these options."""
    seen = done.seen
    spans = seen.spans()
    facts = [
        (
            "played with",
            ", ".join(
                f"{name.replace('_', '-')} {_value(value)}" for name, value in options.items() if value not in ((), [])
            ),
        ),
        ("machine", socket.gethostname()),
        ("made", datetime.now().strftime("%Y-%m-%d %H:%M:%S")),
    ]
    figures = [_timeline(seen, spans), *([_times(spans)] if spans else [])] if seen.events else []
    title = title_of(scene, broken=bool(options.get("broken")))
    return Drawing(title, done.verdict, facts, figures, _tables(seen, spans))


def _value(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _timeline(seen: Seen, spans: Sequence[Span]) -> Figure:
    everyone = list(dict.fromkeys(one.lane for one in seen.events))
    places = {lane: place for place, lane in enumerate(everyone[:_LANES])}
    end = max(one.at for one in seen.events)
    unit = unit_of(end)
    ran = [
        Stretch(places[one.event.lane], one.begin / unit.seconds, one.end / unit.seconds)
        for one in spans[:_DRAWN]
        if one.event.lane in places
    ]
    told = [
        Moment(places[one.lane], max(one.at, 0.0) / unit.seconds)
        for one in seen.events
        if one.kind == "tell" and one.lane in places
    ]
    words = (
        f"{_many(len(everyone), 'lane')}, one for each process, thread or task that told something, in {duration(end)}."
    )
    words += " A bar is something that took a while, a dot something that was told."
    if len(everyone) > _LANES:
        words += f" The first {_LANES} are drawn."
    if len(spans) > _DRAWN:
        words += f" Of {len(spans):,} bars the first {_DRAWN:,} are drawn."
    names = [f"{actor} {pid}" for pid, actor in places]
    title = f"{unit.name} from the first event"
    draw = partial(lanes, names, ran, told[:_DRAWN], max(end, 1e-6) / unit.seconds, title)
    return Figure("timeline", "What ran when", words, draw, half=False)


def _times(spans: Sequence[Span]) -> Figure:
    """The longest, in the order in which they began."""
    longest = sorted(spans, key=lambda one: -one.took)[:_BARS]
    unit = unit_of(longest[0].took)
    groups = {text: n for n, text in enumerate(dict.fromkeys(one.event.text for one in spans))}
    shown = [
        Bar(
            f"{one.event.actor} {one.event.said}", one.took / unit.seconds, three_digits(one.took), groups[one.event.text]
        )
        for one in spans
        if one in longest
    ]
    words = f"The longest: {longest[0].event.said}, {three_digits(longest[0].took)}."
    if len(spans) > len(shown):
        words += f" Of {len(spans):,} the {len(shown)} longest are drawn."
    return Figure("times", "How long each took", words, partial(bars, shown, unit.name), half=False)


def _tables(seen: Seen, spans: Sequence[Span]) -> list[Table]:
    told = [one for one in seen.events if one.kind == "tell"]
    found = [
        Table(
            "What took a while",
            ("began", "took", "process", "who", "what"),
            [(_at(one.begin), three_digits(one.took), *_who(one.event)) for one in spans[:_ROWS]],
            frozenset((0, 1, 2)),
            max(0, len(spans) - _ROWS),
        ),
        Table(
            "What was told",
            ("at", "process", "who", "what"),
            [(_at(one.at), *_who(one)) for one in told[:_ROWS]],
            frozenset((0, 1)),
            max(0, len(told) - _ROWS),
        ),
    ]
    return [one for one in found if one.rows]


def _at(seconds: float) -> str:
    return f"{max(seconds, 0.0):.3f} s"


def _who(one: Event) -> tuple[str, str, str]:
    return str(one.pid), one.actor, one.said


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
