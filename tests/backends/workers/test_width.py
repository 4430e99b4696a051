"""A machine without room for more workers lowers their number, with one warning; without any the run ends."""

from __future__ import annotations

import pytest

from manyhands.backends.workers.width import Width
from manyhands.core.errors import ManyhandsError


def test_fewer_workers_are_noted_once() -> None:
    """With the reason, and how many there are of how many."""
    width = Width(8)
    assert [note.text for note in width.no_more("no descriptors", 3)] == [
        "no descriptors: continuing with 3 of 8 workers"
    ]
    assert (width.no_more("no descriptors", 2), width.workers) == ([], 2)


def test_without_a_worker_it_is_tried_again_and_then_given_up() -> None:
    """Somebody else may make room meanwhile."""
    width = Width(8)
    assert width.no_more("no", 0) == width.no_more("no", 0) == []
    with pytest.raises(ManyhandsError, match=r"^no$"):
        width.no_more("no", 0)
    assert width.workers == 8


def test_three_deaths_in_a_row_count_as_no_room() -> None:
    """One that takes jobs in between begins the count anew."""
    width = Width(4)
    width.died("exit status 1", 2)
    width.died("exit status 1", 2)
    width.began()
    assert (width.died("exit status 1", 2), width.died("exit status 1", 2), width.workers) == ([], [], 4)
    assert "continuing with 2 of 4" in width.died("exit status 1", 2)[0].text
    with pytest.raises(ManyhandsError, match="giving up"):
        width.died("exit status 1", 0)
