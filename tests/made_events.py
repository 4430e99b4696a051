"""Events made by hand, as the engine would tell them, for the tests of whatever shows a run."""

from __future__ import annotations

from typing import Any

from manyhands.core.events import Began, Finished
from manyhands.core.job import NOTHING, Attempt, Ending, Job, Outcome, Output, Status


def attempt(number: int, *values: bytes, tries: int = 1) -> Attempt:
    """Attempt ``tries`` of ``cmd VALUES``; the value is ``inN`` if none is given."""
    values = values or (b"in%d" % number,)
    return Attempt(Job(number, b"key%d" % number, values), tries, (b"cmd", *values))


def printed(data: bytes) -> Output:
    """What a job printed, small enough to be held in memory."""
    return Output(data, size=len(data)) if data else NOTHING


def end(
    number: int,
    status: Status = Status.OK,
    *values: bytes,
    out: bytes = b"",
    err: bytes = b"",
    tries: int = 1,
    **more: Any,
) -> Outcome:
    """How a job ended; one that failed, with exit status 3."""
    exit = {Status.OK: 0, Status.FAILED: 3}.get(status)
    fields = {"exit": exit, "stdout": printed(out), "stderr": printed(err), "slot": 1, "started": 1e9, **more}
    final = bool(fields.pop("final", True))
    return Outcome(attempt(number, *values, tries=tries), status, Ending(**fields), final)


def told(number: int, status: Status = Status.OK, *values: bytes, retry_in: float | None = None, **more: Any) -> Finished:
    """The event of such an end."""
    return Finished(end(number, status, *values, final=retry_in is None, **more), retry_in)


def began(
    number: int, at: float, *values: bytes, tries: int = 1, slot: int | None = None, host: str | None = None
) -> Began:
    """The event of a beginning; its pid is 1000 and the job's number, its slot a number of its own if none is given."""
    return Began(attempt(number, *values, tries=tries), at, slot or number, 1000 + number, host=host)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time
