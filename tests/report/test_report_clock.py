"""The time axis: exact where something ran, short where nothing did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.report.clock import Clock, Pause, unit_of

_MOMENTS = st.floats(0, 1e6, allow_nan=False)


def test_a_long_pause_is_left_out() -> None:
    """Two executions of a minute, a day apart, are two minutes and a bit on the axis; the pause is told."""
    clock = Clock([(0, 60), (86_400, 86_460)])
    assert clock.span == pytest.approx(121.2)
    assert clock.pauses == [Pause(60.6, 86_340)]
    assert clock(30) == 30
    assert clock(86_400) == pytest.approx(61.2)


def test_a_short_pause_stays() -> None:
    """A retry that waits is part of the run."""
    clock = Clock([(0, 1), (9, 10)])
    assert (clock.span, clock.pauses, clock(9)) == (10, [], 9)


@given(st.lists(st.tuples(_MOMENTS, st.floats(0, 1e4, allow_nan=False)), min_size=1))
def test_order_and_lengths_are_kept(made: list[tuple[float, float]]) -> None:
    """Every attempt is within the axis and as long as it was; none comes before one that it followed."""
    first = min(begin for begin, _ in made)
    intervals = [(begin - first, begin - first + wall) for begin, wall in made]
    clock = Clock(intervals)
    for begin, end in intervals:
        assert -1e-6 <= clock(begin) <= clock(end) <= clock.span * (1 + 1e-9) + 1e-6
        assert abs(clock(end) - clock(begin) - (end - begin)) < 1e-6
    places = [clock(begin) for begin, _ in sorted(intervals)]
    assert places == sorted(places)


def test_nothing_ran() -> None:
    """The axis has a length all the same."""
    assert Clock([]).span > 0
    assert Clock([(0, 0)]).span > 0


def test_units() -> None:
    """A number that can be read."""
    assert [unit_of(span).name for span in (0.2, 5, 119, 600, 86_400)] == [
        "milliseconds",
        "seconds",
        "seconds",
        "minutes",
        "hours",
    ]
