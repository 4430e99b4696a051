"""The scenes with a server between the programs, by what they tell."""

from __future__ import annotations

import pytest

from tour.playing import Play, spans, told


@pytest.mark.parametrize("first", ["dryer", "washer"])
def test_redis_dishes(play_made: Play, first: str) -> None:
    """Two programs, every dish in its order, whoever comes first."""
    events = play_made("redis-dishes", "--first", first)
    for what in ("washes", "dries"):
        assert [one["data"]["dish"] for _, _, one in spans(events, what)] == ["salad", "bread", "entree", "dessert"]
    waits = told(events, "waits for dishes")[0]["at"]
    assert (waits < spans(events, "washes")[0][0]) == (first == "dryer")
    assert told(events, "both have ended")[0]["data"] == {"codes": [0, 0], "left": []}


def test_redis_idle(play_made: Play) -> None:
    """One quit for three: the others leave later, each after its time."""
    events = play_made("redis-idle", "--idle", "10")
    (quit_,), tired = told(events, "reads quit"), told(events, "has had nothing")
    assert len(tired) == 2
    assert all(one["at"] > quit_["at"] and one["data"]["waited"] >= 0.9 * 10 * 0.2 for one in tired)
    assert len({one["pid"] for one in [quit_, *tired]}) == 3


def test_redis_ack(play_made: Play) -> None:
    """Four deaths, one at each step, and twelve dishes, each done once and never out of sight."""
    events = play_made("redis-ack")
    steps = ["it waits", "it has taken a dish", "it dries the dish", "the dish is dry"]
    assert told(events, "{dryer} is killed", "step") == steps
    assert sorted(map(int, told(events, "done are", "done")[0])) == list(range(1, 13))
    assert told(events, "looked", "wrong") == [0]
    assert told(events, "looked", "looks")[0] > 10


def test_redis_pressure(play_made: Play) -> None:
    """Never more dishes than places."""
    events = play_made("redis-pressure")
    assert max(told(events, "dish {dish} is on", "depth")) <= 3
    assert [int(one["data"]["dish"]) for _, _, one in spans(events, "dries")] == list(range(1, 21))


@pytest.mark.parametrize("name", ["redis-dishes", "redis-idle", "redis-ack", "redis-pressure"])
def test_without_a_server(play: Play, name: str) -> None:
    """fakeredis answers in the same words."""
    assert play(name, "--server", "fake", *["--idle", "5"][: 2 * (name == "redis-idle")])
