"""How a run stands while it goes on: written once a second, read by whoever looks, and never trusted."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from made_events import Clock, attempt, began
from manyhands.core.events import Began
from manyhands.engine.in_flight import Flight, Retries
from manyhands.storage import progress_file
from manyhands.storage.progress_file import EVERY, Going, Keeper, Standing


def waiting(*dues: float) -> Retries:
    """Jobs that wait for a retry until then."""
    retries = Retries()
    for due in dues:
        retries.add(due, Flight(attempt(99)))
    return retries


def kept(folder: Path, *running: Began, retries: Retries | None = None, total: int | None = 9) -> Keeper:
    """A keeper that has written down once that these run."""
    clock = Clock()
    keeper = Keeper(folder, clock)
    clock.time += EVERY
    keeper.look(lambda: Standing(list(running), retries or Retries(), total, False, 2))
    return keeper


def test_it_is_written_once_a_second_and_goes_away(tmp_path: Path) -> None:
    """Nothing of a run that is over sooner; nobody is asked in between."""
    clock, asked = Clock(), list[float]()
    keeper = Keeper(tmp_path, clock)

    def stands() -> Standing:
        asked.append(clock.time)
        return Standing([], Retries(), None, False, 2)

    for after in (0.0, EVERY - 0.1, 0.2, 0.2, EVERY):
        clock.time += after
        keeper.look(stands)
    assert asked == pytest.approx([100.0 + EVERY + 0.1, 100.0 + 2 * EVERY + 0.3])
    assert [path.name for path in tmp_path.iterdir()] == ["standing.json"]
    keeper.close()
    keeper.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Whatever bytes the input has; moments are seconds since the epoch."""
    kept(tmp_path, began(3, 99.0, b"a\xff\n", b"b", tries=2), began(2, 98.0, tries=2), retries=waiting(111.0, 112.0))
    found = progress_file.read(tmp_path)
    assert found
    assert found.named == (
        Going(2, 2, (b"in2",), found.named[0].since, 2, 1002),
        Going(3, 2, (b"a\xff\n", b"b"), found.named[1].since, 3, 1003),
    )
    assert found.at - found.named[0].since == pytest.approx(3.0)
    assert found.next_retry is not None
    assert found.next_retry - found.at == pytest.approx(10.0)
    assert (found.total, found.waiting, found.going, found.jobs) == (9, 2, 2, 2)


def test_it_stays_small(tmp_path: Path) -> None:
    """However many run, and however long their inputs are: those that run longest are named."""
    huge = began(1, -1e6, b"x" * (1 << 20))
    kept(tmp_path, *(began(number, 1000.0 - number) for number in range(2, 5000)), huge)
    found = progress_file.read(tmp_path)
    assert found
    assert (found.going, len(found.named), [one.job for one in found.named[:2]]) == (4999, 500, [1, 4999])
    assert (tmp_path / "standing.json").stat().st_size < 100_000


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "nonsense", '{"named": 3}', '{"named": [[1]]}', '{"named": [], "at": "x"}', "[" * 100_000]
)
def test_nonsense_is_not_believed(tmp_path: Path, content: str) -> None:
    """A file that is torn or was changed is as good as none."""
    (tmp_path / "standing.json").write_text(content)
    assert progress_file.read(tmp_path) is None


def test_nothing_is_followed_and_nothing_fails(tmp_path: Path) -> None:
    """A link in its place is not read; where nothing can be written, the run goes on."""
    (tmp_path / "other").write_text(json.dumps({"named": []}))
    os.symlink(tmp_path / "other", tmp_path / "standing.json")
    assert progress_file.read(tmp_path) is None
    kept(tmp_path / "gone", began(1, 1.0)).close()


def test_output_so_far_is_in_the_files_of_the_slot(tmp_path: Path) -> None:
    """Those are there while a job runs; where they are in memory, nothing is known."""
    (tmp_path / ".slot-4.out").write_bytes(b"half a li")
    out, err = Going(1, 1, (b"x",), 0.0, 4, os.getpid()).printed(tmp_path)
    assert (out.path, out.size, err.size) == (str(tmp_path / ".slot-4.out"), 9, 0)


def test_the_output_of_a_slot_is_no_longer_its_when_its_process_is_gone(tmp_path: Path) -> None:
    """Another job may have begun there since it was written down that it runs."""
    (tmp_path / ".slot-1.out").write_text("somebody's\n")
    process = subprocess.Popen(["sleep", "1000"])
    going = Going(1, 1, (b"x",), 0.0, 1, process.pid)
    assert going.may_run and going.printed(tmp_path)[0].size == 11
    process.kill()
    process.wait()
    assert not going.may_run and going.printed(tmp_path)[0].size == 0
    assert going._replace(host="far").may_run and going._replace(pid=0).may_run
