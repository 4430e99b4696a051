"""What ``batch.list`` lists: all runs, or those that are asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from made_events import end
from manyhands.core.errors import UsageError
from manyhands.core.job import Status
from manyhands.handlers.batch_list import list_runs
from manyhands.options.runs import ListOptions
from manyhands.storage.runs import Store
from render.test_render_runs import fill


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Four runs: bad (a job failed), nightly-1 and nightly-2 (half done, the second of two days ago), going (being worked on)."""
    store = Store(tmp_path)
    for name, ends, days in (
        ("bad", [end(1), end(2, Status.FAILED)], 0),
        ("nightly-1", [], 0),
        ("nightly-2", [], 2),
        ("going", [], 0),
    ):
        run, held = store.create({"template": "echo {}", "shell": None, "workdir": "/"}, name)
        run = Store.update(run, {"created": time.time() - 86400 * days})
        journal = run.journal()
        fill(journal, *ends)
        if ends:
            journal.executed(1.0, 2.5, complete=True)
        journal.close()
        if name == "going":
            store.held = held  # type: ignore[attr-defined]  # kept open as long as the store is
        else:
            held.close()
    return store


def names(store: Store, capsys: pytest.CaptureFixture[str], **wanted: Any) -> list[str]:
    list_runs(store, ListOptions(**wanted, json=True), width=80)
    return [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["going", "nightly-1", "bad", "nightly-2"]),
        ({"limit": 2}, ["going", "nightly-1"]),
        ({"status": "left"}, ["nightly-1", "nightly-2"]),
        ({"status": "running"}, ["going"]),
        ({"status": "failed"}, ["bad"]),
        ({"status": "complete"}, ["bad"]),
        ({"status": "left", "limit": 1}, ["nightly-1"]),
        ({"name": "nightly*"}, ["nightly-1", "nightly-2"]),
        ({"name": "night"}, []),
        ({"since": "1d"}, ["going", "nightly-1", "bad"]),
        ({"since": "2000-01-01"}, ["going", "nightly-1", "bad", "nightly-2"]),
        ({"since": "2999-01-01 12:00"}, []),
    ],
)
def test_filters(store: Store, capsys: pytest.CaptureFixture[str], wanted: dict[str, Any], found: list[str]) -> None:
    """The newest first; a limit counts what passes the other filters."""
    assert names(store, capsys, **wanted) == found


def test_a_record_has_the_size_and_whether_it_is_a_name(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes on the disk."""
    list_runs(store, ListOptions(name="bad", json=True), width=80)
    record = json.loads(capsys.readouterr().out)
    assert (record["size"] > 10_000, record["named"], record["failed"]) == (True, True, 1)


def test_the_table_has_the_names(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """As they were given."""
    list_runs(store, ListOptions(), width=120)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "going", "nightly-1", "bad", "nightly-2"]
    assert " KiB  complete  echo {}" in lines[3]


def test_a_run_that_cannot_be_read_is_named(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Damaged, but not half removed: that is no run."""
    (store.root / "bad" / "run.json").write_text("no JSON")
    (store.root / "nightly-1" / "run.json").unlink()
    list_runs(store, ListOptions(json=True), width=80)
    out, err = capsys.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["going", "nightly-2"]
    assert err == "manyhands: the run bad cannot be read: manyhands batch.show bad says why\n"


def test_nothing_found_is_said(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And whether there are any."""
    list_runs(store, ListOptions(name="x"), width=80)
    list_runs(Store(tmp_path / "other"), ListOptions(), width=80)
    assert capsys.readouterr() == ("", "no such runs\nthere are no runs yet\n")


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"limit": 0}, "--limit 0: expected a number of runs"),
        ({"since": "soon"}, "--since 'soon': expected how long ago"),
    ],
)
def test_what_cannot_be_meant_is_refused(store: Store, wanted: dict[str, Any], why: str) -> None:
    """Before anything is printed."""
    with pytest.raises(UsageError, match=why):
        list_runs(store, ListOptions(**wanted), width=80)
