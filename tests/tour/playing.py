"""Plays a scene for tests, and asks what it has told; a plugin of pytest."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from conftest import HERE
from manyhands.tour.contents import METHODS, SCENES
from manyhands.tour.handlers import usual
from manyhands.tour.showing import why_not
from warm import Warm

TRIES = 10
"""How often a scene is played that the machine is too busy for."""


class Events(list[dict[str, Any]]):
    """What was told, and the verdict."""

    def __init__(self, events: Iterable[dict[str, Any]], verdict: str) -> None:
        super().__init__(events)
        self.verdict = verdict


Play = Callable[..., Events]


@pytest.fixture
def play(environment: dict[str, str], warm: Warm) -> Play:
    """Plays a scene as a user would, checks that it says it was seen, and gives what it told."""

    def run(name: str, *options: str, scale: float = 0.2, status: int = 0) -> Events:
        scene = SCENES[name]
        given = dict(zip((one.removeprefix("--") for one in options), options[1:], strict=False))
        if why := why_not(scene, usual(scene) | given):
            pytest.skip(why)
        argv = [sys.executable, "-m", "manyhands", f"tour.{name}", "--json", "--scale", str(scale), *options]
        for _ in range(TRIES):
            done = warm.run(argv, cwd=HERE, env=environment, capture_output=True, text=True, check=False, timeout=200)
            *events, verdict = [json.loads(line) for line in done.stdout.splitlines()]
            if verdict["reason"] != "busy":
                break
        assert (done.returncode, done.stderr) == (status, ""), verdict["verdict"]
        assert (verdict["event"], verdict["status"]) == ("verdict", status)
        return Events(events, verdict["verdict"])

    return run


@pytest.fixture(params=METHODS)
def play_made(request: pytest.FixtureRequest, play: Play) -> Play:
    """The same under each start method."""

    def run(name: str, *options: str, **more: Any) -> Events:
        return play(name, "--start-method", request.param, *options, **more)

    return run


def told(events: Events, begins: str, field: str | None = None) -> list[Any]:
    """The events with this text, or one of their fields."""
    found = [one for one in events if one["event"] == "tell" and one["template"].startswith(begins)]
    return [one["data"][field] for one in found] if field else found


def spans(events: Events, begins: str) -> list[tuple[float, float, dict[str, Any]]]:
    """(begin, end, the beginning) of what took a while."""
    found = []
    for one in events:
        if one["event"] == "begin" and one["template"].startswith(begins):
            end = next(
                two
                for two in events
                if two["event"] == "end"
                and two["at"] >= one["at"]
                and [two[key] for key in ("pid", "thread", "task", "text")]
                == [one[key] for key in ("pid", "thread", "task", "text")]
            )
            found.append((one["at"], end["at"], one))
    return sorted(found, key=lambda span: span[0])


def at_once(found: list[tuple[float, float, dict[str, Any]]]) -> int:
    """How many of them overlapped, at most."""
    return max(sum(other[0] <= one[0] < other[1] for other in found) for one in found)
