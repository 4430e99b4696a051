"""Where this process prints, put back after a job that has changed it: for jobs that share the process with its owner.

A job may assign to `sys.stdout`, or close, redirect or reuse descriptors 1 and 2; what comes after it must not suffer from that.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Final

_PLACES: Final = (1, 2)
_LOOK: Final = 0.020
"""Seconds between two looks at the descriptors: each lets another thread have the interpreter, which costs more than a small job."""


class Streams:
    """Remembers both streams while any job runs, and puts them back when the last one has ended.

    A descriptor that was closed is repaired; one that refers to something else only if a single job was there to do that, because
    the program itself may redirect it between jobs, and another job for itself.
    """

    _mutex = threading.Lock()
    _running = 0
    _before: tuple[Any, Any] = (None, None)

    def __init__(self) -> None:
        self._copies = [_copy(place) for place in _PLACES]
        self._files = [_identity(place) for place in _PLACES]
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
        """Look a last time, and close the copies. May be called twice."""
        self._repair(alone=False)
        copies, self._copies = self._copies, [-1, -1]
        for copy in copies:
            _close(copy)

    def _follow(self) -> None:
        """What the program has redirected meanwhile is what it wants."""
        for number, place in enumerate(_PLACES):
            found = _identity(place)
            if found is not None and found != self._files[number]:
                _close(self._copies[number])
                self._copies[number], self._files[number] = _copy(place), found

    def _repair(self, *, alone: bool) -> None:
        for place, file, copy in zip(_PLACES, self._files, self._copies, strict=True):
            found = _identity(place)
            if copy >= 0 and found != file and (alone or found is None):
                os.dup2(copy, place)


def _copy(place: int) -> int:
    try:
        return os.dup(place)
    except OSError:  # it is closed, and stays so
        return -1


def _close(copy: int) -> None:
    if copy >= 0:
        with suppress(OSError):  # a job has closed it
            os.close(copy)


def _identity(place: int) -> tuple[int, int] | None:
    """(device, inode) of what a descriptor refers to; None when it is closed."""
    try:
        status = os.fstat(place)
    except OSError:
        return None
    return status.st_dev, status.st_ino
