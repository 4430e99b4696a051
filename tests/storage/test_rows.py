"""The checksum of a row is one number, however large its values are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from marshal import dumps
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.job import NOTHING, Attempt, Ending, Job, Outcome, Output, Status
from manyhands.storage.rows import (
    ENDED,
    DamagedRowError,
    EndedRows,
    began_row,
    check_end,
    checksum,
    checksum_of_large,
    ended_row,
    record_of,
)
from manyhands.storage.schema import make

VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())


@given(st.lists(VALUES, max_size=30).map(tuple))
def test_it_is_the_same_without_a_copy(row: tuple[Any, ...]) -> None:
    """Value by value it comes to the number of the whole row, which is in the files that there are."""
    assert checksum_of_large(row) == checksum(row) == crc32(dumps(row, 2))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_000_000])
def test_a_row_with_a_large_value_is_read_back(size: int) -> None:
    """On both sides of the size from which on nothing is copied."""
    attempt = Attempt(Job(1, b"k" * 16, (bytes(range(256)) * (size // 256) + bytes(size % 256),)), 1, ())
    outcome = Outcome(attempt, Status.OK, Ending(0, started=1.0, wall=2.0, result=b"1" * size))
    began = [bytes(one) if isinstance(one, bytearray) else one for one in began_row(attempt)]  # as SQLite gives it back
    record = record_of((*began, *ended_row(outcome)))
    assert (record.job, record.outcome) == (attempt.job, outcome)


_TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
_OUTPUTS = st.just(NOTHING) | st.builds(
    Output, st.binary(min_size=1, max_size=9), st.none() | st.just("/run/1.out"), st.integers(1, 99), st.integers(0, 9)
)
_ENDINGS = st.builds(
    Ending,
    exit=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    error=_TEXTS,
    started=st.none() | st.floats(0, 2e9) | st.integers(0, 9),
    wall=st.floats(0, 9) | st.integers(0, 9),
    user=st.floats(0, 9),
    system=st.floats(0, 9),
    max_rss=st.integers(0, 1 << 40),
    stdout=_OUTPUTS,
    stderr=_OUTPUTS,
    slot=st.integers(0, 99),
    leftovers=st.integers(0, 2),
    result=st.none() | st.binary(max_size=9) | st.just(bytes(1 << 16)),
    traceback=_TEXTS,
    still_running=st.booleans(),
    host=st.none() | st.sampled_from(["web1", "ops@h\udcff"]),
)


@given(st.lists(st.tuples(_ENDINGS, st.sampled_from(Status), st.booleans()), max_size=12))
def test_what_is_inserted_is_the_whole_row(ends: list[tuple[Ending, Status, bool]]) -> None:
    """Whichever statement is chosen for it, and in the order in which the attempts ended."""
    outcomes = [
        Outcome(Attempt(Job(number, b"k", (b"x",)), 1, ()), status, end, final)
        for number, (end, status, final) in enumerate(ends, 1)
    ]
    rows, db = EndedRows(), sqlite3.connect(":memory:", isolation_level=None)
    with closing(db):
        make(db)  # type: ignore[arg-type]  # all that it needs of a database
        for outcome in outcomes:
            rows.add(outcome)
        assert len(rows) == len(outcomes)
        for sql, some in rows.inserts:
            db.executemany(sql, some)
        found = list(db.execute(f"SELECT {', '.join(ENDED)}, sum FROM ended ORDER BY rowid"))
    assert found == [ended_row(one) for one in outcomes]
    for row in found:
        check_end(row)


@pytest.mark.parametrize("host", [None, "web1"])
def test_another_host_is_damage(host: str | None) -> None:
    """A host that was lost, put in or changed does not fit the checksum; without one, that is what an older schema has written."""
    outcome = Outcome(Attempt(Job(1, b"k", (b"x",)), 1, ()), Status.OK, Ending(0, host=host))
    *row, total = ended_row(outcome)
    check_end((*row, total))
    assert (checksum(row[:-1]) == total) is (host is None)
    for other in {None, "web1", "web2"} - {host}:
        with pytest.raises(DamagedRowError):
            check_end((*row[:-1], other, total))
