"""Looking again and again: at even times, one after another where there is no terminal, in place where there is one."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator

import pytest

from manyhands.render import refresh as module
from manyhands.render.refresh import repeat


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that goes on only when it is slept; the naps that were taken."""
    now, taken = [100.0], []

    def sleep(seconds: float) -> None:
        taken.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]
    monkeypatch.setattr(module.time, "sleep", sleep)  # type: ignore[attr-defined]
    yield taken
    assert time is module.time  # type: ignore[attr-defined]


def test_one_after_another(naps: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """An empty line between two looks; none, when they are records."""
    numbers = itertools.count(1)
    repeat(lambda: [f"look {next(numbers)}"], every=3, times=3)
    assert capsys.readouterr().out == "look 1\n\nlook 2\n\nlook 3\n"
    assert naps == [3, 3]
    repeat(lambda: ["{}"], every=3, times=2, in_place=False)
    assert capsys.readouterr().out == "{}\n{}\n"


def test_looks_are_paced_from_start_to_start(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes too long does not make the next ones hurry."""
    durations = iter([1.0, 5.0, 0.5, 0.0])

    def look() -> list[str]:
        module.time.sleep(next(durations))  # type: ignore[attr-defined]
        return []

    repeat(look, every=2, times=4)
    assert naps == [1.0, 1.0, 5.0, 0.0, 0.5, 1.5, 0.0]
    assert sys.stdout is not None


def test_an_interrupt_passes_through(naps: list[float]) -> None:
    """Whoever called decides what to make of it."""

    def look() -> list[str]:
        if naps:
            raise KeyboardInterrupt
        return ["once"]

    with pytest.raises(KeyboardInterrupt):
        repeat(look, every=1)
