"""``--shard K/N``: how it is written, and what run.json keeps of it."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import JournalError, UsageError
from manyhands.work.shard import Shard, numbers_of, text_of


@pytest.mark.parametrize(
    "text", ["4/3", "0/3", "x/y", "1/0", "2", "", "1/2/3", "-1/3", "1/ 3", "\u0661/\u0663", "1/20000", "auto"]
)
def test_what_is_no_part(text: str) -> None:
    """Is refused with one line that shows how it is written."""
    with pytest.raises(UsageError, match="such as 2/4") as caught:
        Shard.parse(text, {})
    assert "\n" not in str(caught.value)


def test_auto() -> None:
    """GitLab and Azure say which of several equal jobs this is; what they say is checked like what is typed."""
    assert str(Shard.parse("auto", {"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "5"})) == "2/5"
    assert str(Shard.parse("auto", {"SYSTEM_JOBPOSITIONINPHASE": "1", "SYSTEM_TOTALJOBSINPHASE": "3"})) == "1/3"
    with pytest.raises(UsageError, match="'7/5'"):
        Shard.parse("auto", {"CI_NODE_INDEX": "7", "CI_NODE_TOTAL": "5"})


@given(st.sets(st.integers(1, 60)).map(sorted))
def test_numbers_as_text(numbers: list[int]) -> None:
    """Are read back."""
    assert list(numbers_of(text_of(numbers))) == numbers


def test_the_text_is_short() -> None:
    """Neighbours are one word."""
    assert text_of([1, 4, 5, 6, 9]) == "1 4-6 9"


@given(st.integers(1, 9), st.integers(0, 50))
def test_turns_divide_all_jobs(count: int, total: int) -> None:
    """Every job is in one part, and no part has two jobs more than another."""
    parts = [[*Shard(index, count, total).jobs] for index in range(1, count + 1)]
    assert sorted(chain.from_iterable(parts)) == list(range(1, total + 1))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_part_without_jobs() -> None:
    """Has none, also where jobs were divided by their times."""
    assert [*Shard(2, 3, 1).jobs] == []
    assert [*Shard(2, 3, 1, times="ab").jobs] == []


def test_it_is_read_back() -> None:
    """From run.json; what cannot be meant is damage."""
    shard = Shard(2, 3, 7, "ab", "cd", "1 4-6")
    assert Shard.from_json(shard.to_json()) == shard
    for changes in ({"index": 4}, {"count": "3"}, {"total": -1}, {"times": 1}, {"total": True}):
        with pytest.raises(JournalError):
            Shard.from_json(shard.to_json() | changes)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (Shard(2, 3, 7, "ab", "cd"), None),
        (Shard(1, 3, 7, "ab", "cd"), "is shard 1/3, this is 2/3"),
        (Shard(2, 4, 7, "ab", "cd"), "is shard 2/4, this is 2/3"),
        (Shard(2, 3, 8, "xx", "cd"), "was divided from other inputs"),
        (Shard(2, 3, 7, "ab"), "was divided by another file of"),
    ],
)
def test_what_is_another_part(other: Shard, why: str | None) -> None:
    """Which of K, N, the inputs and the times differs is said."""
    found = Shard(2, 3, 7, "ab", "cd").difference(other)
    assert (found or "").startswith(why or "") and bool(found) == bool(why)
