"""Workers have a second chunk while they do the first, if jobs are short: none of it is lost, done twice, or begun after a stop."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import functions
from conftest import wait_for
from manyhands import Outcome, Status, run_batch
from manyhands.backends.processes import Processes
from manyhands.backends.workers.handle import Handle

pytestmark = pytest.mark.usefixtures("nothing_left")
COUNT = 4000


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many jobs each second chunk had. Jobs are taken for short, however busy the machine is."""
    sizes: list[int] = []
    give: Callable[[Processes, Handle, int], None] = Processes._give

    def noted(backend: Processes, one: Handle, size: int) -> None:
        give(backend, one, size)
        if one.queued:
            sizes.append(len(one.queued))

    monkeypatch.setattr(Processes, "_give", noted)
    monkeypatch.setattr(Processes, "_fitting", lambda _: 64)
    return sizes


def lines(ledger: Path) -> Counter[int]:
    """How often each job was done."""
    return Counter(map(int, ledger.read_text().split()))


def test_all_are_done_once(given: list[int], tmp_path: Path) -> None:
    """And some of them were in second chunks."""
    outcomes = list(run_batch(functions.noted, [(n, str(tmp_path / "ledger")) for n in range(COUNT)], jobs=2))
    assert Counter(one.status for one in outcomes) == {Status.OK: COUNT}
    assert lines(tmp_path / "ledger") == Counter(range(COUNT))
    assert given


@pytest.mark.parametrize("options", [{"chunk": 100}, {"max_jobs_per_worker": 1000}, {"halt": "soon,fail=1"}])
def test_not_where_it_would_be_wrong(given: list[int], options: dict[str, Any]) -> None:
    """Where the size of a chunk is given, a worker has so many jobs only, or nothing may begin after a failure."""
    assert len(list(run_batch(functions.double, range(COUNT), jobs=2, **options))) == COUNT
    assert given == []


@pytest.mark.parametrize("who", [1000, COUNT - 1])
def test_a_death_costs_one_job(given: list[int], who: int, tmp_path: Path) -> None:
    """What was in the second chunk of the dead is done by others."""
    ledger = tmp_path / "ledger"
    inputs = [(n, who, "kill", str(ledger)) for n in range(COUNT)]
    outcomes: list[Outcome] = list(run_batch(functions.notes_and_dies, inputs, jobs=2))
    assert [one.number - 1 for one in outcomes if not one.ok] == [who]
    assert lines(ledger) == Counter(range(COUNT))
    assert given


@pytest.mark.parametrize("after", [500, 1500, 2500])
def test_a_stop_returns_both_chunks(given: list[int], after: int, tmp_path: Path) -> None:
    """Jobs that had begun are reported. The others do not begin, and a resume does exactly these."""
    ledger = tmp_path / "ledger"
    inputs = [(n, str(ledger)) for n in range(COUNT)]
    run = run_batch(functions.noted, inputs, jobs=2, run_id="r", state_dir=tmp_path)
    outcomes = []
    for one in run:
        outcomes.append(one)
        if len(outcomes) == after:
            run.stop()
    done = lines(ledger)
    ok = {one.number - 1 for one in outcomes if one.ok}
    assert ok <= done.keys()
    assert set(done.values()) == {1}
    assert len(done) < COUNT
    assert len(done) - len(ok) <= 2  # a job that was ended in its last moment
    assert given
    rest = list(run_batch(functions.noted, inputs, jobs=2, run_id="r", state_dir=tmp_path))
    assert {one.number - 1 for one in rest if one.ok} | ok == set(range(COUNT))
    assert not {one.number - 1 for one in rest} & ok


def test_a_long_job_after_short_ones(given: list[int], tmp_path: Path) -> None:
    """A second chunk may lie behind it: whoever waits for that is not forgotten when it ends."""
    gate = tmp_path / "gate"
    run = run_batch(waits_once, [(n, str(gate)) for n in range(COUNT)], jobs=2)
    done: list[Outcome] = []
    for one in run:
        done.append(one)
        if one.number == COUNT // 2 + 1 + 1 or len(done) == COUNT // 4:
            gate.touch()
    assert len(done) == COUNT
    wait_for(gate.exists)
    assert given


def waits_once(x: int, gate: str) -> int:
    """Job 2,000 waits for the gate."""
    while x == COUNT // 2 and not os.path.exists(gate):
        pass
    return x
