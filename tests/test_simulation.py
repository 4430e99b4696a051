"""The simulator: many runs in its world keep every promise, the same seed is the same run, and it finds what it is there to find."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from manyhands import takeover
from manyhands.errors import JournalError
from manyhands.journal import Journal
from manyhands.spool import InputFile
from simulation import execution, files
from simulation.simulate import simulate
from simulation.world import Broken

SEEDS = int(os.environ.get("SIMULATED_SEEDS", "1000"))
PARTS = 8


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_promise_is_kept(part: int) -> None:
    """Nothing lost, nothing recorded wrongly, nothing done twice, never two at once, counts that add up, and always an end."""
    for seed in range(part, SEEDS, PARTS):
        try:
            simulate(seed)
        except Exception as error:
            pytest.fail(f"python -m simulation --first {seed} --seeds 1: {type(error).__name__}: {error}")


def test_a_seed_repeats_exactly() -> None:
    """The same jobs at the same moments with the same ends, also across crashes."""
    for seed in range(12):
        first, second = simulate(seed), simulate(seed)
        assert first.world.steps == second.world.steps
        assert [(c.key, c.began, c.end) for c in first.world.copies.values()] == [
            (c.key, c.began, c.end) for c in second.world.copies.values()
        ]


def first_failure(seeds: range) -> Exception | None:
    for seed in seeds:
        try:
            simulate(seed)
        except Exception as error:
            return error
    return None


def recorded_ends_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery takes for open whatever is left to do, so that an end that is recorded is recorded again."""
    monkeypatch.setattr(Journal, "open_attempts", lambda self: list(self.left()))


def inputs_are_not_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs are shown before they are synchronised, and not compared with what the journal knows."""

    def sync(self: InputFile) -> None:
        self.kept = self._size, self._crc

    monkeypatch.setattr(InputFile, "sync", sync)
    monkeypatch.setattr(Journal, "kept_inputs", lambda self: (0, 0))


def a_commit_is_not_synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told is not durable."""
    execute = files.SimulatedDatabase.execute

    def loose(self: Any, sql: str, values: Any = (), /) -> Any:
        return execute(self, sql.replace("synchronous = FULL", "synchronous = OFF"), values)

    monkeypatch.setattr(files.SimulatedDatabase, "execute", loose)


def strays_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier execution left running is not ended before its job begins again."""
    take_over = takeover.take_over
    monkeypatch.setattr(execution, "take_over", lambda run, plan, journal, _: take_over(run, plan, journal, lambda _: 0))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "fault",
    [
        recorded_ends_are_open, inputs_are_not_durable, a_commit_is_not_synchronised, strays_live_on,
    ],
    ids=lambda fault: fault.__name__,
)  # fmt: skip
def test_a_fault_is_found(fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is taken out of the recovery, the journal or the inputs, a few hundred seeds show it."""
    fault(monkeypatch)
    found = first_failure(range(400))
    assert isinstance(found, Broken | JournalError | sqlite3.Error), found
