"""The journal: what is committed is there, once, and can be read while it is written."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import JournalError
from manyhands.core.job import NOTHING, Attempt, Ending, Job, Outcome, Output, Status
from manyhands.inputs.value_file import decode_values, encode_values
from manyhands.storage import known_inputs
from manyhands.storage.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.create(tmp_path / "journal.db")
    yield opened
    opened.close()


def attempt(number: int, tries: int = 1, value: bytes = b"x") -> Attempt:
    return Attempt(Job(number, value.ljust(16, b"k"), (value,)), tries, (b"cmd",))


def done(one: Attempt, status: Status = Status.OK, **more: object) -> Outcome:
    final = bool(more.pop("final", True))
    return Outcome(one, status, Ending(0 if status is Status.OK else 1, **more), final)  # type: ignore[arg-type]


def write(journal: Journal, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        journal.began(outcome.attempt)
        journal.ended(outcome)
    journal.commit()


@given(st.lists(st.binary(max_size=9), max_size=4).map(tuple))
def test_every_input_comes_back_from_its_blob(values: tuple[bytes, ...]) -> None:
    """One column or many, whatever bytes they hold, even NUL."""
    assert decode_values(encode_values(values)) == values


def test_only_its_owner_can_read_it(journal: Journal) -> None:
    """The file is 0600 from its first moment."""
    for path in journal.path.parent.glob("journal.db*"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_an_outcome_comes_back_as_it_was(journal: Journal) -> None:
    """Every field, output in the row and in a file."""
    outcome = Outcome(
        attempt(3, value=b"a\xffb"),
        Status.FAILED,
        Ending(
            7,
            None,
            "why",
            started=12.5,
            wall=1.5,
            user=0.25,
            system=0.125,
            max_rss=4096,
            stdout=Output(b"\0out", None, 9, 5),
            stderr=Output(b"", "/some/file", 10**6, 0),
            slot=2,
            leftovers=1,
            still_running=True,
            host="ops@web1",
        ),
        final=False,
    )
    write(journal, outcome)
    record = journal.record(3)
    assert record is not None
    assert record.outcome == outcome._replace(attempt=outcome.attempt._replace(argv=()))
    assert record.left
    write(journal, Outcome(attempt(4), Status.OK, Ending(None, 9)))
    assert (found := journal.record(4)) is not None
    assert found.outcome is not None
    assert found.outcome.stdout is NOTHING
    assert journal.record(99) is None


maybe = st.none() | st.text("abc", min_size=1)
outputs = st.just(NOTHING) | st.builds(
    lambda data, path, more: Output(data, path, len(data) + more, more), st.binary(max_size=3), maybe, st.integers(0, 2)
)
endings = st.builds(
    Ending,
    st.none() | st.integers(0, 9),
    st.none() | st.integers(1, 9),
    maybe,
    st.none() | st.just(5.5),
    st.just(1.5),
    st.just(0.5),
    st.just(0.25),
    st.integers(0, 9),
    outputs,
    outputs,
    st.integers(0, 3),
    st.integers(0, 1),
    st.none() | st.binary(max_size=3),
    maybe,
    st.booleans(),
    maybe,
)
ends = st.builds(Outcome, st.just(attempt(1)), st.sampled_from(Status), endings, st.booleans())


@given(st.lists(ends, max_size=8))
def test_any_ends_come_back_in_their_order(given: list[Outcome]) -> None:
    """Whatever columns a row needs, and whatever rows stand beside it in a commit."""
    wanted = [end._replace(attempt=attempt(number)) for number, end in enumerate(given, 1)]
    with TemporaryDirectory() as folder, closing(Journal.create(Path(folder) / "journal.db")) as journal:
        write(journal, *wanted)
        found = [record.outcome for record in journal.finished()]
        assert found == [end._replace(attempt=end.attempt._replace(argv=())) for end in wanted]


def test_names_that_are_no_text_do_not_break_the_journal(journal: Journal) -> None:
    """A program or a folder whose name is not UTF-8 is recorded like any other."""
    outcome = Outcome(
        attempt(1), Status.FAILED, Ending(127, error="cannot start x\udce9", stdout=Output(b"", "/d\udcff/f", 10**6, 0))
    )
    write(journal, outcome)
    found = journal.record(1).outcome  # type: ignore[union-attr]
    assert found is not None
    assert found.error == r"cannot start x\udce9"
    assert found.stdout.path == "/d\udcff/f"


def test_what_is_not_committed_is_not_there(journal: Journal) -> None:
    """Rows become durable together, and only in commit."""
    journal.began(attempt(1))
    assert journal.last_number() == 0
    journal.commit()
    assert journal.last_number() == 1


def test_nothing_is_recorded_twice(journal: Journal) -> None:
    """A second end of the same attempt is refused by the file itself, and nothing of its group is written."""
    write(journal, done(attempt(1)))
    journal.ended(done(attempt(2)))
    journal.ended(done(attempt(1), Status.FAILED))
    with pytest.raises(JournalError, match="UNIQUE"):
        journal.commit()
    assert journal.record(1).outcome.status is Status.OK  # type: ignore[union-attr]
    assert journal.tally().counts == {Status.OK: 1}


def test_a_full_disk_keeps_the_rows_for_another_try(journal: Journal) -> None:
    """When it cannot be written now, it is an error with the path, and the same commit works once there is room."""
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(1, 300):
        journal.began(attempt(number, value=b"y" * 500))
    with pytest.raises(JournalError, match=str(journal.path)):
        journal.commit()
    journal._db.execute("PRAGMA max_page_count = 1000000")
    journal.commit()
    assert journal.last_number() == 299


def test_the_state_of_a_job_is_that_of_its_last_attempt(journal: Journal) -> None:
    """Failed and to be tried again is left; failed for good is failed; lost and cancelled are left; a later ok counts."""
    write(journal, done(attempt(1), Status.FAILED, final=False))
    write(journal, done(attempt(2), Status.FAILED), done(attempt(2, 2)))
    write(journal, done(attempt(3), Status.TIMEOUT), done(attempt(4), Status.LOST), done(attempt(5), Status.CANCELLED))
    journal.began(attempt(6))
    journal.commit()
    assert [(job.number, last) for job, last in journal.left()] == [(1, 1), (4, 1), (5, 1), (6, 1)]
    assert [(job.number, last) for job, last in journal.failed()] == [(3, 1)]
    assert journal.tally() == ({Status.OK: 1, Status.TIMEOUT: 1}, 4)
    assert [record.job.number for record in journal.records()] == [1, 2, 3, 4, 5, 6]
    assert [o.status for o in journal.attempts(2)] == [Status.FAILED, Status.OK]


def test_finished_jobs_come_in_the_order_of_their_ends(journal: Journal) -> None:
    """As a job log wants them."""
    for number in (3, 1, 2):
        write(journal, done(attempt(number)))
    assert [record.job.number for record in journal.finished()] == [3, 1, 2]


def test_what_a_dead_coordinator_left_open_is_lost(journal: Journal) -> None:
    """Open attempts are closed as lost, once."""
    journal.began(attempt(1))
    write(journal, done(attempt(2)))
    assert journal.close_lost() == 1
    assert journal.close_lost() == 0
    assert [job.number for job, _ in journal.left()] == [1]
    assert journal.attempts(1)[0].status is Status.LOST


def test_inputs_are_known_by_content_and_number(journal: Journal) -> None:
    """The n-th time an input comes it is known if it was met n times before; what is added meanwhile does not count."""
    write(journal, done(attempt(1, value=b"a")), done(attempt(2, value=b"b")), done(attempt(3, value=b"a")))
    known = journal.known()
    key = {value: attempt(0, value=value).job.key for value in (b"a", b"b", b"c")}
    write(journal, done(attempt(4, value=b"c")))
    assert [known.met(key[value]) for value in (b"a", b"c", b"a", b"a", b"b", b"b")] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    known.close()


@given(recorded=st.lists(st.sampled_from("abc")), again=st.lists(st.sampled_from("abcd")))
def test_inputs_that_come_in_the_same_order_are_known_as_others_are(recorded: list[str], again: list[str]) -> None:
    """Compared one by one while they are in step, counted from then on: it makes no difference."""
    with TemporaryDirectory() as folder, closing(Journal.create(Path(folder) / "journal.db")) as journal:
        attempts = [attempt(number, value=value.encode()) for number, value in enumerate(recorded, 1)]
        write(journal, *map(done, attempts))
        with closing(journal.known()) as known:
            for place, value in enumerate(again, 1):
                met = again[:place].count(value) <= recorded.count(value)
                assert known.met(attempt(0, value=value.encode()).job.key) is met


def test_of_many_inputs_in_the_same_order_each_is_known_once(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beyond one page; the index, which takes time and space, is made only for those that are not in step."""
    monkeypatch.setattr(known_inputs, "_PAGE", 3)
    attempts = [attempt(number, value=b"%d" % number) for number in range(1, 9)]
    write(journal, *map(done, attempts))
    with closing(journal.known()) as known:
        assert [known.met(one.job.key) for one in attempts] == [True] * 8
        index = "SELECT count(*) FROM sqlite_master WHERE name = 'began_key'"
        assert journal._db.execute(index).fetchone()[0] == 0
        assert not known.met(attempts[0].job.key)
        assert journal._db.execute(index).fetchone()[0] == 1


