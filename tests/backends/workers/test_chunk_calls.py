"""A chunk gives a result for each of its jobs, in their order, whatever they raise."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import forks_at_three
from manyhands import map_batch
from manyhands.backends.workers.chunk_calls import ChunkPerformer
from manyhands.work.chunks import Done, pack
from manyhands.work.function import Call

ERRORS: dict[str, type[BaseException]] = {
    "StopIteration": StopIteration,
    "KeyboardInterrupt": KeyboardInterrupt,
    "ValueError": ValueError,
}


def does(what: object) -> object:
    """Return a number, or raise what a text names."""
    if isinstance(what, str):
        raise ERRORS[what]
    return what


def performed(items: list[Any]) -> Done:
    """One chunk of these inputs."""
    performer = ChunkPerformer(Call.of(does, type="object", chunked=True), (), Path("/nowhere"))
    done: Done = pickle.loads(performer.perform(b"1.1", pack(items).values).result or b"")
    return done


@given(st.lists(st.integers() | st.sampled_from(sorted(ERRORS)), min_size=1))
def test_each_job_has_its_own_result(items: list[Any]) -> None:
    """A StopIteration ends no loop of ours, and no other exception the chunk."""
    done = performed(items)
    assert done.results == [None if isinstance(item, str) else item for item in items]
    failed = {one.place: one.error.partition(":")[0] for one in done.failures}
    assert failed == {place: item for place, item in enumerate(items) if isinstance(item, str)}


def test_an_exception_between_two_jobs_is_raised() -> None:
    """As a signal may raise one there; taken for a job's, a job would be done twice, or have the result of another."""

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not ChunkPerformer._done.__code__:
            return None
        if event == "line" and len(frame.f_locals.get("results", ())) == 2:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(KeyboardInterrupt):
            performed([1, 2, 3])
    finally:
        sys.settrace(before)


def test_the_child_of_a_job_that_forks_does_no_other_job(tmp_path: Path) -> None:
    """It returns from its job as its parent does, and ends there."""
    done = list(map_batch(forks_at_three, [(n, str(tmp_path / "ledger")) for n in range(9)], jobs=1, chunk=9))
    assert done == list(range(9))
    assert sorted((tmp_path / "ledger").read_text().split()) == sorted("012334567" + "8")
