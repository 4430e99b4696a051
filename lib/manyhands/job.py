"""The plain records that travel through the program: a job, an attempt at it, how that ended.

Kept free of behaviour and of imports, so that the engine, every backend, the journal and the renderers can share them
without knowing each other. Times called ``started`` are seconds since the epoch; durations are seconds; sizes are bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

Values = tuple[bytes, ...]
"""One input: its columns, byte-exact. Most inputs have a single one."""

Arg = bytes | tuple[bytes, ...]
"""One argument of a command; a tuple is joined by the slot number, which is only known when the attempt begins."""


class Status(StrEnum):
    """How an attempt, or a job, ended. ``LOST`` means that we do not know, and say so."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Job(NamedTuple):
    """One input to be done. ``key`` identifies it by content (see `manyhands.template.Renderer.key`)."""

    number: int
    """Position in the run, counted from 1."""
    key: bytes
    values: Values


class Attempt(NamedTuple):
    """One try of a job, counted from 1. ``argv`` is what a command backend runs."""

    job: Job
    number: int
    argv: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """What one stream of an attempt printed: ``data`` when it is small, else the file ``path`` that holds it.

    ``size`` counts the bytes the attempt wrote; ``dropped`` how many of them were cut by the output cap.
    """

    data: bytes = b""
    path: str | None = None
    size: int = 0
    dropped: int = 0


NOTHING = Output()


class Outcome(NamedTuple):
    """How an attempt ended. ``exit`` is its exit status, or None when it has none (a signal, never begun, not known)."""

    attempt: Attempt
    status: Status
    exit: int | None = None
    signal: int | None = None
    error: str | None = None
    """Why, in words, when the exit status does not say it (could not be started, given up, lost)."""
    started: float | None = None
    wall: float = 0.0
    user: float = 0.0
    system: float = 0.0
    max_rss: int = 0
    """Peak resident memory in bytes; 0: not known."""
    stdout: Output = NOTHING
    stderr: Output = NOTHING
    slot: int = 0
    """Counted from 1; 0 when it never began."""
    leftovers: int = 0
    """Processes that outlived the attempt and were stopped."""
    still_running: bool = False
    """The work could not be stopped: recorded, but still using its slot."""
    final: bool = True
    """False when another attempt of the same job follows."""
    result: bytes | None = None
    """What a function returned, as JSON text; None for commands, and when it did not return."""
    traceback: str | None = None
    """Where an exception of a function came from."""

    @property
    def value(self) -> Any:
        """What a function returned, as JSON gives it back; None when there is no result."""
        return None if self.result is None else json.loads(self.result)
