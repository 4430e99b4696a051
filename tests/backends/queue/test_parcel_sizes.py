"""How many attempts travel as one."""

from __future__ import annotations

from manyhands.backends.queue.parcel_sizes import ParcelSizes


def after(*walls: float) -> ParcelSizes:
    sizes = ParcelSizes()
    for one in walls:
        sizes.took(one)
    return sizes


def test_one_by_one_at_first() -> None:
    """Nobody knows yet how long they take."""
    assert after().together(1000, 1) == 1


def test_short_ones_travel_together() -> None:
    """A message costs more than they do."""
    assert after(*[1e-5] * 200).together(1000, 1) == 64


def test_long_ones_travel_alone() -> None:
    """A consumer would have to do one after the other, while others have nothing to do."""
    assert after(*[1e-5] * 200, *[0.1] * 20).together(1000, 1) == 1


def test_every_consumer_gets_some() -> None:
    """Whatever the number of consumers, there are two parcels for each, if there are so many attempts."""
    sizes = after(*[1e-5] * 200)
    assert [sizes.together(100, consumers) for consumers in (1, 5, 10, 100, 0)] == [50, 10, 5, 1, 50]
