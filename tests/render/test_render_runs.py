"""Tables of runs and jobs for people: they fit, they tell the truth, and nothing in them reaches the terminal raw."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_events import end
from manyhands.core.job import NOTHING, Attempt, Job, Outcome, Output, Status
from manyhands.core.safe_text import cells
from manyhands.render import runs as table
from manyhands.storage.journal import Journal
from manyhands.storage.rows import JobRecord
from manyhands.storage.runs import Run, Store
from manyhands.storage.short_ids import short_ids

ASKED = {"template": "gzip -9 {}", "shell": None, "workdir": "/data"}
NOON = datetime(2026, 11, 20, 22, 31, 5).timestamp()
EVIL = b"\x1b[31m\x9b\r\xe2\x80\xae\xff\nb"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal.create(tmp_path / "j.db")) as made:
        yield made


def fill(journal: Journal, *ends: Outcome) -> None:
    for outcome in ends:
        journal.began(outcome.attempt)
        journal.ended(outcome)
    journal.commit()


def made(store: Store, *ends: Outcome, complete: bool | None = True, **asked: Any) -> Run:
    """A run whose jobs ended so; ``complete`` None: its execution has not come to its end."""
    run, held = store.create({**ASKED, **asked})
    held.close()
    with closing(run.journal()) as journal:
        fill(journal, *ends)
        if complete is not None:
            journal.executed(1.0, 2.5, complete=complete)
    return run


def line(id: str = "7f3a12cd", **more: Any) -> table.RunLine:
    fields = {
        "created": NOON,
        "template": "gzip -9 {}",
        "ok": 1997,
        "failed": 3,
        "left": 0,
        "took": 12.1,
        "state": "complete",
    }
    return table.RunLine(id, **{**fields, **more})


# -- a run at a glance ---------------------------------------------------------------------------------------------------


def test_a_complete_run(store: Store) -> None:
    """What is not ok failed, in whichever way; the time of all executions is added up."""
    run = made(store, end(1), end(2, Status.FAILED), end(3, Status.TIMEOUT))
    with closing(run.journal()) as journal:
        journal.executed(9.0, 1.5, complete=True)
    found = table.summarise(run)
    assert (found.ok, found.failed, found.left, found.took, found.state) == (1, 2, 0, 4.0, "complete")
    assert (found.id, found.created, found.template) == (run.id, run.created, "gzip -9 {}")


@pytest.mark.parametrize(
    ("ends", "complete", "left"),
    [
        ([end(1), end(2, Status.LOST, final=False)], True, 1),
        ([end(1), end(2, Status.CANCELLED)], True, 1),
        ([end(1), end(2, Status.FAILED, final=False)], False, 1),
        ([end(1)], False, 0),
        ([end(1)], None, 0),
    ],
)
def test_a_run_with_something_left(store: Store, ends: list[Outcome], complete: bool | None, left: int) -> None:
    """Also when all known jobs are done but inputs remain unread, or it was killed before it could say so."""
    found = table.summarise(made(store, *ends, complete=complete))
    assert (found.left, found.state) == (left, "left")


def test_a_run_that_is_being_worked_on(store: Store) -> None:
    """While somebody holds its lock."""
    run, held = store.create(ASKED)
    assert table.summarise(run).state == "running"
    held.close()
    assert table.summarise(run).state == "left"


@pytest.mark.parametrize("damage", ["no file", "empty", "text", "pages", "closed"])
def test_a_damaged_run_is_a_state_not_an_error(store: Store, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad journal does not hide the other runs."""
    run = made(store, *(end(number, out=b"x" * 500) for number in range(1, 200)))
    path = run.path / "journal.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if damage == "no file":
        path.unlink()
    elif damage == "closed":

        def refuse(run: Run) -> Journal:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Run, "journal", refuse)
    elif damage == "pages":
        path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    else:
        path.write_bytes(b"" if damage == "empty" else b"not a database, but text" * 1000)
    found = table.summarise(run)
    assert (found.state, found.ok, found.id) == ("damaged", 0, run.id)


def test_a_template_given_as_a_list(store: Store) -> None:
    """Is shown as one line."""
    assert table.summarise(made(store, template=["echo", "a b", "{}"])).template == "echo a b {}"


# -- the table of runs ---------------------------------------------------------------------------------------------------

LISTED = [
    line(template="gzip -9 -k {} --some-long-option=that-goes-on --and=on --and=on --until=nobody --can=read-it"),
    line(
        "7f3b00aa",
        template="convert \x1b[31m{}\n{/.}.jpg",
        ok=2_000_000,
        failed=1234,
        left=56_789,
        took=4000,
        state="left",
    ),
    line("mine", named=True, template="漢字" * 50, ok=0, failed=0, took=0, state="damaged"),
    line("c0ffee00", template="", state="running"),
]


