"""Runs that an earlier version has left: read as they are, brought to the present schema when they are continued."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from conftest import Cli
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Store
from manyhands.storage.schema import SCHEMA_VERSION

# Made by the last version with schema 2, and with schema 3. Each job writes its name to $LEDGER; `bad*` fails and `slow*` waits until there is $GO.
# `plain` ended, the others were killed with -9: while jobs ran (`cut`, and `stages` of two), while a retry waited (`waits`),
# while inputs still came from a pipe (`piped`).
DATA = Path(__file__).parents[1] / "data"
OLD = [2, 3]
NAMES = ["cut", "piped", "plain", "stages", "waits"]


@pytest.fixture(params=OLD)
def schema(request: pytest.FixtureRequest) -> int:
    """The schema of the old runs."""
    return int(request.param)


@pytest.fixture
def old_runs(schema: int, own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder with the old runs; their jobs will all go well."""
    own_state.mkdir(parents=True, mode=0o700)
    subprocess.run(["tar", "-xzf", DATA / f"runs-schema-{schema}.tar.gz", "-C", own_state.parent], check=True)
    (own_state.parent / "state" / "runs").rename(own_state / "runs")
    (tmp_path / "go").touch()
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    return own_state


def environ(tmp_path: Path) -> dict[str, str]:
    return {"LEDGER": str(tmp_path / "ledger"), "GO": str(tmp_path / "go")}


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_old_runs_are_listed_and_shown(
    schema: int, old_runs: Path, cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    """Reading changes nothing, and finds what was there."""
    listed = [json.loads(line) for line in cli("batch.list", "--json").stdout.splitlines()]
    counts = {one["id"]: (one["ok"], one["failed"], one["left"], one["state"]) for one in listed}
    assert counts == {
        "cut": (3, 1, 4, "left"),
        "piped": (2, 0, 2, "left"),
        "plain": (3, 2, 0, "complete"),
        "stages": (3, 1, 2, "left"),
        "waits": (2, 0, 1, "left"),
    }
    shown = [json.loads(line) for line in cli("batch.show", "plain", "--json").stdout.splitlines()]
    assert [(one["status"], one["attempts"]) for one in shown] == [
        ("ok", 1),
        ("failed", 2),
        ("ok", 1),
        ("failed", 2),
        ("ok", 1),
    ]
    for name in NAMES:
        assert cli("batch.show", name).returncode == 0
        assert version(old_runs / "runs" / name / "journal.db") == schema


@pytest.mark.parametrize(
    ("command", "name", "status", "ran"),
    [
        ("resume", "cut", 1, ["slow1", "slow2", "d", "e"]),
        ("retry", "plain", 0, ["bad1", "bad2"]),
        ("resume", "stages", 1, ["slow", "d", "two-slow", "two-d"]),
        ("resume", "waits", 0, ["bad"]),
        ("resume", "piped", 1, ["slow", "c"]),
    ],
)
def test_old_runs_are_continued(
    command: str,
    name: str,
    status: int,
    ran: list[str],
    old_runs: Path,
    cli: Cli,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """What was left or failed runs, once, and nothing else; the journals have the present schema then, and are whole."""
    done = cli(f"batch.{command}", name, env=environment | environ(tmp_path))
    assert done.returncode == status, done.stderr
    assert Counter((tmp_path / "ledger").read_text().split()) == Counter(ran)
    for run in Store(old_runs).find(name).stages:
        assert version(run.path / "journal.db") == SCHEMA_VERSION
        with closing(run.journal(check=True)) as journal:
            assert journal.tally().left == 0
    assert cli(f"batch.{command}", name, env=environment | environ(tmp_path)).returncode == status
    assert Counter((tmp_path / "ledger").read_text().split()) == Counter(ran)


def test_a_version_that_does_not_fit_the_tables_is_damage(tmp_path: Path) -> None:
    """A changed number is not taken for an older schema, whose rows carry no checksums."""
    path = tmp_path / "journal.db"
    Journal.create(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(Exception, match="is damaged"):
        Journal.open(path)
