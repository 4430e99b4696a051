"""Removing runs: nothing goes before it was shown, with its size, and somebody has agreed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from manyhands.core.errors import BusyError, UsageError
from manyhands.handlers.batch_remove import remove
from manyhands.options.runs import RemoveOptions
from manyhands.storage.runs import Store
from manyhands.work.submitted import Submitted

ASKED = {"template": "echo {}", "shell": None, "workdir": "/"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "state")
    for name in ("one", "two"):
        made.create(ASKED, name)[1].close()
    return made


def names(store: Store) -> set[str]:
    return {run.id for run in store.all()}


def test_nobody_to_ask(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal it is refused, unless --yes says so; several names; each is reported."""
    with pytest.raises(UsageError, match=r"^Remove 2 runs \([0-9.]+ KiB\)\? Nobody can be asked here: --yes"):
        remove(store, RemoveOptions(runs=["one", "two"]))
    assert names(store) == {"one", "two"}
    assert remove(store, RemoveOptions(runs=["one", "two", "one"], yes=True)) == 0
    assert (names(store), capsys.readouterr().out) == (set(), "removed one\nremoved two\n")


@pytest.mark.parametrize(
    ("answer", "status", "left"), [("\n", 1, {"one", "two"}), ("y\n", 0, set()), ("", 1, {"one", "two"})]
)
def test_somebody_is_asked(
    store: Store, answer: str, status: int, left: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would go, how much it holds, and what the duration means; anything but yes removes nothing."""
    monkeypatch.setattr("manyhands.handlers.batch_remove.time.time", lambda: 2e9 + 60)
    seen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", seen)
    assert remove(store, RemoveOptions(older_than="1m")) == status
    assert names(store) == left
    assert "remove 2 runs older than 1 minute (" in seen.getvalue()
    assert "echo {}" in seen.getvalue()


def test_a_dry_run_only_shows(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and sizes, and nothing is gone."""
    assert remove(store, RemoveOptions(runs=["one"], dry_run=True, yes=True)) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("would remove one  2")
    assert "nothing was removed" in shown.err
    assert names(store) == {"one", "two"}


def test_nothing_to_remove_and_one_at_work(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """No old runs is no failure; a run at work is refused before anybody is asked."""
    assert remove(store, RemoveOptions(older_than="30d")) == 0
    assert capsys.readouterr().err == "there are no runs older than 30 days\n"
    held = store.create(ASKED, "busy")[1]
    with pytest.raises(BusyError):
        remove(store, RemoveOptions(runs=["busy"]))
    held.close()
    with pytest.raises(UsageError, match="not both"):
        remove(store, RemoveOptions(runs=["one"], older_than="1d", yes=True))


def test_jobs_that_are_in_a_queue_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was submitted, and not collected, takes nothing along: what does is told."""
    made = Store(tmp_path / "state")
    made.create(ASKED | Submitted("night-1", 86_400.0).to_json(), "night")[1].close()
    assert remove(made, RemoveOptions(runs=["night"], dry_run=True)) == 0
    assert (
        "; its jobs go on in a queue: manyhands queue.purge night-1 removes those that wait\n" in capsys.readouterr().out
    )