def listed(lines: list[table.RunLine], width: int, *, now: float = NOON) -> list[str]:
    """The table of these runs; the n-th takes 10 MiB to the power of n - 1."""
    sizes = [(10 << 20) ** n for n in range(len(lines))]
    return list(table.list_lines(lines, width, short_ids([one.id for one in lines]), sizes, now))


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits(width: int) -> None:
    """No line is wider than the terminal, nothing moves its cursor, and what is cut says so."""
    lines = listed(LISTED, width)
    assert len(lines) == 5
    assert all(cells(text) <= width and text.isprintable() for text in lines)
    assert max(map(cells, lines)) >= width - 1
    assert lines[1].endswith("…")
    assert ("SIZE" in lines[0]) is (width == 120)


def test_the_list_lines_up() -> None:
    """Numbers to the right, words to the left, as narrow as they can be; ids as short as they can be told apart."""
    assert listed([LISTED[0], LISTED[2]], 90) == [
        "ID    WHEN            OK  FAILED  LEFT    TOOK      SIZE  STATE     WHAT",
        "7f3a  11-20 22:31  1,997       3     0  12.1 s       1 B  complete  gzip -9 -k {} --some-…",
        "mine  11-20 22:31      0       0     0       -  10.0 MiB  damaged   漢字漢字漢字漢字漢字…",
    ]
    rows = listed(LISTED, 120)
    assert [row.split()[0] for row in rows[1:]] == ["7f3a", "7f3b", "mine", "c0ff"]
    assert {
        row.index(word) for row, word in zip(rows, ["STATE", "complete", "left", "damaged", "running"], strict=True)
    } == {rows[0].index("STATE")}


def test_runs_of_another_year_say_so() -> None:
    """The others tell the time of the day instead."""
    assert listed(LISTED[:1], 120, now=NOON + 86400 * 99)[1].startswith("7f3a  2026-11-20  ")


def test_an_id_is_never_cut() -> None:
    """A name has to be typed, however short; the command keeps a few columns all the same."""
    [_, row] = listed([line("nightly-2026-11-20-of-everything", named=True)], 80)
    assert row.startswith("nightly-2026-11-20-of-everything  ")
    assert row.endswith("  gzip …")
    assert listed([line("nightly", named=True), line("deadbeef", named=True)], 80)[1:][0].startswith("nightly  ")
    assert listed([line("deadbeef", named=True), line("deadbee0")], 80)[1].startswith("deadbeef  ")


# -- the table of jobs ---------------------------------------------------------------------------------------------------


def rows(journal: Journal, width: int = 80) -> list[str]:
    return list(table.job_lines(journal.records(), width))


