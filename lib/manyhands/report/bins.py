"""A run over time in a fixed number of equal bins, and its run times as a histogram and a distribution.

An attempt costs the same however many bins it covers: what lies between its first and its last bin is added as a difference.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from manyhands.core.lean import NamedTuple
from manyhands.report.attempts import BAD, RUNNING, Attempts
from manyhands.report.clock import Clock

_WIDE: Final = 50.0
"""From this ratio of the longest run time to the shortest, a histogram has bins of equal ratio."""


class Spread:
    """An amount for each bin of ``length`` seconds."""

    def __init__(self, count: int, length: float) -> None:
        self._length = length
        self._part = array("d", bytes(8 * (count + 1)))
        self._steps = array("d", bytes(8 * (count + 1)))
        self._last = count - 1

    def add(self, begin: float, end: float, rate: float = 1.0) -> None:
        """Add ``rate`` for each second from ``begin`` to ``end``."""
        first, last = (max(0, min(self._last, int(at / self._length))) for at in (begin, end))
        if first == last:
            self._part[first] += rate * (end - begin)
            return
        self._part[first] += rate * ((first + 1) * self._length - begin)
        self._part[last] += rate * (end - last * self._length)
        self._steps[first + 1] += rate
        self._steps[last] -= rate

    def means(self) -> list[float]:
        """The mean of each bin: how many ran at once, or how many cores worked."""
        whole = accumulate(self._steps)
        means = (max(0.0, part / self._length + inner) for part, inner in zip(self._part, whole, strict=True))
        return list(means)[: self._last + 1]


class OverTime(NamedTuple):
    """A run in bins of ``length`` seconds."""

    length: float
    running: dict[int, list[float]]
    """For each stage, how many attempts ran at once."""
    cores: list[float]
    """CPUs in use, as if each attempt had used its CPU time evenly."""
    well: list[float]
    """Attempts that ended and were ok, a second."""
    bad: list[float]
    """Attempts that ended otherwise, a second."""


def over_time(attempts: Attempts, clock: Clock, count: int) -> OverTime:
    """Look at all attempts once."""
    length = clock.span / count
    lanes = attempts.lanes
    running = {stage: Spread(count, length) for stage in sorted({lane.stage for lane in lanes})}
    cores = Spread(count, length)
    well, bad = [0.0] * count, [0.0] * count
    for bar, cpu in zip(attempts.bars(), attempts.cpu, strict=True):
        begin, end = clock(bar.begin), clock(bar.end)
        running[lanes[bar.lane].stage].add(begin, end)
        if cpu and end > begin:
            cores.add(begin, end, cpu / (end - begin))
        if bar.state != RUNNING:
            place = min(count - 1, int(end / length))
            (bad if bar.state in BAD else well)[place] += 1 / length
    return OverTime(length, {stage: one.means() for stage, one in running.items()}, cores.means(), well, bad)


class Bin(NamedTuple):
    """``well`` and ``bad`` attempts that took from ``begin`` to ``end``."""

    begin: float
    end: float
    well: int
    bad: int


class Histogram(NamedTuple):
    """``log``: the bins have equal ratios."""

    bins: list[Bin]
    log: bool


def histogram(values: Sequence[float], bad: Sequence[bool], count: int) -> Histogram:
    """Of values, those that are ``bad`` told from the others; zeros are in the first bin."""
    positive = [value for value in values if value > 0]
    least, most = (min(positive), max(positive)) if positive else (0.001, 0.001)
    log = most / least > _WIDE
    if most <= least * 1.0001:
        least, most = 0.0, most * 2
    scale = (math.log(least), math.log(most)) if log else (0.0, most) if least < most / 3 else (least, most)
    step = (scale[1] - scale[0]) / count or 1e-9
    well_in, bad_in = [0] * count, [0] * count
    for value, is_bad in zip(values, bad, strict=True):
        at = math.log(max(value, least)) if log else value
        (bad_in if is_bad else well_in)[max(0, min(count - 1, int((at - scale[0]) / step)))] += 1
    edges = [scale[0] + step * number for number in range(count + 1)]
    edges = list(map(math.exp, edges)) if log else edges
    return Histogram([Bin(edges[n], edges[n + 1], well_in[n], bad_in[n]) for n in range(count)], log)


def distribution(values: Sequence[float], most: int = 200) -> list[tuple[float, float]]:
    """The empirical distribution: (value, share of values that are not larger) in at most some ``most`` points, both ends included."""
    ordered = sorted(values)
    count = len(ordered)
    places = range(count) if count <= most else {round(n * (count - 1) / (most - 1)) for n in range(most)}
    return [(ordered[place], (place + 1) / count) for place in sorted(places)]


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of sorted values lies."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0
