"""Separates the output of functions that share a process, job by job.

    print() --sys.stdout--> a switch --the job of this thread or task--> files of its slot
                                     --no job------------------------> where it went before

It uses a context variable, of which every thread and every asyncio task has its own. This covers output through `sys.stdout` and
`sys.stderr`; a program that the function starts, or C code, writes to the process's own descriptors.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TextIO, cast

from manyhands.backends.shared.call_function import CallResult, lost_output
from manyhands.backends.shared.captured import output_of
from manyhands.backends.shared.slot import Slot
from manyhands.core.job import NOTHING, Ending, Output


class Collected(NamedTuple):
    """The output of a job; ``problem`` if it could not be stored (a full disk)."""

    stdout: Output
    stderr: Output
    problem: OSError | ValueError | None = None

    def checked(self, done: CallResult) -> CallResult:
        """The result of the job: a success that has lost output becomes a failure."""
        return done if self.problem is None or done.exit else lost_output(self.problem)

    def ending(
        self, done: CallResult, started: float, wall: float, slot: int, cpu: tuple[float, float] = (0.0, 0.0)
    ) -> Ending:
        """How the job ended; ``cpu``: seconds that it used, (user, system)."""
        done = self.checked(done)
        user, system = cpu
        return Ending(
            exit=done.exit,
            error=done.error,
            started=started,
            wall=wall,
            user=user,
            system=system,
            stdout=self.stdout,
            stderr=self.stderr,
            slot=slot,
            result=done.result,
            traceback=done.traceback,
        )


class Aside:
    """Replaces a `Printing` outside of jobs: the output of an initializer goes to stderr, separate from results."""

    def __init__(self, stderr: TextIO) -> None:
        self._stderr = stderr

    def text(self, _: int) -> TextIO:
        """Both streams are stderr."""
        return self._stderr


class Printing:
    """The output of one job, in the files of ``slot``; a file is used only if something is printed."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._texts: list[TextIO | None] = [None, None]

    def text(self, stream: int) -> TextIO:
        """The job's stdout (0) or stderr (1)."""
        found = self._texts[stream]
        if found is None:
            file = self._slot.ready()[stream]
            found = self._texts[stream] = open(file, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - `collect` closes it
        return found

    def collect(self, name: bytes, cap: int | None) -> Collected:
        """The output of the job, which is over; the slot is ready for the next one."""
        problem: OSError | ValueError | None = None
        found = [NOTHING, NOTHING]
        for stream, text in enumerate(self._texts):
            if text is None:
                continue
            try:
                if not text.closed:  # if the job closed it, that flushed it
                    text.close()
            except (OSError, ValueError) as error:
                problem = error
            try:
                found[stream] = output_of(self._slot.collect(stream, name, cap))
            except OSError as error:
                problem = error
        if problem is not None:
            with suppress(OSError):
                self._slot.close()  # its files may be incomplete: the next job begins with new ones
        return Collected(found[0], found[1], problem)


CURRENT: Final[ContextVar[Printing | Aside | None]] = ContextVar("manyhands_printing", default=None)
"""Where the running job prints."""


class _Switch:
    """Replaces sys.stdout or sys.stderr, and passes everything on to the stream of the running job."""

    def __init__(self, stream: int, before: TextIO) -> None:
        self._stream, self._before = stream, before

    def __getattr__(self, name: str) -> Any:
        printing = CURRENT.get()
        return getattr(self._before if printing is None else printing.text(self._stream), name)


class Switched:
    """While one of these is open, the output of jobs is separated. Several share the switches, and may close in any order."""

    _mutex = threading.Lock()
    _open = 0
    _switches: tuple[TextIO, TextIO] | None = None

    def __init__(self) -> None:
        self._closed = False
        with Switched._mutex:
            Switched._open += 1
            if Switched._open == 1:
                Switched._before = sys.stdout, sys.stderr
                sys.stdout, sys.stderr = (cast("TextIO", _Switch(*one)) for one in enumerate(Switched._before))
                Switched._switches = sys.stdout, sys.stderr

    _before: tuple[TextIO, TextIO]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Send the output of this thread or task to stderr meanwhile."""
        token = CURRENT.set(Aside(Switched._before[1]))
        try:
            yield
        finally:
            CURRENT.reset(token)

    def close(self) -> None:
        """Restore the streams when all are closed; a stream that other code has replaced meanwhile is not touched."""
        with Switched._mutex:
            if self._closed:
                return
            self._closed = True
            Switched._open -= 1
            if Switched._open == 0 and Switched._switches:
                out, err = Switched._switches
                sys.stdout = Switched._before[0] if sys.stdout is out else sys.stdout
                sys.stderr = Switched._before[1] if sys.stderr is err else sys.stderr
                Switched._switches = None