def test_the_jobs_of_a_run(journal: Journal) -> None:
    """How each ended: its status, its exit status or signal, tries, time, memory, input."""
    fill(
        journal,
        end(1, wall=0.25, max_rss=3 << 20),
        end(2, Status.FAILED, tries=2, wall=3599),
        end(3, Status.FAILED, exit=None, signal=9),
        end(4, Status.TIMEOUT, signal=15),
        end(5, Status.LOST, final=False),
        end(6, Status.CANCELLED),
        end(7, Status.FAILED, final=False),
    )
    journal.began(Attempt(Job(8, b"k", (b"a", b"b")), 1, ()))
    journal.commit()
    assert rows(journal) == [
        "    JOB  STATUS       EXIT  TRIES         WALL    MEMORY  INPUT",
        "      1  ok              0      1        0.2 s   3.0 MiB  in1",
        "      2  failed          3      2  59 min 59 s         -  in2",
        "      3  failed       KILL      1        0.0 s         -  in3",
        "      4  timeout      TERM      1        0.0 s         -  in4",
        "      5  lost                   1        0.0 s         -  in5",
        "      6  cancelled              1        0.0 s         -  in6",
        "      7  left            3      1        0.0 s         -  in7",
        "      8  left                   1                         a b",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_the_jobs_fit(journal: Journal, width: int) -> None:
    """Whatever the inputs are: long, wide, or made to harm the terminal."""
    fill(journal, end(1, Status.OK, b"long " * 99), end(2, Status.OK, "漢字".encode() * 99), end(3, Status.OK, EVIL))
    found = rows(journal, width)
    assert all(cells(row) <= width and row.isprintable() for row in found)
    assert max(map(cells, found)) == width


@given(st.binary(), st.integers(60, 200))
def test_no_input_can_harm_a_table(value: bytes, width: int) -> None:
    """Any bytes: one printable line."""
    outcome = end(1, Status.OK, value)
    found = list(table.job_lines(iter([JobRecord(outcome.attempt.job, 1, outcome)]), width))
    assert len(found) == 2
    assert not set(found[1]) & {"\x1b", "\n", "\r", "\x9b", "\x07", "\u202e", "\x00"}
    found[1].encode()  # no lone surrogate that could not be printed


def test_only_what_is_not_well(journal: Journal) -> None:
    """Failed, timed out or lost."""
    statuses = [Status.OK, Status.FAILED, Status.TIMEOUT, Status.LOST, Status.CANCELLED]
    fill(journal, *(end(number, status) for number, status in enumerate(statuses, 1)))
    assert [one.job.number for one in table.chosen(journal, failed=True)] == [2, 3, 4]
    assert [one.job.number for one in table.chosen(journal, failed=False)] == [1, 2, 3, 4, 5]


def first_chosen(journal: Journal, most: int = table.MOST) -> list[JobRecord]:
    first = table.FirstChosen(most)
    for record in journal.records():
        first.add(record)
    return list(first.records())


def test_a_short_run_is_shown_by_number(journal: Journal) -> None:
    """All of it, when all of it fits."""
    fill(journal, end(3), end(2, Status.FAILED), end(1))
    assert [one.job.number for one in first_chosen(journal, 3)] == [1, 2, 3]


def test_of_a_long_run_what_failed_is_shown_first(journal: Journal) -> None:
    """A single failure among many is not lost below the end of the table; then come the others, by number."""
    fill(journal, *(end(number, Status.FAILED if number in (5, 90) else Status.OK) for number in range(1, 100)))
    found = [one.job.number for one in first_chosen(journal)]
    assert found == [5, 90, 1, 2, 3, 4, *range(6, table.MOST)]
    assert len(found) == table.MOST


def test_memory_does_not_grow_with_the_jobs(tmp_path: Path) -> None:
    """20,000 jobs that printed 2 kB each, 40 MB in the journal, are tabled in less than 4 MB."""
    with closing(Journal.create(tmp_path / "big.db")) as journal:
        fill(journal, *(end(number, out=b"x" * 2000) for number in range(1, 20_001)))
        tracemalloc.start()
        try:
            assert sum(1 for _ in table.job_lines(table.chosen(journal, failed=False), 80)) == 20_001
            assert len(first_chosen(journal)) == table.MOST
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


# -- one job in full -----------------------------------------------------------------------------------------------------


def in_full(outcome: Outcome, *attempts: Outcome, whole: bool = False, command: str = "cmd 'in 1'") -> list[str]:
    job = outcome.attempt.job
    return list(
        table.one_job(JobRecord(job, outcome.attempt.number, outcome), attempts or [outcome], command, whole=whole)
    )


def test_a_job_in_full() -> None:
    """Every attempt, when, where, what it cost, what it left behind, and what the last one printed."""
    first = end(
        1, Status.FAILED, b"in 1", exit=None, signal=9, started=NOON, wall=1.5, user=0.5, max_rss=1536, final=False
    )
    last = end(1, Status.FAILED, b"in 1", out=b"x\n", err=b"oh no", tries=2, started=NOON + 60, slot=4, leftovers=2)
    assert in_full(last, first, last) == [
        "job      1",
        "input    in 1",
        "command  cmd 'in 1'",
        "attempt  1 was ended by SIGKILL, 2026-11-20 22:31:05, slot 1",
        "         1.5 s of time, 0.5 s of user and 0.0 s of system CPU, 1.5 KiB of memory at most",
        "attempt  2 failed with exit status 3, 2026-11-20 22:32:05, slot 4",
        "         0.0 s of time, 0.0 s of user and 0.0 s of system CPU, memory not known",
        "         it left 2 processes behind, which were stopped",
        "stdout   2 bytes",
        "  x",
        "stderr   5 bytes",
        "  oh no",
    ]


def test_a_job_that_never_began_has_no_slot_and_no_time() -> None:
    """Nothing is said that is not known."""
    assert in_full(end(1, Status.CANCELLED, started=None, slot=0))[3] == "attempt  1 was not begun"


def test_a_job_that_has_not_ended() -> None:
    """Its earlier attempts are shown, and that another one was begun."""
    first = end(1, Status.FAILED, final=False)
    found = list(table.one_job(JobRecord(first.attempt.job, 2, None), [first], "cmd", whole=False))
    assert found[3].startswith("attempt  1 failed with exit status 3")
    assert found[-1] == "attempt  2 has not ended"


def test_the_end_of_the_output_or_all_of_it() -> None:
    """The last ten lines, and it says so when there are more; ``whole`` gives every line."""
    ten, more = (b"".join(b"%d\n" % number for number in range(count)) for count in (10, 12))
    assert in_full(end(1, out=ten))[5:] == ["stdout   20 bytes", *(f"  {n}" for n in range(10))]
    assert in_full(end(1, out=more))[5:] == ["stdout   26 bytes, the last 10 lines", *(f"  {n}" for n in range(2, 12))]
    assert in_full(end(1, out=more), whole=True)[5:] == ["stdout   26 bytes", *(f"  {n}" for n in range(12))]


def test_one_endless_line_is_cut_and_says_so(tmp_path: Path) -> None:
    """Its beginning is left out, so it is not shown as if it were all."""
    path = tmp_path / "out"
    path.write_bytes(b"a" * 70_000)
    title, text = in_full(end(1, stdout=Output(b"", str(path), 70_000)))[5:]
    assert title == f"stdout   70,000 bytes, in {path}, the last 1 lines"
    assert len(text) == 2 + (1 << 16)


def test_dropped_output_is_told(tmp_path: Path) -> None:
    """How much was written and how much of it the cap cut."""
    path = tmp_path / "out"
    path.write_bytes(b"abc\n")
    found = in_full(end(1, stdout=Output(b"", str(path), 1_234_567, 1_234_563)))
    assert found[5:] == [f"stdout   1,234,567 bytes, 1,234,563 dropped, in {path}", "  abc"]


@pytest.mark.parametrize("whole", [False, True])
def test_removed_output_does_not_end_the_table(whole: bool) -> None:
    """It is told instead, and the other stream is shown."""
    found = in_full(end(1, stdout=Output(b"", "/nowhere/\udcff", 5), err=b"here"), whole=whole)
    told = next(text for text in found if "is gone" in text)
    assert told.startswith("stdout   5 bytes: the output kept in /nowhere/\\xff is gone")
    assert found[-2:] == ["stderr   4 bytes", "  here"]


@pytest.mark.parametrize("whole", [False, True])
def test_no_output_can_harm_the_terminal(whole: bool) -> None:
    """Escape sequences, controls, stray bytes in input, command, reason and output are shown, not sent."""
    evil = os.fsdecode(EVIL)
    found = in_full(end(1, Status.FAILED, EVIL, out=EVIL, err=EVIL, error=evil), whole=whole, command="cmd \x1b[2J")
    for text in found:
        assert not set(text) & {"\x1b", "\r", "\x9b", "\u202e"}
        text.encode()
    assert "command  cmd ^[[2J" in found
    assert "  b" in found


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xff", b"long" * 10])).map(b"".join), st.integers(1, 7))
def test_output_is_cut_into_lines_like_bytes(data: bytes, block: int) -> None:
    """Wherever the blocks of the file end, the lines are those of `bytes.splitlines`."""
    pieces = [data[at : at + block] for at in range(0, len(data), block)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Output, "chunks", lambda _: iter(pieces))
        assert list(table.output_lines(NOTHING)) == data.splitlines()


def test_large_output_is_not_held(tmp_path: Path) -> None:
    """16 MB of lines pass through in less than 4 MB."""
    path = tmp_path / "out"
    path.write_bytes((b"x" * 99 + b"\n") * 160_000)
    tracemalloc.start()
    try:
        count = sum(1 for _ in table.printed("stdout", Output(b"", str(path), path.stat().st_size), whole=True))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert count == 1 + 160_000


# -- the header ----------------------------------------------------------------------------------------------------------


def test_what_a_run_is(store: Store) -> None:
    """Id and state, command, when and how long, where, and what it came to; harmless."""
    found = list(table.header(made(store), line(template="x \x1b[2J\n", left=1), "/data/\udcff"))
    assert found[1:] == [
        "command  x ^[[2J␤",
        "when     2026-11-20 22:31:05, took 12.1 s",
        "where    /data/\\xff",
        "jobs     1,997 ok, 3 failed, 1 left",
    ]
    assert found[0].endswith("(complete)")


@pytest.mark.parametrize("terminal", [False, True])
def test_colours_of_what_was_printed(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal they pass, and end with their line; everything else is shown."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    _, line = table.printed("stdout", Output(b"\x1b[31mred\x1b[2J\n", None, 12, 0), whole=True)
    assert line == ("  \x1b[31mred^[[2J\x1b[0m" if terminal else "  ^[[31mred^[[2J")
