"""The environment variables that identify a job to its programs: ``MH_TAG``, ``MH_JOB``, ``MH_ATTEMPT``.

putenv(3) of the C library never frees a value, because a pointer to it may still be in use: 145 bytes a job. So each variable is one
buffer, which becomes part of the environment, and is overwritten for each job.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final, cast

_NUMBER: Final = 20
"""Digits of the largest number of 64 bits."""


class JobNames:
    """The three variables, in Python's `os.environ` and in the environment of programs that are started."""

    def __init__(self, token: bytes) -> None:
        self._token = token + b"."
        self._values: dict[bytes, bytes] = cast("Any", os.environ)._data
        sizes = (b"MH_TAG=", len(token) + 2 * _NUMBER + 2), (b"MH_JOB=", _NUMBER), (b"MH_ATTEMPT=", _NUMBER)
        self._buffers = [ctypes.create_string_buffer(name, len(name) + size + 1) for name, size in sizes]
        self._tag, self._job, self._attempt = (
            memoryview(one).cast("B")[one.value.index(b"=") + 1 :] for one in self._buffers
        )
        self._last = b""
        self._libc = ctypes.CDLL(None)
        self.write(0, 0, {})
        self.put()

    def put(self) -> None:
        """Make the buffers part of the environment, also again after something has replaced them there."""
        for buffer in self._buffers:
            self._libc.putenv(buffer)

    def write(self, job: int, attempt: int, kept: dict[bytes, bytes]) -> None:
        """Name the job that is done from now on, also in ``kept``, which is compared with the environment after it."""
        values, number, last = self._values, b"%d" % job, b"%d" % attempt
        tag = values[b"MH_TAG"] = kept[b"MH_TAG"] = b"%b%b.%b" % (self._token, number, last)
        values[b"MH_JOB"] = kept[b"MH_JOB"] = number
        self._tag[: len(tag) + 1] = tag + b"\0"
        self._job[: len(number) + 1] = number + b"\0"
        if last != self._last:  # most attempts are number 1
            self._last = values[b"MH_ATTEMPT"] = kept[b"MH_ATTEMPT"] = last
            self._attempt[: len(last) + 1] = last + b"\0"
