"""The checksum of a row is one number, however large its values are."""

from __future__ import annotations

from marshal import dumps
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.job import Attempt, Ending, Job, Outcome, Status
from manyhands.storage.rows import began_row, checksum, checksum_of_large, ended_row, record_of

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
    record = record_of((*began_row(attempt), *ended_row(outcome)))
    assert (record.job, record.outcome) == (attempt.job, outcome)
