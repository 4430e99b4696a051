"""Inputs that a program gave and that are many or large: written once, and all that a resume needs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import functions
from conftest import Cli, wait_for
from manyhands import Status, run_batch
from manyhands.posix.durable_files import Disk

HERE = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("nothing_left")


def recorded(folder: Path) -> list[bytes]:
    """What the journal has of the inputs."""
    with closing(sqlite3.connect(folder / "journal.db")) as db:
        return [row[0] for row in db.execute("SELECT input FROM began ORDER BY job, attempt")]


def program(folder: Path, environment: dict[str, str], inputs: str) -> subprocess.Popen[str]:
    """A program that runs ``inputs``, and is killed with -9 when 20 of its jobs have begun."""
    script = folder / "program.py"
    script.write_text(
        "import functions\nfrom manyhands import run_batch\n"
        f"if __name__ == '__main__':\n    for one in run_batch(functions.kept_and_slow, {inputs}, jobs=2, run_id='run'): pass\n"
    )
    (folder / "ledger").touch()
    found = {**environment, "PYTHONPATH": f"{HERE.parent / 'lib'}:{HERE}", "LEDGER": str(folder / "ledger")}
    process = subprocess.Popen([sys.executable, script], cwd=folder, env=found, text=True)
    wait_for(lambda: (folder / "ledger").read_text().count("\n") >= 20, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return process


@pytest.mark.parametrize(
    "inputs",
    ["[(n, 'x' * (n % 7 * 100)) for n in range(1500)]", "[(n, 'x' * 100_000) for n in range(60)]"],
    ids=["many", "large"],
)
def test_a_killed_program_is_not_needed_for_the_rest(
    inputs: str, cli: Cli, environment: dict[str, str], own_state: Path, tmp_path: Path
) -> None:
    """Its list is read from the run's folder; run.json stays small, and the journal refers to what is not small."""
    program(tmp_path, environment, inputs)
    items = eval(inputs)
    folder = own_state / "runs" / "run"
    assert (folder / "run.json").stat().st_size < 4096
    assert json.loads((folder / "run.json").read_text())["source"]["kind"] == "kept"
    assert max(map(len, recorded(folder))) < 256
    more = {"LEDGER": str(tmp_path / "ledger"), "PYTHONPATH": f"{HERE.parent / 'lib'}:{HERE}", "QUICK": "1"}
    done = cli("batch.resume", "run", env=environment | more)
    assert done.returncode == 0, done.stderr
    ran = Counter((tmp_path / "ledger").read_text().splitlines())
    assert set(ran) == {f"{number} {len(text)}" for number, text in items}
    assert sum(ran.values()) <= len(items) + 70  # those that were running, or on their way to the journal
    assert cli("batch.show", "run", "--json").stdout.count('"status": "ok"') == len(items)


def test_large_inputs_of_an_iterator_are_kept_for_the_jobs_that_are_left(
    cli: Cli, environment: dict[str, str], own_state: Path, tmp_path: Path
) -> None:
    """Only the program has the rest of them."""
    program(tmp_path, environment, "((n, 'x' * 100_000) for n in range(60))")
    assert max(map(len, recorded(own_state / "runs" / "run"))) < 256
    more = {"LEDGER": str(tmp_path / "ledger"), "PYTHONPATH": f"{HERE.parent / 'lib'}:{HERE}", "QUICK": "1"}
    done = cli("batch.resume", "run", env=environment | more)
    assert "only it can give the rest" in done.stderr
    ran = Counter((tmp_path / "ledger").read_text().splitlines())
    assert set(ran) == {f"{number} 100000" for number in range(len(set(ran)))}
    assert cli("batch.show", "run", "--json").stdout.count('"status": "ok"') == len(ran)


def test_a_run_is_continued_with_another_list(own_state: Path) -> None:
    """Which is kept beside the first one: the journal refers to both."""
    first = [bytes([number]) * 300 for number in range(200)] * 6
    second = [bytes([number]) * 301 for number in range(200)] * 6
    outcomes = list(run_batch(len, first, run_id="two", jobs=2))
    outcomes += list(run_batch(len, [*first, *second], run_id="two", jobs=2))
    assert Counter(one.value for one in outcomes) == {300: 1200, 301: 1200}
    assert [one.input for one in outcomes if one.number in (1, 1201)] == [first[0], second[0]]
    folder = own_state / "runs" / "two"
    assert {one.split()[0] for one in recorded(folder)} == {b"\0\0inputs.1", b"\0\0inputs.2"}
    assert [one.input for one in run_batch(len, first, run_id="two", retry_failed=True)] == []


def test_inputs_that_were_lost_are_said_to_be(
    cli: Cli, own_state: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """After a loss of power, or when the file was changed: nothing runs on something else, and what was recorded can be read."""
    items: list[Any] = [(number, "x" * 2000) for number in range(60)]
    outcomes = list(run_batch(functions.fails_late, items, run_id="lost", jobs=2))
    assert Counter(one.status for one in outcomes) == {Status.OK: 59, Status.FAILED: 1}
    path = own_state / "runs" / "lost" / "inputs.1"
    os.truncate(path, path.stat().st_size // 2)
    done = cli("batch.retry", "lost", env={**environment, "PYTHONPATH": f"{HERE.parent / 'lib'}:{HERE}"})
    assert done.returncode == 74
    assert done.stderr.count("\n") == 1
    assert "inputs.1 is damaged: it was not stored when power was lost" in done.stderr
    shown = [json.loads(line) for line in cli("batch.show", "lost", "--json").stdout.splitlines()]
    assert Counter(one["status"] for one in shown) == {"ok": 59, "failed": 1}
    assert "is damaged" in json.dumps(shown[-1])


def test_a_large_input_is_not_changed_for_others() -> None:
    """Workers read it from a file that all of them see."""
    items = [bytearray(200_000) for _ in range(6)]
    assert [one.value for one in run_batch(functions.fills, items, jobs=2, ordered=True, chunk=3)] == [200_000] * 6


def test_much_is_synchronised_and_closed_each_time(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a new run, and in one that is continued."""
    synchronised: list[str] = []
    usual = Disk.sync

    def sync(disk: Disk, file: int) -> None:
        synchronised.append(os.readlink(f"/proc/self/fd/{file}"))
        usual(disk, file)

    monkeypatch.setattr("manyhands.inputs.value_file._AT_ONCE", 100)
    monkeypatch.setattr(Disk, "sync", sync)
    for count in (3, 4):
        for _ in run_batch("true {}", ["x" * 70_000] * count, run_id="run", jobs=1):
            pass
    files = [str(own_state / "runs" / "run" / name) for name in ("inputs.1", "inputs.2")]
    wait_for(lambda: set(files) <= set(synchronised))
    wait_for(lambda: not set(files) & {os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")})
