"""What a function prints in a process that it shares with others: kept apart, job by job.

    print() --sys.stdout--> a switch --the job of this thread or task--> files of its slot
                                     --no job------------------------> where it went before

By a context variable, which every thread and every asyncio task has of its own. It reaches what goes through `sys.stdout` and
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
    """What a job has printed; ``problem`` if that could not be kept (a full disk)."""

    stdout: Output
    stderr: Output
    problem: OSError | ValueError | None = None

    def checked(self, done: CallResult) -> CallResult:
        """What came of the job: a good one that has lost output is none."""
        return done if self.problem is None or done.exit else lost_output(self.problem)

    def ending(
        self, done: CallResult, started: float, wall: float, slot: int, cpu: tuple[float, float] = (0.0, 0.0)
    ) -> Ending:
        """How the job ended; ``cpu``: seconds that it used, (user, system)."""
        done = self.checked(done)
        return Ending(
            done.exit, None, done.error, started, wall, *cpu, stdout=self.stdout, stderr=self.stderr, slot=slot,
            result=done.result, traceback=done.traceback,
        )  # fmt: skip


class Aside:
    """Stands for a `Printing` while nothing is a job's: what an initializer prints goes to stderr, away from results."""

    def __init__(self, stderr: TextIO) -> None:
        self._stderr = stderr

    def text(self, _: int) -> TextIO:
        """Both streams are the one."""
        return self._stderr


class Printing:
    """What one job prints, in the files of ``slot``; a file is touched only if something is printed."""

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
        """What the job, which is over, has printed; the slot is ready for the next."""
        problem: OSError | ValueError | None = None
        found = [NOTHING, NOTHING]
        for stream, text in enumerate(self._texts):
            if text is None:
                continue
            try:
                if not text.closed:  # the job may have closed it, which has flushed it
                    text.close()
            except (OSError, ValueError) as error:
                problem = error
            try:
                found[stream] = output_of(self._slot.collect(stream, name, cap))
            except OSError as error:
                problem = error
        if problem is not None:
            with suppress(OSError):
                self._slot.close()  # it may hold half of something: the next job begins with new files
        return Collected(found[0], found[1], problem)


CURRENT: Final[ContextVar[Printing | Aside | None]] = ContextVar("manyhands_printing", default=None)
"""The job whose code is running, as far as printing goes."""


class _Switch:
    """Stands for sys.stdout or sys.stderr and is whatever stream the running job has."""

    def __init__(self, stream: int, before: TextIO) -> None:
        self._stream, self._before = stream, before

    def __getattr__(self, name: str) -> Any:
        printing = CURRENT.get()
        return getattr(self._before if printing is None else printing.text(self._stream), name)


class Switched:
    """While one of these is open, printing is kept apart. Several at once, in any order of closing, share the switches."""

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
        """What this thread or task prints meanwhile goes to stderr."""
        token = CURRENT.set(Aside(Switched._before[1]))
        try:
            yield
        finally:
            CURRENT.reset(token)

    def close(self) -> None:
        """Print as before, once all are closed; a stream that somebody else has replaced meanwhile is left alone."""
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
