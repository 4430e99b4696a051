"""Two runs, job by job: what differs, and only that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli
from made_events import end
from manyhands.core.job import Outcome, Status
from manyhands.report.run_diff import Comparison, Kind
from manyhands.storage.journal import Journal
from manyhands.storage.stage_journals import Journals


class Runs:
    """Makes comparisons, and closes what they read."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path, self._stack, self._count = path, stack, 0

    def compared(self, before: list[Outcome], after: list[Outcome]) -> tuple[list[tuple[str, bytes]], Comparison]:
        found = Comparison(self._journals(before), self._journals(after))
        return [(one.kind.value, one.values[0]) for one in found.differences()], found

    def _journals(self, ends: list[Outcome]) -> Journals:
        self._count += 1
        journal = Journal.create(self._path / f"{self._count}.db")
        self._stack.callback(journal.close)
        for outcome in ends:
            journal.began(outcome.attempt)
            journal.ended(outcome)
        journal.commit()
        return Journals([journal])


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with ExitStack() as stack:
        yield Runs(tmp_path, stack)


def ok(number: int, value: bytes, wall: float = 1.0) -> Outcome:
    return end(number, Status.OK, value, wall=wall)


def bad(number: int, value: bytes, **more: Any) -> Outcome:
    return end(number, Status.FAILED, value, **more)


def test_each_kind(runs: Runs) -> None:
    """Jobs are found by their input, wherever it stands in the run."""
    before = [ok(1, b"a"), bad(2, b"b"), bad(3, b"c"), bad(4, b"d"), ok(5, b"e"), ok(6, b"f"), ok(7, b"g"), ok(8, b"h")]
    after = [
        ok(1, b"h"),
        bad(2, b"a"),
        ok(3, b"b"),
        bad(4, b"c"),
        bad(5, b"d", exit=9),
        ok(6, b"e", 1.3),
        ok(7, b"f", 0.5),
        ok(8, b"new"),
    ]
    told, found = runs.compared(before, after)
    assert told == [
        ("failed anew", b"a"),
        ("mended", b"b"),
        ("fails otherwise", b"d"),
        ("slower", b"e"),
        ("faster", b"f"),
        ("only after", b"new"),
        ("only before", b"g"),
    ]
    assert (found.both, found.still) == (7, 1)
    assert found.counts[Kind.FAILED] == 1
    assert found.seconds == (3.0, 2.8)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (1.0, 1.19, None),
        (1.0, 1.21, "slower"),
        (0.01, 0.05, None),  # five times as slow, but by 40 ms
        (0.01, 0.07, "slower"),
        (1.21, 1.0, "faster"),
        (0.0, 0.2, "slower"),
        (0.0, 0.0, None),
    ],
)
def test_slower_means_both(before: float, after: float, kind: str | None, runs: Runs) -> None:
    """By a fifth and by 50 ms."""
    told, _ = runs.compared([ok(1, b"a", before)], [ok(1, b"a", after)])
    assert [one for one, _ in told] == ([kind] if kind else [])


def test_the_same_input_several_times(runs: Runs) -> None:
    """The first is compared with the first."""
    told, found = runs.compared([ok(1, b"x"), bad(2, b"x")], [ok(1, b"x"), ok(2, b"x"), ok(3, b"x")])
    assert told == [("mended", b"x"), ("only after", b"x")]
    assert found.both == 2


def test_what_is_not_done(runs: Runs) -> None:
    """A job of which nothing is known yet did not fail, nor was it mended."""
    lost = end(1, Status.LOST, b"a", final=False)
    assert runs.compared([ok(1, b"a")], [lost])[0] == [("not done", b"a")]
    assert runs.compared([lost], [bad(1, b"a")])[0] == []


def test_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """The exit status is 1 when something failed anew, and then only."""
    line = f"sh -c 'test {{}} -lt $(cat {tmp_path}/limit)'"
    for name, limit in (("a", "3"), ("b", "9"), ("c", "2")):
        (tmp_path / "limit").write_text(limit)
        cli("batch", line, "--run-id", name, "--", "1", "2", "5")
    done = cli("batch.diff", "a", "b")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "mended: 1\n  job 3  5  it failed with exit status 1\n3 jobs in both: 1 mended\n" or (
        done.stdout.startswith("mended: 1\n  job 3  5  it failed with exit status 1\n")
    )
    done = cli("batch.diff", "a", "c", "--json")
    [first, *_, last] = [json.loads(text) for text in done.stdout.splitlines()]
    assert (done.returncode, first["kind"], first["input"]) == (1, "failed anew", "2")
    assert (first["before"]["status"], first["after"]["status"]) == ("ok", "failed")
    assert (last["schema"], last["both"], last["still_failing"]) == ("manyhands.differences/1", 3, 1)
    done = cli("batch.diff", "a", "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("manyhands: no run 'nope'")


def test_long_lists_are_cut(cli: Cli) -> None:
    """To 20 of each kind, unless all are wanted."""
    inputs = [f"{number}" for number in range(30)]
    cli("batch", "true {}", "--run-id", "a", "--", *inputs)
    cli("batch", "false {}", "--run-id", "b", "--", *inputs)
    done = cli("batch.diff", "a", "b").stdout.splitlines()
    assert done[0] == "failed anew: 30"
    assert done[21] == "  ... and 10 more: --all lists them"
    assert len(cli("batch.diff", "a", "b", "--all").stdout.splitlines()) == 32
