"""The events of a run, which the engine yields: a stream of small frozen records.

Renderers, the JSON writer and library users see only these; a `Finished` is yielded after its row is in the journal. Events of single
jobs are NamedTuples, which are made in a third of a frozen dataclass's time.
"""

from __future__ import annotations

from typing import Final

from manyhands.core.job import Attempt, Outcome, Output, Status
from manyhands.core.lean import NamedTuple
from manyhands.core.records import dataclass, field


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run is open and its lock is held; nothing has begun yet. ``total`` is None while the inputs are not counted."""

    run: str
    template: str
    jobs: int
    total: int | None = None
    done_before: int = 0
    """Jobs that an earlier execution of this run has finished."""


@dataclass(frozen=True, slots=True)
class Counted:
    """All inputs have been read: the run has ``total`` jobs."""

    total: int


class Began(NamedTuple):
    """An attempt has begun on ``slot``; ``at`` is in seconds of the engine's monotonic clock."""

    attempt: Attempt
    at: float
    slot: int
    pid: int
    stage: int = 1
    host: str | None = None
    """The other host that it runs on; None: this machine."""


class Finished(NamedTuple):
    """A job (``outcome.final``) or one attempt of it (a retry follows after ``retry_in`` seconds) is over and recorded."""

    outcome: Outcome
    retry_in: float | None = None
    stage: int = 1
    """Of a line of several stages; what went well at any but the last is not final."""


class Printed(NamedTuple):
    """A job that still runs has printed so much more. Only somebody who reads its files yields this, never the engine."""

    attempt: Attempt
    stdout: Output
    stderr: Output
    stage: int = 1


class Held(NamedTuple):
    """A job is over and recorded, but reported (`Finished`) only after those before it."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened for a moment: a chance to redraw."""

    at: float
    running: int


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that the user should know, other than a failed job; shown once. ``requested``: see `manyhands.backends.protocol.Noted`."""

    text: str
    requested: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a run. ``left``: the number of jobs that were read but not done; ``unread``: whether inputs may remain unread."""

    run: str
    counts: dict[Status, int] = field(default_factory=dict)
    left: int = 0
    unread: bool = False
    wall: float = 0.0
    work: float = 0.0
    """Seconds of wall time of all attempts, added up."""
    stopped_by: int | None = None
    """The signal that ended the run early."""
    halted: str | None = None
    """The halt rule that ended it early."""
    total: int | None = None
    """Jobs of the run, including unread ones; None while that is not known."""
    done_before: int = 0
    """Jobs of ``counts`` that an earlier execution has done."""
    early: bool = False
    """It was asked to begin nothing more."""

    @property
    def jobs(self) -> int:
        """Jobs that have a final status, this time or earlier."""
        return sum(self.counts.values())

    @property
    def not_run(self) -> int | None:
        """Jobs that have no final status; None if not all inputs were counted."""
        if self.total is not None:
            return max(self.left, self.total - self.jobs)
        return None if self.unread else self.left


Event = RunStarted | Counted | Began | Printed | Held | Finished | Tick | Warned | Summary

HAPPENINGS: Final = frozenset({RunStarted, Counted, Began, Held, Finished, Warned, Summary})
"""All kinds of events but Tick, which reports nothing: it only lets the caller do something else for a moment."""
