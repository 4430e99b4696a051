"""How many attempts travel as one."""

from __future__ import annotations

import math

from manyhands.backends.queue.parcel_sizes import ParcelSizes


def after(*walls: float) -> ParcelSizes:
    sizes = ParcelSizes(64)
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


def test_no_more_together_than_were_measured() -> None:
    """A few short ones do not prove that the others are short."""
    assert [after(*[1e-5] * count).together(1000, 1) for count in (1, 3, 20)] == [1, 3, 20]
    assert after(1e-5, 10.0, *[1e-5] * 10).together(1000, 1) == 1


def test_many_may_be_noted_at_once() -> None:
    """With their average."""
    sizes = after(1.0)
    sizes.took(1e-5, 200)
    assert sizes.together(1000, 1) == 64


def test_some_are_sent_first() -> None:
    """The others wait until it is known how long those take, or until it is clear that they are not short,
    or that nobody begins."""
    sizes = after()
    assert (sizes.room(1000, 500, 0, 1, 5.0), sizes.held_until) == (64, 5.5)
    assert (sizes.room(1000, 500, 70, 1, 5.1), sizes.held_until) == (0, 5.5)
    sizes.began(5.2)
    assert (sizes.room(1000, 500, 60, 1, 5.2), sizes.held_until) == (4, 5.25)
    assert (sizes.room(1000, 500, 64, 1, 5.25), sizes.held_until) == (1000, math.inf)


def test_nothing_is_held_back_if_it_makes_no_difference() -> None:
    """If all wait that would be sent, if it is known what the attempts take, or they travel one by one whatever it is."""
    assert (after().room(1000, 64, 0, 1, 5.0), after().room(60, 500, 0, 1, 5.0)) == (1000, 60)
    assert (after(*[1e-5] * 63).room(1000, 500, 60, 1, 5.0), after(*[1e-5] * 64).room(1000, 500, 60, 1, 5.0)) == (4, 1000)
    assert after(0.01).room(1000, 500, 64, 1, 5.0) == 1000
    assert ParcelSizes(1).room(1000, 500, 64, 1, 5.0) == 1000
    assert after().room(1000, 1000, 0, 100, 5.0) == 800


def test_nothing_is_held_when_nothing_waits() -> None:
    """What waited may have been taken back: nobody looks again and again for it then."""
    sizes = after()
    assert (sizes.room(1000, 500, 0, 1, 5.0), sizes.held_until) == (64, 5.5)
    assert (sizes.room(1000, 0, 64, 1, 6.0), sizes.held_until) == (1000, math.inf)
    later = after()
    later.began(5.0)
    assert (later.room(1000, 0, 0, 1, 9.0), later.room(1000, 500, 64, 1, 9.0)) == (1000, 1000)
