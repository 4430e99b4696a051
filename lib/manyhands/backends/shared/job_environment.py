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
        self._token = token
        self._values: dict[bytes, bytes] = cast("Any", os.environ)._data
        self._tag, self._job, self._attempt = (
            ctypes.create_string_buffer(len(name) + size)
            for name, size in (
                (b"MH_TAG=", len(token) + 2 * _NUMBER + 3),
                (b"MH_JOB=", _NUMBER + 1),
                (b"MH_ATTEMPT=", _NUMBER + 1),
            )
        )
        self._last = -1
        self._libc = ctypes.CDLL(None)
        self.write(0, 0)
        self.put()

    def put(self) -> None:
        """Make the buffers part of the environment, also again after something has replaced them there."""
        for buffer in (self._tag, self._job, self._attempt):
            self._libc.putenv(buffer)

    def write(self, job: int, attempt: int) -> None:
        """Name the job that is done from now on."""
        values, number = self._values, b"%d" % job
        tag = values[b"MH_TAG"] = b"%s.%s.%d" % (self._token, number, attempt)
        values[b"MH_JOB"] = number
        self._tag.value, self._job.value = b"MH_TAG=" + tag, b"MH_JOB=" + number
        if attempt != self._last:  # most attempts are number 1
            self._last, text = attempt, b"%d" % attempt
            values[b"MH_ATTEMPT"], self._attempt.value = text, b"MH_ATTEMPT=" + text
