"""Jobs begin in the order that was asked for, and results come in the order of the inputs all the same."""

from __future__ import annotations

from pathlib import Path

import functions
from manyhands import Status, run_batch
from manyhands.core.job import Job
from manyhands.core.limits import Limits
from manyhands.execution.start_order import arrange, walls_of
from manyhands.storage.runs import Store
from manyhands.work.function import Call
from manyhands.work.plan import Plan

JOBS = [Job(n, b"%d" % n, (b"%d" % n,)) for n in range(1, 7)]


def numbers(order: str, walls: dict[bytes, float]) -> list[int]:
    return [job.number for job in arrange(JOBS, order, walls)]  # type: ignore[arg-type]


def test_the_longest_are_first() -> None:
    """Those that are not known are taken for average; equal ones keep their order."""
    assert numbers("longest", {b"1": 1.0, b"2": 9.0, b"4": 5.0}) == [2, 3, 4, 5, 6, 1]
    assert numbers("longest", {}) == [1, 2, 3, 4, 5, 6]
    assert numbers("input", {b"6": 9.0}) == [1, 2, 3, 4, 5, 6]


def test_random_is_a_permutation() -> None:
    """Each once; and not always the same."""
    assert sorted(numbers("random", {})) == [1, 2, 3, 4, 5, 6]
    assert len({tuple(numbers("random", {})) for _ in range(50)}) > 1


def began(ledger: Path) -> list[str]:
    return [line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("begin")]


def test_an_earlier_run_knows_how_long_jobs_take(tmp_path: Path, own_state: Path) -> None:
    """The second run begins with the longest of the first, also for inputs that are new."""
    ledger = tmp_path / "ledger"

    def go(numbers: list[int]) -> list[int]:
        inputs = [(n, str(ledger), n / 20) for n in numbers]
        outcomes = run_batch(functions.slow_and_noted, inputs, jobs=1, backend="threads", order="longest", ordered=True)
        return [outcome.value for outcome in outcomes]

    assert go([1, 3, 2]) == [1, 3, 2]
    assert began(ledger) == ["1", "3", "2"]
    ledger.unlink()
    assert go([1, 2, 3]) == [1, 2, 3]
    assert began(ledger) == ["3", "2", "1"]
    plan = Plan(
        work=Call.of(functions.slow_and_noted, type="object"),
        source={},
        limits=Limits(jobs=1),
        workdir=str(Path.cwd()),
    )
    walls = walls_of(plan, Store(own_state).all())
    assert [wall >= n / 20 for n, wall in enumerate(sorted(walls.values()), 1)] == [True] * 3
    other = Plan(work=Call.of(functions.double, type="object"), source={}, limits=Limits(jobs=1), workdir=str(Path.cwd()))
    assert walls_of(other, Store(own_state).all()) == {}


def test_commands_have_it_too(tmp_path: Path) -> None:
    """And a damaged run is only one source of advice less."""
    ledger = tmp_path / "ledger"
    line = f"sleep {{}}; echo {{}} >> {ledger}"
    first = run_batch(line, ["0", "0.4", "0.2"], jobs=1, shell=True)
    assert [one.status for one in first] == [Status.OK] * 3
    ledger.unlink()
    outcomes = run_batch(line, ["0", "0.2", "0.4"], jobs=1, shell=True, order="longest", ordered=True)
    assert [one.attempt.job.number for one in outcomes] == [1, 2, 3]
    assert ledger.read_text().split() == ["0.4", "0.2", "0"]
