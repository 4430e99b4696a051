"""The output of a worker's jobs: descriptors 1 and 2 refer to the files of its slot, and are restored for each job.

Separate from the worker, because a job may do anything with its streams: close or replace them, as Python objects or as descriptors.
"""

from __future__ import annotations

import fcntl as fcntl_module
import os
import sys
from contextlib import suppress
from fcntl import fcntl
from typing import Any, Final, TextIO

from manyhands.backends.shared.slot import NOTHING, Captured, Slot
from manyhands.core.job import AttemptId

# The signal of an open file for asynchronous input, which nobody requests here: a mark by which a descriptor is recognised in a quarter
# of the time of fstat(2). It belongs to what open(2) made, so another file, and the same file opened again, does not have it (fcntl(2)).
_GET: Final[int] = getattr(fcntl_module, "F_GETSIG", -1)
_SET: Final[int] = getattr(fcntl_module, "F_SETSIG", -1)
_MARK: Final = 64 - 7

_ERRORS = ("surrogateescape", "backslashreplace")


class WorkerOutput:
    """Redirects this process's streams. Raises OSError if the files cannot be made."""

    def __init__(self, slot: Slot, cap: int | None) -> None:
        self._slot, self._cap = slot, cap
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._files: list[tuple[int, int]] = [(0, 0), (0, 0)]
        self._marked = [False, False]
        self._texts: list[Any] = [sys.stdout, sys.stderr]
        for stream in (0, 1):
            self._direct(stream)
            self._open(stream)

    def collect(self, key: AttemptId) -> tuple[Captured, Captured, OSError | None]:
        """(stdout, stderr, error if they are incomplete) of the job, as `Slot.collect` gives them; both are empty afterwards."""
        if self._untouched():
            return NOTHING, NOTHING, None
        name = b"%d.%d" % key
        out, problem = self._one(0, name)
        err, other = self._one(1, name)
        return out, err, problem or other

    def _untouched(self) -> bool:
        """Whether nothing was written, and the Python objects and the descriptors are ours: as after most jobs."""
        out, err = self._texts
        if sys.stdout is not out or sys.stderr is not err or not all(self._marked):
            return False
        try:
            out.flush()
            err.flush()
            if fcntl(1, _GET) != _MARK or fcntl(2, _GET) != _MARK:
                return False
            return not (os.lseek(1, 0, os.SEEK_END) or os.lseek(2, 0, os.SEEK_END))
        except (OSError, ValueError):  # the job has closed it, or it cannot be written
            return False

    def _one(self, stream: int, name: bytes) -> tuple[Captured, OSError | None]:
        problem = self._flush(stream)
        captured = NOTHING
        try:
            status = os.fstat(stream + 1)
            whole = (status.st_dev, status.st_ino) == self._files[stream]
        except OSError:  # the job has closed it
            whole = False
        if whole and not status.st_size:
            return NOTHING, problem
        try:
            captured = self._slot.collect(stream, name, self._cap)
        except OSError as error:
            problem = error
            self._slot.renew(stream)  # the file may be incomplete
        if problem or not whole or captured[1] is not None:  # a large one has given its file away
            self._direct(stream)
        return captured, problem

    def _flush(self, stream: int) -> OSError | None:
        """Write what Python has buffered; return the error if that fails. The stream is ours again, and empty."""
        text = self._texts[stream]
        now = sys.stderr if stream else sys.stdout
        problem = None
        if now is not text:  # the job's own stream may write to the same descriptor
            with suppress(Exception):
                now.flush()
            self._put(stream, text)
            del now
        try:
            text.flush()
        except OSError as error:
            problem = error
        except ValueError:  # the job has closed or detached it, which flushed it
            pass
        else:
            return None
        os.dup2(self._null, stream + 1)  # what cannot be written must not become the output of the next job
        with suppress(OSError, ValueError):
            text.close()
        self._open(stream)
        self._files[stream] = (0, 0)
        return problem

    def _direct(self, stream: int) -> None:
        """Let the descriptor refer to the slot's file."""
        file = self._slot.ready()[stream]
        os.dup2(file, stream + 1)
        status = os.fstat(file)
        self._files[stream] = status.st_dev, status.st_ino
        self._marked[stream] = mark(file)

    def _open(self, stream: int) -> None:
        buffering, errors = (1 if stream else -1), _ERRORS[stream]
        text = open(stream + 1, "w", buffering, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        self._texts[stream] = text
        self._put(stream, text)

    def _put(self, stream: int, text: TextIO) -> None:
        if stream:
            sys.stderr = text
        else:
            sys.stdout = text


def is_marked(descriptor: int) -> bool:
    """Whether it refers to an open file that was marked. Raises OSError if it is closed."""
    return fcntl(descriptor, _GET) == _MARK


def mark(file: int) -> bool:
    """Mark an open file, so that `is_marked` recognises it; return whether that is possible here."""
    if _GET < 0:
        return False
    try:
        fcntl(file, _SET, _MARK)
        return fcntl(file, _GET) == _MARK
    except OSError:
        return False
