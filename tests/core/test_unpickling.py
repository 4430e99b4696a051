"""Runs that were begun when all modules lay in one folder are read and continued, although their pickles name modules that have moved.

See `old_records` for what these runs are.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import manyhands
import old_records
from conftest import HERE, Cli
from manyhands.core.serialization import from_bytes
from manyhands.core.unpickling import _NOW
from manyhands.storage.runs import Store

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def old_runs(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Path:
    """The state folder with the old runs; what waited or failed in them will go well."""
    own_state.mkdir(parents=True, mode=0o700)
    subprocess.run(["tar", "-xzf", DATA / "runs-old-modules.tar.gz", "-C", own_state.parent], check=True)
    (own_state.parent / "state" / "runs").rename(own_state / "runs")
    (tmp_path / "go").touch()
    environment |= {"LEDGER": str(tmp_path / "ledger"), "GO": str(tmp_path / "go")}
    environment["PYTHONPATH"] += f":{HERE / 'tests'}"
    return own_state


def ran(tmp_path: Path) -> Counter[str]:
    return Counter((tmp_path / "ledger").read_text().split())


def test_every_old_module_has_moved_to_one_that_is_there() -> None:
    """No entry of the table leads nowhere."""
    for now in _NOW.values():
        __import__(now)


def test_old_runs_are_listed_shown_and_exported(old_runs: Path, cli: Cli) -> None:
    """Reading unpickles nothing and finds what was there."""
    listed = [json.loads(line) for line in cli("batch.list", "--json").stdout.splitlines()]
    assert {one["id"]: (one["ok"], one["failed"], one["left"], one["state"]) for one in listed} == {
        "chain": (1, 0, 3, "left"),
        "commands": (2, 1, 2, "left"),
        "ended": (11, 1, 0, "complete"),
        "records": (11, 1, 3, "left"),
        "stages": (3, 1, 2, "left"),
    }
    for name in ("chain", "commands", "ended", "records", "stages"):
        for command in (["batch.show", name], ["batch.export", name], ["batch.export", name, "--format", "csv"]):
            done = cli(*command)
            assert (done.returncode, done.stderr) == (0, ""), command
    exported = [json.loads(line) for line in cli("batch.export", "ended").stdout.splitlines()]
    assert "PipelineResult(stages=(Completed(" in json.dumps(exported[3])


def test_what_functions_returned_then_is_read_now(old_runs: Path) -> None:
    """Every record that was public comes back as the class of today; so does what a function raised."""
    with closing(Store(old_runs).find("ended").journal(check=True)) as journal:
        found = {one.job.number: one.outcome.result for one in journal.records() if one.outcome}
    outcomes = {number: from_bytes(result) for number, result in found.items() if result}
    kinds = [type(outcomes[number]).__name__ for number in range(1, 13)]
    assert kinds == [
        "LiveOutcome",
        "Outcome",
        "Output",
        "PipelineResult",
        "Completed",
        "UsageError",
        "ProcessInfo",
        "Stopped",
        "Halt",
        "Status",
        "Pipeline",
        "UsageError",
    ]
    live, plain, printed, chain, command, _, process, stopped, halt, status, pattern, raised = outcomes.values()
    assert isinstance(live, manyhands.Outcome)
    assert (live.ok, live.input, live.stdout.data, live.exit, live.final) == (True, "one", b"one\n", 0, True)
    assert tuple(plain) == tuple(live)
    assert int(live.started or 0) == 1795662702
    assert (live.result, live.traceback, live.still_running, live.slot) == (None, None, False, 1)
    assert isinstance(printed, manyhands.Output)
    assert isinstance(chain, manyhands.PipelineResult)
    assert chain.ok
    assert chain.stages[0] == command
    assert isinstance(process, manyhands.ProcessInfo)
    assert process.argv == ("init", "-s")
    assert stopped.gone
    assert str(halt) == "now,fail=1"
    assert status is manyhands.Status.LOST
    assert pattern == manyhands.Pipeline.parse("ls *.py | wc > n")
    assert isinstance(raised, manyhands.UsageError)


@pytest.mark.parametrize(
    ("command", "name", "status", "expected"),
    [
        ("resume", "records", 1, ["slow-outcome", "slow-chain", "slow-process"]),
        ("retry", "records", 1, ["bad-record"]),
        ("retry", "ended", 0, ["bad-record"]),
        ("resume", "chain", 0, ["slow-d", "two-slow-d", "slow-two-late-b", "two-c"]),
        ("resume", "commands", 1, ["slow", "c"]),
        ("resume", "stages", 1, ["slow", "d", "two-slow", "two-d"]),
    ],
)
def test_old_runs_are_continued(
    command: str, name: str, status: int, expected: list[str], old_runs: Path, cli: Cli, tmp_path: Path
) -> None:
    """What was left or failed runs, once, with the inputs that were kept then, and nothing else; then all is done."""
    done = cli(f"batch.{command}", name)
    assert done.returncode == status, done.stderr
    assert ran(tmp_path) == Counter(expected)
    assert cli(f"batch.{command}", name).returncode == status
    assert ran(tmp_path) == Counter(expected)


def test_an_old_run_is_continued_by_a_program(old_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is done first; results of today and of then are of the same classes."""
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    monkeypatch.chdir("/")
    run = manyhands.run_batch(old_records.back, [], run_id="records", backend="threads", ordered=True)
    found = {one.number: one.value for one in run}
    assert list(found) == [13, 14, 15]
    assert isinstance(found[14], manyhands.PipelineResult)
    assert ran(tmp_path) == Counter(old_records.RECORDS[-3:])
