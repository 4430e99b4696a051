"""How many attempts are sent to a cluster, and how many as one task."""

from __future__ import annotations

import pytest

from manyhands.backends.cluster import sizes
from manyhands.backends.cluster.sizes import Sizes


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that stands still."""
    clock = Clock()
    monkeypatch.setattr(sizes, "time", clock)
    return clock


def test_few_are_sent_until_it_is_known_how_long_they_take(clock: Clock) -> None:
    """However long the workers need until they begin: short ones that were sent one by one would take longer than that."""
    found = Sizes()
    assert found.room(1000, 4, 0, 1000) == (8, 1)
    clock.now += 10.0
    assert found.room(1000, 4, 8, 992) == (0, 1)
    assert found.patience() == 10.0


def test_if_one_runs_more_are_sent(clock: Clock) -> None:
    """So that a cluster sees that it should grow; but not all of them, because the others may be short."""
    found = Sizes()
    assert found.room(1000, 4, 0, 1000) == (8, 1)
    found.runs()
    assert found.room(1000, 4, 8, 992) == (24, 1)
    assert found.room(1000, 32, 32, 968) == (224, 1)


def test_all_are_sent_if_nothing_ends(clock: Clock) -> None:
    """After some time."""
    found = Sizes()
    found.room(1000, 4, 0, 1000)
    clock.now += 20.0
    assert found.room(1000, 4, 8, 992) == (992, 1)
    assert found.patience() is None


@pytest.mark.parametrize("wall, together", [(1e-7, 256), (0.0005, 100), (0.005, 10), (0.5, 1)])
def test_short_ones_are_sent_together(wall: float, together: int) -> None:
    """Some fifty milliseconds of work; both slots and what is wanted beyond them."""
    found = Sizes()
    found.note(wall)
    room, size = found.room(1000, 2, 0, 10_000)
    assert (size, found.patience()) == (together, None)
    assert room == (1000 if together == 1 else 1000 + found.ahead(2))


def test_what_was_requested_is_sent_at_once() -> None:
    """A chunk of so many."""
    assert Sizes(chunk=5).room(1000, 2, 0, 100)[1] == 5
    assert Sizes(chunk=5).patience() is None
