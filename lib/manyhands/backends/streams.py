"""Where this process prints, put back after a job that has changed it: for jobs that share the process with its owner.

A job may assign to `sys.stdout`, or close, redirect or reuse descriptors 1 and 2; what comes after it must not suffer from that.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import Any

_PLACES = (1, 2)


class Streams:
    """Remembers both streams while any job runs, and puts them back when the last one has ended.

    While others run, only a closed descriptor is repaired: another job may redirect `sys.stdout` for itself at that moment.
    """

    _mutex = threading.Lock()
    _running = 0
    _before: tuple[Any, Any] = (None, None)

    def __init__(self) -> None:
        self._copies = [_copy(place) for place in _PLACES]
        self._files = [_identity(place) for place in _PLACES]

    def hold(self) -> None:
        """A job begins."""
        with Streams._mutex:
            if Streams._running == 0:
                Streams._before = sys.stdout, sys.stderr
            Streams._running += 1

    def release(self) -> None:
        """A job has ended."""
        with Streams._mutex:
            Streams._running -= 1
            alone = Streams._running == 0
            if alone:
                sys.stdout, sys.stderr = Streams._before
            for place, file, copy in zip(_PLACES, self._files, self._copies, strict=True):
                found = _identity(place)
                if copy >= 0 and found != file and (alone or found is None):
                    os.dup2(copy, place)

    def close(self) -> None:
        """Close the copies. May be called twice."""
        copies, self._copies = self._copies, [-1, -1]
        for copy in copies:
            if copy >= 0:
                with suppress(OSError):  # a job has closed it
                    os.close(copy)


def _copy(place: int) -> int:
    try:
        return os.dup(place)
    except OSError:  # it is closed, and stays so
        return -1


def _identity(place: int) -> tuple[int, int] | None:
    """(device, inode) of what a descriptor refers to; None when it is closed."""
    try:
        status = os.fstat(place)
    except OSError:
        return None
    return status.st_dev, status.st_ino
