"""A signal is obeyed for the job that it is meant for, in whatever order the two sides come."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from manyhands.backends.workers.shared_page import Entry, Page

THIS, NEXT = (7, 1), (8, 1)


@pytest.fixture
def sides() -> Iterator[tuple[Entry, Entry]]:
    """The coordinator's and the worker's."""
    page = Page(3)
    coordinator, worker = page.entry(2), Entry.there(page.file, 2)
    yield coordinator, worker
    worker.release()
    page.close()
    page.close()


def test_a_stop_while_the_job_is_being_done(sides: tuple[Entry, Entry]) -> None:
    """The signal is for it; it is known afterwards, too, because a KILL may follow."""
    coordinator, worker = sides
    assert not worker.begin(THIS)
    coordinator.request_stop(THIS)
    assert coordinator.is_doing(THIS)
    assert worker.signalled()
    worker.rest()
    assert worker.stop_requested()


def test_a_stop_that_comes_between_or_in_the_next_job(sides: tuple[Entry, Entry]) -> None:
    """It is for nothing that is there."""
    coordinator, worker = sides
    worker.begin(THIS)
    coordinator.request_stop(THIS)
    worker.rest()
    assert not coordinator.is_doing(THIS)
    assert not worker.signalled()
    coordinator.request_stop((7, 2))
    assert not worker.begin(NEXT)
    assert not worker.signalled()


def test_a_stop_before_the_job_has_begun(sides: tuple[Entry, Entry]) -> None:
    """Its signal may come before, when there is nothing to stop: the job is not begun."""
    coordinator, worker = sides
    coordinator.request_stop(NEXT)
    assert not worker.signalled()
    assert worker.begin(NEXT)


def test_a_signal_of_somebody_else(sides: tuple[Entry, Entry]) -> None:
    """It means this process, whatever it does; also after one of ours, and when ours was found without its signal."""
    coordinator, worker = sides
    assert worker.signalled()
    worker.begin(THIS)
    assert worker.signalled()
    coordinator.request_stop(THIS)
    assert worker.signalled()
    assert worker.signalled()


def test_the_job_of_a_death(sides: tuple[Entry, Entry]) -> None:
    """The last one that was begun, also when its call is over: its end is being noted then."""
    coordinator, worker = sides
    assert not coordinator.has_begun(THIS)
    worker.begin(THIS)
    assert coordinator.has_begun(THIS)
    worker.rest()
    assert coordinator.has_begun(THIS)
    assert not coordinator.is_doing(THIS)
    worker.begin(NEXT)
    assert not coordinator.has_begun(THIS)


def test_a_request_to_return_jobs(sides: tuple[Entry, Entry]) -> None:
    """It is seen until its message was read, each time."""
    coordinator, worker = sides
    for _ in range(2):
        assert not worker.drop_requested()
        coordinator.request_drop()
        assert worker.drop_requested()
        worker.dropped()
    assert not worker.drop_requested()


def test_a_new_worker_finds_an_empty_place() -> None:
    """What was meant for a job of the one before is not there any more; no descriptor is left."""
    count = len(os.listdir("/dev/fd"))
    page = Page(2)
    page.entry(1).request_stop(THIS)
    assert not page.entry(1).begin(THIS)
    page.close()
    assert len(os.listdir("/dev/fd")) == count
