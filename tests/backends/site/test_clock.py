"""Clocks of two machines: a moment there becomes the same moment here, however far they are apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from manyhands.backends.site.clock import FarClock

SECONDS = st.floats(0, 10, allow_nan=False)


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=5))
def test_it_is_never_too_early_and_late_by_the_shortest_way_at_most(
    ahead: float, ways: list[tuple[float, float]]
) -> None:
    """A day off, or started a minute ago: only how long the answers took counts."""
    clock, now = FarClock(), 1000.0
    clock.greeted(now + ways[0][1], now + ahead)
    for out, back in ways:
        clock.answered(now, now + out + back, now + out + ahead)
        now += out + back
    shortest = min(out + back for out, back in ways)
    assert -1e-3 <= clock.here(now + ahead) - now <= shortest + 1e-3


def test_the_first_word_is_a_guess() -> None:
    """Until an answer has come, what is told now happened now."""
    clock = FarClock()
    clock.greeted(50.0, 86_450.0)
    assert clock.here(86_451.0) == 51.0
