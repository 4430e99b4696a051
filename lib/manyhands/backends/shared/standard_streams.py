"""Restores the standard streams after a job that has changed them: for jobs that run inside the user's own process.

A job may assign to `sys.stdout`, or close, redirect or reuse descriptors 1 and 2; later jobs and the program must not suffer from that.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Final

_DESCRIPTORS: Final = (1, 2)
_LOOK: Final = 0.020
"""Seconds between two checks of the descriptors: a check releases the interpreter's lock, which costs more than a small job."""


class Streams:
    """Remembers both streams while any job runs, and restores them when the last one has ended.

    A descriptor that was closed is repaired. One that was redirected is repaired only if a single job ran and so must have done it,
    because the program may redirect it between jobs, and another job may do so for itself.
    """

    _mutex = threading.Lock()
    _running = 0
    _before: tuple[Any, Any] = (None, None)

    def __init__(self) -> None:
        self._copies = [_copy(descriptor) for descriptor in _DESCRIPTORS]
        self._files = [_identity(descriptor) for descriptor in _DESCRIPTORS]
        self._looked, self._looking = 0.0, False

    def hold(self) -> None:
        """A job begins."""
        with Streams._mutex:
            if Streams._running == 0:
                Streams._before = sys.stdout, sys.stderr
                self._looking = time.monotonic() - self._looked >= _LOOK
                if self._looking:
                    self._follow()
            Streams._running += 1

    def release(self) -> None:
        """A job has ended."""
        with Streams._mutex:
            Streams._running -= 1
            alone = Streams._running == 0
            if alone and (sys.stdout, sys.stderr) != Streams._before:
                sys.stdout, sys.stderr = Streams._before
            if self._looking or time.monotonic() - self._looked >= _LOOK:
                self._looked = time.monotonic()
                self._repair(alone=alone and self._looking)
            self._looking = False

    def close(self) -> None:
        """Check a last time, and close the copies. May be called twice."""
        self._repair(alone=False)
        copies, self._copies = self._copies, [-1, -1]
        for copy in copies:
            _close(copy)

    def _follow(self) -> None:
        """Accept what the program itself has redirected meanwhile."""
        for number, descriptor in enumerate(_DESCRIPTORS):
            found = _identity(descriptor)
            if found is not None and found != self._files[number]:
                _close(self._copies[number])
                self._copies[number], self._files[number] = _copy(descriptor), found

    def _repair(self, *, alone: bool) -> None:
        for descriptor, file, copy in zip(_DESCRIPTORS, self._files, self._copies, strict=True):
            found = _identity(descriptor)
            if copy >= 0 and found != file and (alone or found is None):
                os.dup2(copy, descriptor)


def _copy(descriptor: int) -> int:
    try:
        return os.dup(descriptor)
    except OSError:  # it is closed, and stays so
        return -1


def _close(copy: int) -> None:
    if copy >= 0:
        with suppress(OSError):  # a job has closed it
            os.close(copy)


def _identity(descriptor: int) -> tuple[int, int] | None:
    """(device, inode) of what a descriptor refers to; None when it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
