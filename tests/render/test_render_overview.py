"""Many jobs in a few lines: times in order, failures by kind."""

from __future__ import annotations

from typing import Any

from made_events import end, printed
from manyhands.core.job import Outcome, Status
from manyhands.render.overview import Overview
from manyhands.storage.rows import JobRecord

FAILED = Status.FAILED


def overview(*ends: Outcome) -> list[str]:
    found = Overview()
    for one in ends:
        found.add(JobRecord(one.attempt.job, one.attempt.number, one))
    return list(found.lines())


def failed(number: int, **more: Any) -> Outcome:
    return end(number, FAILED, wall=1.0, **more)


def test_a_few_jobs_need_no_overview() -> None:
    """Their table says it; nor does one failure."""
    assert overview(end(1, wall=1.0), failed(2)) == []


def test_times_are_in_order() -> None:
    """The shortest, the middle, nearly all, the longest and which these were."""
    ends = [end(number, wall=number / 10) for number in range(100, 0, -1)]
    assert overview(*ends) == [
        "times    0.1 s to 10.0 s, half of them within 5.0 s, 95% within 9.5 s; "
        "longest: job 100 (10.0 s), job 99 (9.9 s), job 98 (9.8 s)"
    ]
    assert overview(*(end(number, wall=0.004) for number in range(1, 1001))) == [
        "times    4.0 ms to 4.0 ms, half of them within 4.0 ms, 95% within 4.0 ms; "
        "longest: job 1 (4.0 ms), job 2 (4.0 ms), job 3 (4.0 ms)"
    ]


def test_a_thousand_equal_failures_are_one_line() -> None:
    """How many, the first of them, and what the first one said last; the most frequent kind comes first."""
    ends = [failed(number, err=b"start\nno such host \x1b[2J %d\n" % number) for number in range(3, 1003)]
    found = overview(end(1, Status.TIMEOUT, wall=2.0), *ends, end(2, Status.TIMEOUT, wall=3.0), end(2000, Status.LOST))
    assert found[1:] == [
        "failures 1,000 failed with exit status 3 (jobs 3, 4, 5, 6, 7, …): no such host ^[[2J 3",
        "             2 timed out (jobs 1, 2)",
        "             1 was lost: how it ended is not known (job 2000)",
    ]


def test_what_is_tried_again_or_never_began_does_not_count() -> None:
    """Nor what has not ended."""
    again = [failed(number, final=False) for number in range(1, 9)]
    waits = Overview()
    waits.add(JobRecord(end(1).attempt.job, 1, None))
    assert overview(*again)[1:] == []
    assert overview(*(end(number, Status.CANCELLED, started=None) for number in range(1, 9))) == []
    assert list(waits.lines()) == []


def test_kinds_are_bounded() -> None:
    """A different error in each job does not fill the screen, or the memory."""
    found = overview(*(failed(number, error=f"oh {number}") for number in range(1, 2001)))
    assert len(found) == 1 + 10 + 1
    assert found[1].startswith("failures 1,000 failed in other ways (jobs 1001,")
    assert found[-1] == "         ... and 991 other ways"
    assert overview(failed(1, stderr=printed(b"")), failed(2)) == ["failures 2 failed with exit status 3 (jobs 1, 2)"]
