"""The plain records of what a backend is given and what it reports: a job, an attempt at it, and how that ended.

Separate from `manyhands.core.job`, because they travel: a site on another machine imports them with the Python that is there.
Times called ``started`` are seconds since the epoch; durations are seconds; sizes are bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final, Union

from manyhands.core.kept_file import opened
from manyhands.core.lean import NamedTuple
from manyhands.core.records import dataclass

_BLOCK: Final = 1 << 20

Values = tuple[bytes, ...]
"""One input: its columns, byte-exact. Most inputs have a single one."""

Arg = Union[bytes, tuple[bytes, ...]]
"""One argument of a command; a tuple is joined by the slot number, which is only known when the attempt begins."""


AttemptId = tuple[int, int]
"""(the number of the job, the number of the attempt)."""


class Job(NamedTuple):
    """One input to be done. ``key`` identifies it by content: a hash of the template and the input."""

    number: int
    """Position in the run, counted from 1."""
    key: bytes
    values: Values
    place: Any = None
    """Where its values are stored, if they are in a file (`manyhands.inputs.value_file.Place`)."""


class Attempt(NamedTuple):
    """One try of a job, counted from 1. ``argv`` is what a command backend runs."""

    job: Job
    number: int
    argv: tuple[Arg, ...]

    @property
    def id(self) -> AttemptId:
        """Its identity within a run."""
        return self.job.number, self.number

    @property
    def name(self) -> bytes:
        """Its identity in the names of its files: ``JOB.ATTEMPT``."""
        return b"%d.%d" % (self.job.number, self.number)


@dataclass(frozen=True, slots=True)
class Output:
    """The output of an attempt on one stream: ``data`` if it is small, else the file ``path`` that holds it.

    ``size`` counts the bytes the attempt wrote; ``dropped`` how many of them were cut by the output cap.
    """

    data: bytes = b""
    path: str | None = None
    size: int = 0
    dropped: int = 0

    def read(self, limit: int | None = None) -> bytes:
        """All of it, or its first ``limit`` bytes, wherever they are. Raises ManyhandsError if its file has been removed."""
        if self.path is None:
            return self.data[:limit]
        with opened(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            found, wanted = [], size if limit is None else min(limit, size)
            while wanted > 0 and (block := file.read(wanted)):  # one read(2) gives at most 2 GiB
                found.append(block)
                wanted -= len(block)
        return b"".join(found)

    def chunks(self) -> Iterator[bytes]:
        """The same piece by piece, of at most 1 MiB if it is in a file: memory does not grow with it."""
        if self.path is None:
            if self.data:
                yield self.data
            return
        with opened(self.path) as file:
            while block := file.read(_BLOCK):
                yield block

    @property
    def text(self) -> str:
        """All of it as text, with replacement characters for what is not UTF-8."""
        return self.read().decode("utf-8", "replace")


NOTHING = Output()


class Ending(NamedTuple):
    """How an attempt ended, as measured by its backend. All fields are optional, because not every backend can measure everything."""

    exit: int | None = None
    """The exit status; None if there is none (a signal, never begun, not known). For a function 0, or 1 if it raised."""
    signal: int | None = None
    error: str | None = None
    """The reason, if the exit status does not give it (could not be started, given up, lost)."""
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
    result: bytes | None = None
    """What a function returned, or, if it failed, the exception, in the form that the journal keeps (``value`` is the object); None for
    commands, and where there is neither."""
    traceback: str | None = None
    """The traceback of a function's exception."""
    still_running: bool = False
    """The work could not be stopped: recorded, but still using its slot."""
    host: str | None = None
    """The other host that it was given to, as it was named; None: it ran on this machine, or had not been given to any."""


NO_ENDING = Ending()
