"""What launchers and workers keep when the coordinator is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manyhands.backends.shared import orphan_results
from manyhands.backends.shared.captured import ending_of
from manyhands.backends.shared.measured import Measured
from manyhands.core.job import Ending


def end(job: int, **more: object) -> orphan_results.OrphanResult:
    known = Measured(0, None, None, 1.5, 0.5, 0.1, 0.1, 0, (b"out\xff", None, 4, 0), (b"", b"/x/\xfe", 9, 0), 1, 0)
    return orphan_results.OrphanResult(job, 1, True, known._replace(**more))  # type: ignore[arg-type]


GOOD = [7, 1, 0, None, None, True, 1.5, 0.5, 0.1, 0.1, 0]
"""The beginning of a line as it is written, up to the outputs."""


def test_ends_are_kept_exactly(tmp_path: Path) -> None:
    """Bytes, paths and results come back as they were."""
    ends = [end(1), end(2, result=b'"x"', traceback="T", exit=None, signal=9)]
    orphan_results.write(bytes(tmp_path), 0, ends)
    assert list(orphan_results.read(tmp_path)) == ends
    orphan_results.forget(tmp_path)
    assert list(orphan_results.read(tmp_path)) == []


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[1]",
        b"{}",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        json.dumps([*GOOD, ["!", None, 1, 0], 5, 1, 0]).encode(),
        json.dumps(["7", *GOOD[1:], ["", None, 0, 0], ["", None, 0, 0], 1, 0]).encode(),
        json.dumps([7, 1, "0", *GOOD[3:], ["", None, 0, 0], ["", None, 0, 0], 1, 0]).encode(),
        json.dumps([*GOOD, ["\u00e9", None, 1, 0], ["", None, 0, 0], 1, 0]).encode(),
    ],
)
def test_a_damaged_line_costs_only_what_follows_it(tmp_path: Path, damage: bytes) -> None:
    """What stands before it, and in other files, is taken; nothing is raised."""
    orphan_results.write(bytes(tmp_path), 0, [end(1)])
    with (tmp_path / ".late-0").open("ab") as file:
        file.write(damage + b"\n")
    orphan_results.write(bytes(tmp_path), 1, [end(2)])
    (tmp_path / ".late-2").mkdir()
    assert [one.job for one in orphan_results.read(tmp_path)] == [1, 2]


def test_an_ending_is_made_of_what_was_measured() -> None:
    """The two records agree in their order; only a process that measures an attempt can say that it has ended."""
    assert (*Measured._fields, "still_running", "host") == Ending._fields
    ending = ending_of(tuple(end(1, result=b"5").measured))
    assert (ending.exit, ending.wall, ending.stdout.data, ending.stderr.path) == (0, 0.5, b"out\xff", "/x/\udcfe")
    assert (ending.slot, ending.leftovers, ending.result, ending.still_running) == (1, 0, b"5", False)


def test_lines_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """The form of a line does not change: whoever resumes a run may be another version."""
    line = json.dumps([*GOOD, ["b3V0", None, 3, 0], ["", None, 0, 0], 2, 0, None, None])
    (tmp_path / ".late-0").write_text(line + "\n")
    found = next(orphan_results.read(tmp_path))
    assert (found.job, found.attempt, found.began, found.measured.stdout, found.measured.slot) == (
        7,
        1,
        True,
        (b"out", None, 3, 0),
        2,
    )
