"""A changed bit, wherever it is: it is noticed, or nothing is read otherwise than before."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from manyhands.core.errors import JournalError
from manyhands.core.job import Attempt, Ending, Job, Outcome, Output, Status
from manyhands.storage.journal import Journal

FLIPS = 60


def outcome(number: int, tries: int = 1) -> Outcome:
    """One of each sort: ok, failed, timed out, with output in the row or in a file, with a result."""
    status = (Status.OK, Status.FAILED, Status.TIMEOUT, Status.OK)[number % 4]
    printed = Output(b"out %d\n" % number, None, 20, 0) if number % 3 else Output(b"", f"/x/{number}", 10**6, 5)
    return Outcome(
        Attempt(Job(number, b"%016d" % number, (b"input %d" % number,)), tries, ()),
        status,
        Ending(
            int(status is not Status.OK),
            started=1e9 + number,
            wall=0.5,
            user=0.25,
            max_rss=4096,
            stdout=printed,
            slot=1,
            result=b"[1, 2]",
        ),
        final=status is not Status.TIMEOUT,
    )


@pytest.fixture(params=["closed", "with its log"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """A journal as it lies on the disk: the folder, and the names of its files."""
    folder = tmp_path / "written"
    folder.mkdir()
    journal = Journal.create(folder / "journal.db")
    for number in range(1, 121):
        one = outcome(number)
        journal.began(one.attempt)
        if number % 11:
            journal.ended(one)
        if number % 10 == 0:
            journal.commit()
    journal.executed(1.0, 2.0, complete=False)
    if request.param != "closed":  # as a killed coordinator leaves it
        kept = tmp_path / "kept"
        shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*-shm"))
        journal.close()
        return kept, ["journal.db", "journal.db-wal"]
    journal.close()
    return folder, ["journal.db"]


def everything(path: Path, *, check: bool) -> Any:
    """All that reports and recovery read."""
    with closing(Journal.open(path, check=check)) as journal:
        numbers = [record.job.number for record in journal.records()]
        return (
            list(journal.records()),
            list(journal.finished()),
            [journal.attempts(number) for number in numbers],
            [journal.record(number) for number in numbers],
            journal.tally(),
            journal.executions(),
            journal.open_attempts() if check else None,
            list(journal.left()) if check else None,
        )


@pytest.mark.slow
@pytest.mark.parametrize("check", [True, False], ids=["recovery", "reports"])
def test_a_changed_bit_is_noticed_or_harmless(written: tuple[Path, list[str]], tmp_path: Path, check: bool) -> None:
    """The journal is refused, or all of it is read as before; only the last commit of a log may be taken for a torn one."""
    folder, names = written
    chance = Random(f"{names}{check}")
    before = everything(shutil.copytree(folder, tmp_path / "before") / "journal.db", check=check)
    noticed = 0
    for flip in range(FLIPS):
        copy = shutil.copytree(folder, tmp_path / f"flip{flip}")
        path = copy / names[flip % len(names)]
        data = bytearray(path.read_bytes())
        bit = chance.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            found = everything(copy / "journal.db", check=check)
        except JournalError as error:
            noticed += 1
            assert "\n" not in str(error)
            continue
        finally:
            shutil.rmtree(copy)
        assert found == before or is_torn(before, found, path, check=check), f"bit {bit} of {path.name}"
    assert noticed


def is_torn(before: Any, found: Any, path: Path, *, check: bool) -> bool:
    """Whether only what stood at the end of the log is missing."""
    kept = [record for record in found[1] if record in before[1]]
    return path.name.endswith("-wal") and kept == found[1] and (not check or len(before[1]) - len(found[1]) <= 10)


def test_a_row_that_is_taken_out_is_missed(tmp_path: Path) -> None:
    """Also where SQLite itself finds nothing wrong."""
    path = tmp_path / "journal.db"
    with closing(Journal.create(path)) as journal:
        for number in range(1, 4):
            journal.began(outcome(number).attempt)
            journal.ended(outcome(number))
        journal.commit()
        journal._db.execute("DELETE FROM ended WHERE job = 2")
    with pytest.raises(JournalError, match="rows are missing"):
        Journal.open(path, check=True)
    with closing(Journal.open(path)) as journal, pytest.raises(JournalError, match="rows are missing"):
        journal.tally()


def test_an_end_without_a_beginning_is_damage(tmp_path: Path) -> None:
    """It cannot have been written so."""
    path = tmp_path / "journal.db"
    with closing(Journal.create(path)) as journal:
        journal.ended(outcome(1))
        journal.commit()
    with pytest.raises(JournalError, match="never begun"):
        Journal.open(path, check=True)


def test_a_log_that_has_begun_anew_is_no_damage(tmp_path: Path) -> None:
    """Frames of the time before the last checkpoint still stand behind the new ones."""
    path = tmp_path / "journal.db"
    journal = Journal.create(path)
    for number in range(1, 60):
        journal.began(outcome(number).attempt)
        journal.commit()
    journal._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    for number in range(60, 63):
        journal.began(outcome(number).attempt)
        journal.commit()
    shutil.copytree(tmp_path, tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm", "killed"))
    journal.close()
    with closing(Journal.open(tmp_path / "killed" / "journal.db", check=True)) as found:
        assert found.last_number() == 62
