"""Bins: what is put in is what comes out, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_histories import attempts_of, clock_of
from manyhands.core.job import Status
from manyhands.report.bins import Spread, distribution, histogram, over_time, quantile

_WALLS = st.floats(0, 1e5, allow_nan=False)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10))), st.integers(1, 40))
def test_a_spread_keeps_the_whole_amount(pairs: list[tuple[float, float]], count: int) -> None:
    """The sum over the bins is the sum of all lengths."""
    spread = Spread(count, 10 / count)
    for pair in pairs:
        spread.add(min(pair), max(pair))
    whole = sum(spread.means()) * 10 / count
    assert whole == pytest.approx(sum(max(pair) - min(pair) for pair in pairs), abs=1e-6)


def test_width_throughput_and_cores() -> None:
    """Two at once for two seconds, then one; each used half a core."""
    attempts = attempts_of((0, 2, Status.OK), (0, 4, Status.FAILED), slots=2, user=0.5, system=0.5)
    found = over_time(attempts, clock_of(attempts), 4)
    assert found.running == {1: [2, 2, 1, 1]}
    assert found.cores == [0.75, 0.75, 0.25, 0.25]
    assert (found.well, found.bad) == ([0, 0, 1, 0], [0, 0, 0, 1])


@given(st.lists(_WALLS, max_size=50), st.integers(1, 30))
def test_a_histogram_counts_everything_once(walls: list[float], count: int) -> None:
    """Whatever the values; edges do not fall."""
    found = histogram(walls, [value > 1 for value in walls], count)
    assert sum(one.well + one.bad for one in found.bins) == len(walls)
    assert sum(one.bad for one in found.bins) == sum(value > 1 for value in walls)
    assert all(one.begin <= one.end for one in found.bins)


def test_a_wide_range_has_bins_of_equal_ratio() -> None:
    """A millisecond is told from ten, although another job took a minute."""
    assert histogram([0.001, 0.01, 60.0], [False] * 3, 10).log
    assert not histogram([1.0, 2.0], [False] * 2, 10).log


@given(st.lists(_WALLS, min_size=1, max_size=500))
def test_the_distribution_ends_at_all(walls: list[float]) -> None:
    """It rises to 100 %, at the longest, in a bounded number of points."""
    points = distribution(walls, most=50)
    assert points == sorted(points)
    assert points[-1] == (max(walls), 1.0)
    assert len(points) <= 51


def test_quantiles() -> None:
    """As they are defined: the least value below which this share lies."""
    assert [quantile([1, 2, 3, 4], share) for share in (0.5, 0.95, 1.0)] == [2, 4, 4]
    assert quantile([], 0.5) == 0.0
