"""Room for one attempt of a command: its number, and the files that its output goes to.

Separate from the launcher, because the fall-back without launchers captures output in the same way.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

from manyhands import job

INLINE: Final = 1 << 15
"""Bytes of output per stream that travel inside a result; more stays in its file."""

Captured = tuple[bytes, bytes | None, int, int]
"""(data, path, size, dropped), see `manyhands.job.Output`."""

NOTHING: Final[Captured] = (b"", None, 0, 0)


def output_of(captured: Captured) -> job.Output:
    """The same as a record for everybody else."""
    data, path, size, dropped = captured
    return job.Output(data, os.fsdecode(path) if path else None, size, dropped) if size else job.NOTHING


class Slot:
    """Room for one attempt: a number and the two files that its output goes to, kept open and reused while they are small.

    O_APPEND, so that a command which reopens /dev/stderr and truncates it cannot leave a hole in the file.
    """

    __slots__ = ("files", "folder", "number")

    def __init__(self, number: int, folder: bytes) -> None:
        self.number, self.folder = number, folder
        self.files = [-1, -1]
        for stream in (0, 1):
            self.renew(stream)

    def path(self, stream: int) -> bytes:
        return b"%s/.slot-%d.%s" % (self.folder, self.number, (b"out", b"err")[stream])

    def renew(self, stream: int) -> None:
        """Begin a new file: the old one was given away, or somebody may still be writing to it."""
        if self.files[stream] >= 0:
            os.close(self.files[stream])
            self.files[stream] = -1
        with suppress(FileNotFoundError):
            os.unlink(self.path(stream))
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.files[stream] = os.open(self.path(stream), flags, 0o600)

    def collect(self, stream: int, name: bytes, cap: int | None) -> Captured:
        """(data, path, size, dropped) of what was printed; leaves the slot ready for the next attempt."""
        file = self.files[stream]
        size = os.fstat(file).st_size
        if not size:
            return NOTHING
        kept = size
        if cap is not None and size > cap:
            kept = cap
            os.ftruncate(file, kept)
        if kept <= INLINE:
            data = os.pread(file, kept, 0)
            os.ftruncate(file, 0)
            return data, None, size, size - kept
        os.fdatasync(file)
        path = b"%s/%s.%s" % (self.folder, name, (b"out", b"err")[stream])
        os.rename(self.path(stream), path)
        self.renew(stream)
        return b"", path, size, size - kept

    def close(self) -> None:
        for stream in (0, 1):
            os.close(self.files[stream])
            with suppress(FileNotFoundError):
                os.unlink(self.path(stream))


def why_not_started(error: OSError | ValueError, program: str) -> tuple[int, str]:
    """(exit status as a shell gives it, reason) for a command that could not be started."""
    if not isinstance(error, OSError):  # an argument with a NUL byte: execve(2) cannot pass it on
        return 126, f"cannot start {program}: {error}"
    name = errno.errorcode.get(error.errno or 0, "error")
    return (
        127 if error.errno == errno.ENOENT else 126,
        f"cannot start {program}: {os.strerror(error.errno or 0)} ({name})",
    )
