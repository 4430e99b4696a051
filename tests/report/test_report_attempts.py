"""Attempts in columns, and how a job stands."""

from __future__ import annotations

from made_events import end
from made_histories import record, unended
from manyhands.core.job import Status
from manyhands.report.attempts import LEFT, RUNNING, STATES, Attempts, Lane, state_of


def test_an_attempt_that_runs_is_drawn_until_now() -> None:
    """One whose end is not recorded, and that nobody runs, is left, and not drawn."""
    found = Attempts(at=110.0, running=lambda number: (100.0, 3, "web1") if number == 1 else None)
    assert [found.add(unended(1)), found.add(unended(2))] == [RUNNING, LEFT]
    assert found.lanes == [Lane("web1", 1, 3)]
    assert [(bar.begin, bar.end, bar.state) for bar in found.bars()] == [(0.0, 10.0, RUNNING)]


def test_what_never_began_is_not_drawn() -> None:
    """But its state is known."""
    found = Attempts(at=0.0, running=lambda _: None)
    assert STATES[found.add(record(end(1, Status.CANCELLED, started=None)))] == "cancelled"
    assert (len(found), found.first, found.last) == (0, 0.0, 0.0)


def test_a_job_that_is_to_be_tried_again_is_left() -> None:
    """One that was lost is told as lost, although it is to be done again."""
    for status, final, state in (
        (Status.FAILED, False, "left"),
        (Status.FAILED, True, "failed"),
        (Status.LOST, False, "lost"),
    ):
        one = record(end(1, status, final=final))
        assert STATES[state_of(one, STATES.index(status.value))] == state


def test_retries_are_counted() -> None:
    """Attempts after the first, each of a job with its number."""
    found = Attempts(at=0.0, running=lambda _: None)
    for tries in (1, 2, 3):
        found.add(record(end(1, Status.FAILED, tries=tries, started=float(tries), wall=0.5)))
    assert found.retries == 2
    assert [bar.number for bar in found.bars()] == [1, 2, 3]
    assert (found.first, found.last) == (1.0, 3.5)
