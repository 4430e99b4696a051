"""Jobs and outcomes as rows of the journal's tables, and back: the one place that knows the order of the columns."""

from __future__ import annotations

import json
import os
from typing import Final, NamedTuple

from manyhands.job import NOTHING, Attempt, Job, Outcome, Output, Status, Values

LEFT: Final = (Status.LOST, Status.CANCELLED)
"""A last status that means that the job still has to be done."""


class JobRecord(NamedTuple):
    """A job as the journal knows it. ``outcome`` is None while its last attempt has not ended."""

    job: Job
    attempt: int
    outcome: Outcome | None
    stage: int = 1
    """Of a line: the last one that the job has begun."""

    @property
    def left(self) -> bool:
        """Whether the job still has to be done."""
        return self.outcome is None or not self.outcome.final or self.outcome.status in LEFT


def encode_values(values: Values) -> bytes:
    """One blob for one input: the bytes themselves when they cannot be mistaken, else ``NUL`` and a JSON list.

    No argument can hold a NUL (execve(2)), so a leading one marks the list for certain.
    """
    if len(values) == 1 and not values[0].startswith(b"\0"):
        return values[0]
    return b"\0" + json.dumps([os.fsdecode(value) for value in values]).encode("ascii")


def decode_values(blob: bytes) -> Values:
    """The inverse of `encode_values`."""
    if not blob.startswith(b"\0"):
        return (blob,)
    return tuple(os.fsencode(value) for value in json.loads(blob[1:]))


_NO_OUTPUT: Final = (None, None, None, None)


def began_row(attempt: Attempt) -> tuple[int, int, bytes, bytes]:
    """A row of `began`."""
    job = attempt.job
    return job.number, attempt.number, job.key, encode_values(job.values)


def ended_row(outcome: Outcome) -> tuple[object, ...]:
    """A row of `ended`."""
    out, err = outcome.stdout, outcome.stderr
    return (
        outcome.attempt.job.number, outcome.attempt.number, outcome.status._value_, outcome.final,
        outcome.exit, outcome.signal, _sayable(outcome.error), outcome.started, outcome.wall, outcome.user, outcome.system,
        outcome.max_rss, outcome.slot, outcome.leftovers, outcome.still_running,
        *(_NO_OUTPUT if out is NOTHING else _columns(out)),
        *(_NO_OUTPUT if err is NOTHING else _columns(err)), outcome.result, _sayable(outcome.traceback),
    )  # fmt: skip


def _sayable(text: str | None) -> str | None:
    """Text as SQLite takes it: a lone surrogate, which stands for a byte that is no UTF-8, becomes ``\\udcNN``."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _columns(printed: Output) -> tuple[bytes | None, bytes | None, int, int]:
    """An output as its four columns; the path as bytes, because it may be no text."""
    path = None if printed.path is None else os.fsencode(printed.path)
    return printed.data or None, path, printed.size, printed.dropped


def _output(data: bytes | None, path: bytes | None, size: int | None, dropped: int | None) -> Output:
    return (
        NOTHING if size is None else Output(data or b"", None if path is None else os.fsdecode(path), size, dropped or 0)
    )


def record_of(row: tuple[object, ...]) -> JobRecord:
    """A job from (job, attempt, key, input) and the columns of `ended`, which are null while it has not ended."""
    number, attempt, key, blob, *end = row
    job = Job(number, key, decode_values(blob))  # type: ignore[arg-type]  # SQLite's columns are as the schema says
    if end[2] is None:
        return JobRecord(job, attempt, None)  # type: ignore[arg-type]
    (
        _,
        _,
        status,
        final,
        exit_,
        signal,
        error,
        started,
        wall,
        user,
        system,
        max_rss,
        slot,
        leftovers,
        still,
        *outputs,
    ) = end
    outcome = Outcome(
        Attempt(job, attempt, ()), Status(status), exit_, signal, error, started, wall, user, system, max_rss,  # type: ignore[arg-type]
        _output(*outputs[:4]), _output(*outputs[4:8]), slot, leftovers, bool(still), bool(final),  # type: ignore[arg-type]
        *outputs[8:],  # type: ignore[arg-type]  # a journal of schema 1 that is only read has no more
    )  # fmt: skip
    return JobRecord(job, attempt, outcome)  # type: ignore[arg-type]
