"""What an engine is told while it goes on: to finish, to stop one job, to run more or fewer at once, to halt by another rule."""

from __future__ import annotations

import pytest

from engine.test_loop import Run
from manyhands.backends.fake import Fake, Play
from manyhands.core.events import Finished
from manyhands.core.job import Status
from manyhands.core.limits import Halt


def after(run: Run, ends: int) -> None:
    """Iterate until so many jobs have ended."""
    events = run.engine.run()
    run.events = []
    while sum(isinstance(event, Finished) for event in run.events) < ends:
        run.events.append(next(events))
    run.rest = events  # type: ignore[attr-defined]


def go_on(run: Run) -> None:
    run.events += list(run.rest)  # type: ignore[attr-defined]


def test_it_finishes_what_runs_and_begins_no_more() -> None:
    """What was not begun is left, and the summary says why; it is no stop by a signal."""
    run = Run(9)
    after(run, 2)
    run.engine.finish()
    go_on(run)
    assert (run.summary.early, run.summary.stopped_by, run.summary.halted) == (True, None, None)
    assert run.summary.not_run
    assert set(run.summary.counts) == {Status.OK}
    assert run.summary.counts[Status.OK] + run.summary.not_run == 9


def test_one_job_is_stopped_and_left_for_a_resume() -> None:
    """It is not retried; the others go on."""
    run = Run(4, lambda attempt: Play(wall=50.0 if attempt.job.number == 1 else 1.0), retries=3)
    after(run, 1)
    assert run.engine.stop_job(1)
    assert not run.engine.stop_job(2)  # it has ended
    assert not run.engine.stop_job(99)
    go_on(run)
    assert run.statuses() == {1: Status.CANCELLED, 2: Status.OK, 3: Status.OK, 4: Status.OK}
    assert (run.summary.left, run.summary.early) == (1, False)


@pytest.mark.parametrize(("asked", "most"), [(1, 1), (2, 2), (7, 4)])
def test_fewer_or_more_at_once(asked: int, most: int) -> None:
    """Never more than the backend has slots, if it cannot get more; nothing that runs is stopped for that."""
    run = Run(12, jobs=4)
    after(run, 1)
    assert run.engine.set_jobs(asked) == most
    running = 0
    for event in run.rest:  # type: ignore[attr-defined]
        run.events.append(event)
        running = max(running, len(run.engine.standing().running)) if len(run.outcomes) > 4 else running
    assert running <= most
    assert run.summary.counts == {Status.OK: 12}


class Stretching(Fake):
    """A fake that can get more slots."""

    def grow(self, slots: int) -> int:
        self._free = [*range(slots, 2, -1), *self._free]
        return slots


def test_a_backend_that_can_grow_does() -> None:
    run = Run(12, fake=Stretching(2, lambda _: Play(wall=1.0)))
    after(run, 2)
    assert run.engine.set_jobs(10) == 10
    go_on(run)
    assert run.summary.wall == pytest.approx(2.0)


@pytest.mark.parametrize(("rule", "done"), [("now,success=2", 2), ("soon,fail=1", 9), ("never", 9)])
def test_another_rule_counts_what_has_ended(rule: str, done: int) -> None:
    """It may be met at once."""
    run = Run(9, jobs=1)
    after(run, 2)
    run.engine.set_halt(Halt.parse(rule))
    go_on(run)
    assert run.summary.counts[Status.OK] == done
    assert run.summary.halted == (rule if done < 9 else None)
