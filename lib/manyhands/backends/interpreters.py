"""Calls a function in subinterpreters, each in a thread of this process (PEP 734): Python 3.14 and later.

Each has a lock of its own, so they compute at the same time. They share no objects, and exchange bytes. Like a thread, they cannot be
stopped. Extension modules that support only one interpreter cannot be imported there.
"""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from manyhands.backends.protocol import Ended
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.call_function import CallResult, Performer, failed
from manyhands.backends.shared.captured import output_of
from manyhands.backends.shared.in_process import Stopwatch
from manyhands.backends.shared.job_printing import Collected
from manyhands.backends.shared.slot import WIDE, Slot
from manyhands.backends.shared.suspension import Suspension
from manyhands.backends.workers.pool import packed
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import NOTHING, Attempt, Values

_performer: Performer | None = None


class Interpreter:
    """One interpreter, used by the thread that makes it; a `manyhands.backends.shared.in_process.Doer`. Raises ManyhandsError."""

    def __init__(self, settings: FunctionSettings, suspension: Suspension, number: int) -> None:
        self._suspension = suspension
        self._cap = settings.output_cap
        self._slot = Slot(number, bytes(settings.outputs), memory=settings.slots > WIDE)
        self._interpreter: Any = import_module("concurrent.interpreters").create()
        self._interpreter.exec(f"import sys; sys.path[:] = {sys.path!r}")
        call = packed(settings.call, main_by_value=True)
        problem = self._interpreter.call(prepare_there, call, settings.columns, os.fsencode(settings.outputs))
        if problem:
            self.close()
            raise ManyhandsError(problem)

    def perform(self, attempt: Attempt, at: float) -> Ended:
        """Call the function in the interpreter, and collect its output."""
        name = attempt.name
        watch = Stopwatch(attempt, at, self._slot.number, self._suspension)
        *fields, lost = self._interpreter.call(perform_there, name, attempt.job.values, *self._slot.ready())
        done = CallResult(*fields)
        return watch.ended(done, lambda: self._collect(name, OSError(*lost) if lost else None))

    def _collect(self, name: bytes, problem: OSError | None) -> Collected:
        try:
            out, err = (output_of(self._slot.collect(stream, name, self._cap)) for stream in (0, 1))
        except OSError as error:
            with suppress(OSError):
                self._slot.close()  # its files may be incomplete: the next job begins with new ones
            return Collected(NOTHING, NOTHING, error)
        return Collected(out, err, problem)

    def close(self) -> None:
        """End the interpreter."""
        self._slot.close()
        with suppress(Exception):  # a job has left threads in it: it ends with the process
            self._interpreter.close()


def prepare_there(call: bytes, columns: tuple[str, ...], outputs: bytes) -> str | None:
    """In the other interpreter: prepare; return the error, or None."""
    global _performer
    sys.stdout = sys.stderr  # the output of an initializer is not a result
    try:
        found = pickle.loads(call)  # noqa: S301 - this very process made it
        _performer = Performer(found, columns, Path(os.fsdecode(outputs)))
        found.prepare()
    except BaseException as error:
        return str(error) if isinstance(error, ManyhandsError) else failed(error).error
    return None


def perform_there(
    name: bytes, values: Values, out: int, err: int
) -> tuple[int, str | None, str | None, bytes | None, tuple[int, str] | None]:
    """In the other interpreter: one call, with its own stdout and stderr; also returns the error if its output could not be written."""
    assert _performer is not None  # noqa: S101 - `prepare_there` comes first
    texts = [open(file, "w", encoding="utf-8", errors="surrogateescape", closefd=False) for file in (out, err)]  # noqa: SIM115
    sys.stdout, sys.stderr = texts
    done = _performer.perform(name, values)
    lost = None
    for text in texts:
        try:
            text.close()
        except OSError as error:
            lost = error.errno or 0, error.strerror or str(error)
    return done.exit, done.error, done.traceback, done.result, lost
