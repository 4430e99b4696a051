"""The digest beside a closed journal: when it is there, when it is believed, and that nothing else is believed because of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import functions
from manyhands import run_batch
from manyhands.core.errors import JournalError
from manyhands.core.hashes import blake2b
from manyhands.core.job import Attempt, Ending, Job, Outcome, Status
from manyhands.storage import closed_file, database, integrity, journal
from manyhands.storage.closed_file import is_as_left, note
from manyhands.storage.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with five jobs of 400 KB, of which one has not ended."""
    path = tmp_path / "journal.db"
    made = Journal.create(path)
    attempts = [Attempt(Job(n, b"k%015d" % n, (b"%d" % n,)), 1, ()) for n in range(1, 6)]
    for one in attempts:
        made.began(one)
    made.commit()
    for one in attempts[:4]:
        made.ended(Outcome(one, Status.OK, Ending(0, started=1.0, wall=0.5, result=bytes(400_000))))
    made.commit()
    made.close()
    return path


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The journals of which every row was checked."""
    found: list[Path] = []

    def check(db: database.Database, path: Path, version: int) -> None:
        found.append(path)
        integrity.check_all(db, path, version)

    monkeypatch.setattr(journal, "check_all", check)
    return found


def flip(path: Path, at: int) -> None:
    """Change one bit."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_a_journal_that_is_as_it_was_left(path: Path, checks: list[Path]) -> None:
    """Its rows are not checked again, and what is counted is the same; the digest is its owner's."""
    assert stat.S_IMODE(path.with_name("journal.db-sum").stat().st_mode) == 0o600
    opened = Journal.open(path, check=True)
    tally = opened.tally()
    assert (tally.counts, tally.left) == ({Status.OK: 4}, 1)
    assert [attempt for _, attempt in opened.open_attempts()] == [1]
    opened.close()
    assert checks == []
    reader = Journal.open(path)
    assert reader.tally() == tally
    reader.close()


def test_a_new_run_has_one(tmp_path: Path, checks: list[Path]) -> None:
    """Its journal is opened without a check, because nothing is in it; what only reads writes none."""
    run = run_batch(functions.wide, range(200), jobs=1, run_id="r", state_dir=tmp_path)
    assert len(list(run)) == 200
    (path,) = tmp_path.glob("runs/r/journal.db")
    assert is_as_left(path)
    path.with_name("journal.db-sum").unlink()
    reader = Journal.open(path)
    assert reader.tally().counts == {Status.OK: 200}
    reader.close()
    assert not is_as_left(path)
    assert checks == []


def test_any_bit(path: Path, checks: list[Path]) -> None:
    """Wherever it is, the rows are checked as before."""
    size = path.stat().st_size
    for at in (0, 100, size // 2, size - 1):
        flip(path, at)
        assert not is_as_left(path)
        flip(path, at)
        assert is_as_left(path)
    flip(path, size // 2)
    with pytest.raises(JournalError, match="is damaged"):
        Journal.open(path, check=True)
    assert checks == [path]


def test_what_is_written_later(path: Path, checks: list[Path]) -> None:
    """While it is open, and after a process that wrote was killed, its digest is not believed; after the next close there is a new one."""
    opened = Journal.open(path, check=True)
    opened.executed(1.0, 2.0, complete=False)
    assert not is_as_left(path)
    opened.close()
    assert is_as_left(path)
    kill = (
        "import os, sys, pathlib; from manyhands.storage.journal import Journal; "
        "opened = Journal.open(pathlib.Path(sys.argv[1]), check=True); opened.executed(1.0, 2.0, complete=True); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", kill, path], check=True)
    assert not is_as_left(path)
    opened = Journal.open(path, check=True)
    assert len(opened.executions()) == 2
    opened.close()
    assert checks == [path]
    assert is_as_left(path)


def test_a_tally_is_not_kept_too_long(path: Path) -> None:
    """What is committed after it was asked for counts."""
    opened = Journal.open(path, check=True)
    before = opened.tally()
    opened.ended(Outcome(Attempt(Job(5, b"", ()), 1, ()), Status.FAILED, Ending(1)))
    assert opened.tally() == before
    opened.commit()
    assert opened.tally().counts == {Status.OK: 4, Status.FAILED: 1}
    assert opened.open_attempts() == []
    reader = Journal.open(path)
    assert reader.tally().left == 0
    opened.began(Attempt(Job(6, b"k" * 16, (b"6",)), 1, ()))
    opened.commit()
    assert (reader.tally().left, opened.tally().left) == (1, 1)
    assert len(opened.open_attempts()) == 1
    reader.close()
    opened.close()


def test_it_is_not_read_while_it_is_open(path: Path) -> None:
    """Closing the file would end the locks of the connection in this process: another process could write then."""
    opened = Journal.open(path, check=True)
    opened.executed(1.0, 2.0, complete=True)
    note(path)
    assert not is_as_left(path)
    locks = Path("/proc/locks").read_text() if Path("/proc/locks").exists() else ""
    assert str(path.with_name("journal.db-shm").stat().st_ino) in locks or not locks
    opened.close()


def test_nobody_opens_it_while_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that opens the database waits until the file is closed."""
    order: list[str] = []

    def opens() -> None:
        database.connect(path).close()
        order.append("opened")

    thread = threading.Thread(target=opens)

    class Slow:
        def __init__(self) -> None:
            self._hasher = blake2b()
            thread.start()
            thread.join(0.2)
            order.append("read")

        def update(self, data: bytes) -> None:
            self._hasher.update(data)

        def hexdigest(self) -> str:
            return self._hasher.hexdigest()

    monkeypatch.setattr(closed_file, "blake2b", Slow)
    note(path)
    monkeypatch.undo()
    thread.join()
    assert order == ["read", "opened"]


def test_a_small_journal_has_none(tmp_path: Path) -> None:
    """Its rows are checked in no time."""
    small = tmp_path / "journal.db"
    Journal.create(small).close()
    assert [one.name for one in tmp_path.iterdir()] == ["journal.db"]
    assert not is_as_left(small)


def test_a_digest_that_is_no_digest(path: Path) -> None:
    """A link, a folder, other text, nothing: the rows are checked."""
    beside = path.with_name("journal.db-sum")
    text = beside.read_text()
    for wrong in ("", text[:-1], text + "0", "é"):
        beside.write_text(wrong)
        assert not is_as_left(path)
    beside.unlink()
    assert not is_as_left(path)
    os.symlink("elsewhere", beside)
    note(path)
    assert not is_as_left(path)
    assert not path.with_name("elsewhere").exists()
