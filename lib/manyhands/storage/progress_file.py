"""The progress of a run while it is going on, as a file for other processes.

    engine --once a second--> RUN/standing.json --read--> batch.show, batch.list

Separate from the journal: there an attempt that is only queued at a backend has begun, too, although it is not running yet. Nothing
depends on this file: it is not synchronised, and an outdated one still says how many jobs there are.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from heapq import nsmallest
from pathlib import Path
from typing import Any, Final, Protocol

from manyhands.core.encoding import keep_bytes, kept_bytes
from manyhands.core.events import Began
from manyhands.core.job import Output, Values
from manyhands.core.lean import NamedTuple
from manyhands.core.records import dataclass
from manyhands.posix import linux

EVERY: Final = 1.0
"""Seconds between two writes at least, and before the first one."""
_NAME: Final = "standing.json"
_MOST: Final = 500
"""Attempts that are listed: the longest-running ones."""
_LONGEST: Final = 400
"""Bytes of each input value that are written."""
_LARGEST: Final = 1 << 22


class Going(NamedTuple):
    """An attempt that runs; ``since``: when it began, in seconds since the epoch."""

    job: int
    attempt: int
    values: Values
    since: float
    slot: int
    pid: int
    host: str | None = None

    @property
    def may_run(self) -> bool:
        """Whether its process is there, or cannot be looked for. If not, its slot may be another's, and what was read of it before, too."""
        return (
            self.host is not None
            or not self.pid
            or linux.read_stat(self.pid) is not None
            or not os.path.isdir("/proc/self")
        )

    def printed(self, outputs: Path) -> tuple[Output, Output]:
        """Its stdout and stderr so far, as far as they are in the files of its slot: it counts if the attempt `may_run` after it was read."""
        if not self.may_run:
            return Output(), Output()
        return _printed(outputs / f".slot-{self.slot}.out"), _printed(outputs / f".slot-{self.slot}.err")


@dataclass(frozen=True, slots=True)
class RunProgress:
    """``at``, ``started``, ``next_retry``: seconds since the epoch; ``started``: when this execution began. ``going``: how many
    attempts run, of which ``named`` are the longest-running ones. ``total``: jobs of the run; None while that is not known."""

    at: float
    started: float
    total: int | None
    waiting: int
    next_retry: float | None
    going: int
    named: tuple[Going, ...]
    paused: bool = False
    """Whether all that runs is suspended."""
    jobs: int | None = None
    """How many attempts may run at once now; None in a file of an earlier version."""


class Waiting(Protocol):
    """Jobs that wait for a retry (`manyhands.engine.in_flight.Retries`)."""

    def __len__(self) -> int: ...
    @property
    def next(self) -> float | None: ...


class Standing(NamedTuple):
    """How an execution stands: what runs, what waits for a retry, how many jobs the run has, as far as that is known, whether all is
    suspended, and how many attempts may run at once."""

    running: list[Began]
    waiting: Waiting
    total: int | None
    paused: bool
    jobs: int


class Keeper:
    """Writes the file of one execution. ``clock`` is the engine's."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._path, self._clock = folder / _NAME, clock
        self._started, self._next = time.time(), clock() + EVERY

    def look(self, standing: Callable[[], Standing]) -> None:
        """Write the progress of the run, if it is time. Errors in writing are ignored."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY
        with suppress(OSError):
            self._write(_record(standing(), now, self._started))

    def close(self) -> None:
        """Remove the file: the execution is over, and the journal has everything."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self, record: dict[str, Any]) -> None:
        fresh = self._path.with_suffix(".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(file, "w") as text:
            json.dump(record, text)
        fresh.rename(self._path)


def _record(stands: Standing, now: float, started: float) -> dict[str, Any]:
    """The content of the file; moments of the engine's clock become seconds since the epoch."""
    at, running, waiting = time.time(), stands.running, stands.waiting
    return {
        "at": at,
        "started": started,
        "total": stands.total,
        "paused": stands.paused,
        "jobs": stands.jobs,
        "waiting": len(waiting),
        "next_retry": None if waiting.next is None else at + waiting.next - now,
        "going": len(running),
        "named": [
            [
                one.attempt.job.number,
                one.attempt.number,
                [keep_bytes(value[:_LONGEST]) for value in one.attempt.job.values],
                at + one.at - now,
                one.slot,
                one.pid,
                one.host,
            ]
            for one in nsmallest(_MOST, running, key=lambda one: one.at)
        ],
    }


def read(folder: Path) -> RunProgress | None:
    """The progress of the run in ``folder`` when it was last written; None if there is no valid file."""
    try:
        with open(os.open(folder / _NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            record = json.loads(file.read(_LARGEST))
        named = tuple(
            Going(int(job), int(attempt), tuple(map(kept_bytes, values)), float(since), int(slot), int(pid), host)
            for job, attempt, values, since, slot, pid, host in record.pop("named")
        )
        found = RunProgress(named=named, **record)
        return found if all(isinstance(one, int | float) for one in (found.at, found.started, found.going)) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _printed(path: Path) -> Output:
    try:
        size = path.stat().st_size
    except OSError:  # it is in memory, or the job has just ended
        return Output()
    return Output(b"", str(path), size) if size else Output()
