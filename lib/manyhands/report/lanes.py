"""The timeline as rectangles: a lane for each place at which attempts were made, grouped by host and stage.

Few attempts are drawn one by one. Of many, each lane is cut into cells, of which the height says how busy it was and the colour how
what ended there had ended; neighbours that look the same are one. If there are too many lanes, a host and stage is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import Any, Final

from manyhands.core.lean import NamedTuple
from manyhands.report.attempts import BAD, OK, STATES, Attempts, Bar, Lane
from manyhands.report.bins import Spread
from manyhands.report.clock import Clock

_MOST: Final = 800
"""Attempts that are drawn one by one."""
_LANES: Final = 48
_CELLS: Final = 2400
_LEVELS: Final = 4
"""Heights that are told apart."""


class Rect(NamedTuple):
    """A bar, in seconds of the axis and in lanes from the top."""

    x: float
    x2: float
    y: float
    y2: float
    state: str
    retry: int = 0
    """The number of the attempt, if it is not the first."""


class Label(NamedTuple):
    """What stands before a lane; ``head``: of a group."""

    y: float
    text: str
    head: bool = False


class Timeline(NamedTuple):
    """All that is drawn. ``single``: each bar is one attempt."""

    rects: list[Rect]
    labels: list[Label]
    height: int
    single: bool


class Rows(NamedTuple):
    """Where lanes are drawn: ``of`` a lane's place in `Attempts.lanes` its row; a row is 1 high."""

    of: list[int]
    labels: list[Label]
    height: int
    slots: dict[int, int]
    """How many places each row stands for."""


def timeline(attempts: Attempts, clock: Clock, *, narrow: bool = False) -> Timeline:
    """Look at all attempts once."""
    rows, single = _rows(attempts.lanes), is_single(attempts)
    drawn = (
        _single(attempts.bars(), clock, rows) if single else _cells(attempts, clock, rows, _CELLS // (2 if narrow else 1))
    )
    return Timeline(sorted(drawn, key=lambda one: one.state != "ok"), rows.labels, rows.height, single)


def is_single(attempts: Attempts) -> bool:
    """Whether attempts are drawn one by one."""
    return len(attempts) <= _MOST and len(attempts.lanes) <= _LANES


def _rows(lanes: Sequence[Lane]) -> Rows:
    whole = len(lanes) > _LANES
    keys: list[tuple[Any, ...]] = [lane.order[:2] if whole else lane.order for lane in lanes]
    ordered = sorted(set(keys))
    several_stages = len({key[1] for key in ordered}) > 1
    hosts = {key[0] for key in ordered}
    labels: list[Label] = []
    place: dict[tuple[Any, ...], int] = {}
    group: object = None
    at = 0
    for key in ordered[:_LANES]:
        name = _group_name(key, several_stages, bool(hosts - {""}))
        if not whole and name and key[:2] != group:
            labels.append(Label(at + 0.5, name, head=True))
            at += 1
        group = key[:2]
        labels.append(Label(at + 0.5, (name or "all slots") if whole else f"slot {key[2]}"))
        place[key] = at
        at += 1
    if len(ordered) > _LANES:
        labels.append(Label(at + 0.5, f"{len(ordered) - _LANES:,} more"))
        at += 1
    of = [place.get(key, at - 1) for key in keys]
    return Rows(of, labels, at, {row: of.count(row) for row in set(of)})


def _group_name(key: Sequence[object], stages: bool, hosts: bool) -> str:
    host = f"{key[0] or 'this machine'}" if hosts else ""
    return ", ".join(filter(None, (host, f"stage {key[1]}" if stages else "")))


def _single(bars: Iterable[Bar], clock: Clock, rows: Rows) -> Iterator[Rect]:
    for bar in bars:
        row, edge = rows.of[bar.lane], 0.2 if bar.state == OK else 0.06
        yield Rect(
            clock(bar.begin),
            clock(bar.end),
            row + edge,
            row + 1 - edge,
            STATES[bar.state],
            bar.number if bar.number > 1 else 0,
        )


def _cells(attempts: Attempts, clock: Clock, rows: Rows, cells: int) -> Iterator[Rect]:
    """For each row the cells of its attempts: busy ones as high as they were busy, and a strip at the bottom for each way to fail."""
    count = max(24, min(240, cells // max(1, rows.height)))
    length = clock.span / count
    busy = {row: Spread(count, length) for row in rows.slots}
    ends: dict[int, dict[int, list[int]]] = {row: {} for row in rows.slots}
    for bar in attempts.bars():
        row, end = rows.of[bar.lane], clock(bar.end)
        busy[row].add(clock(bar.begin), end)
        if bar.state in BAD:
            ends[row].setdefault(bar.state, [0] * count)[min(count - 1, int(end / length))] += 1
    for row, found in busy.items():
        levels = [min(_LEVELS, ceil(_LEVELS * mean / rows.slots[row] - 1e-6)) for mean in found.means()]
        for begin, end, level in _alike(levels):
            top = row + 0.92 - 0.84 * level / _LEVELS
            yield Rect(begin * length, end * length, top, row + 0.92, "ok")
        for place, (state, numbers) in enumerate(sorted(ends[row].items())):
            for begin, end, _ in _alike([1 if number else 0 for number in numbers]):
                low = row + 0.92 - 0.26 * place
                yield Rect(begin * length, end * length, low - 0.26, low, STATES[state])


def _alike(levels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(begin, end, level) of neighbours that are the same and not 0."""
    begin = 0
    for at in range(1, len(levels) + 1):
        if at == len(levels) or levels[at] != levels[begin]:
            if levels[begin]:
                yield begin, at, levels[begin]
            begin = at