def test_reading_does_not_disturb_writing(journal: Journal) -> None:
    """A run can be looked at while it goes on, and the list of what is left does not see what is added meanwhile."""
    for number in range(1, 50):
        journal.began(attempt(number))
    journal.commit()
    seen = []
    for job, _ in journal.left():
        seen.append(job.number)
        write(journal, done(attempt(job.number, 2)), done(attempt(job.number + 100)))
    assert seen == list(range(1, 50))


def test_executions_are_remembered(journal: Journal) -> None:
    """When, how long, whether anything was left."""
    journal.executed(100.0, 2.5, complete=False)
    journal.executed(200.0, 1.5, complete=True)
    assert journal.executions() == [(100.0, 2.5, False), (200.0, 1.5, True)]


@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"SQLite format 3\0" + bytes(5000)])
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    """With the path and the way out."""
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"other\.db"):
        Journal.open(path, check=True)
    with pytest.raises(JournalError, match="no journal"):
        Journal.open(tmp_path / "nothing.db")


def test_another_database_is_refused(tmp_path: Path) -> None:
    """A good SQLite file of somebody else is not taken for a journal."""
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE x (y)")
    db.close()
    with pytest.raises(JournalError, match="not a journal of manyhands"):
        Journal.open(path)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A journal is only made where there is nothing."""
    Journal.create(tmp_path / "j.db").close()
    with pytest.raises(OSError):
        Journal.create(tmp_path / "j.db")
    os.symlink(tmp_path / "target", tmp_path / "link.db")
    with pytest.raises(OSError):
        Journal.create(tmp_path / "link.db")
    assert not (tmp_path / "target").exists()


def test_a_reader_that_leaves_takes_nothing_from_the_writer(journal: Journal) -> None:
    """The writer has read a page by a second connection of its own, as a resume does; then another process reads, and is gone: what is
    written afterwards is there."""
    write(journal, *(done(attempt(number)) for number in range(1, 4)))
    assert list(journal.left()) == []
    reader = (
        "import sys\nfrom pathlib import Path\nfrom manyhands.storage.journal import Journal\n"
        "one = Journal.open(Path(sys.argv[1]))\nprint(one.last_number())\none.close()\n"
    )

    def seen() -> int:
        command = [sys.executable, "-c", reader, str(journal.path)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert seen() == 3
    write(journal, done(attempt(4)))
    assert seen() == 4
