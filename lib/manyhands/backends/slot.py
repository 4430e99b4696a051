"""Room for one attempt of a command: its number, and the files that its output goes to.

Separate from the launcher, because the fall-back without launchers captures output in the same way.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from typing import Final

INLINE: Final = 1 << 15
"""Bytes of output per stream that travel inside a result; more stays in its file."""

WIDE: Final = 64
"""More slots than this hold small output in memory: to make two files for each takes longer than to start the commands."""

Captured = tuple[bytes, bytes | None, int, int]
"""(data, path, size, dropped), see `manyhands.job.Output`."""

NOTHING: Final[Captured] = (b"", None, 0, 0)


_SUFFIX: Final = (b"out", b"err")
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Slot:
    """Room for one attempt: a number, and a file for each stream, kept open and reused while the output is small.

    The files are on disk, where a gigabyte does no harm. With ``memory`` they begin as memfd_create(2), because to make two
    thousand files takes longer than to start two thousand commands; at the first large output the slot changes to disk.
    O_APPEND, so that a command which reopens /dev/stderr and truncates it cannot leave a hole in the file.
    """

    __slots__ = ("files", "folder", "memory", "number")

    def __init__(self, number: int, folder: bytes, *, memory: bool = False) -> None:
        self.number, self.folder, self.memory = number, folder, memory
        self.files = [-1, -1]

    def ready(self) -> list[int]:
        """The descriptors for stdout and stderr; made when the slot is first used."""
        if self.files[1] < 0:
            self.renew(0)
            self.renew(1)
        return self.files

    def path(self, stream: int) -> bytes:
        """Where the file of a stream is while it is on disk."""
        return b"%s/.slot-%d.%s" % (self.folder, self.number, _SUFFIX[stream])

    def renew(self, stream: int) -> None:
        """Begin a new file: the old one was given away, or somebody may still be writing to it."""
        self.drop(stream)
        if self.memory:
            file = os.memfd_create(f"slot-{self.number}", os.MFD_CLOEXEC)
            fcntl.fcntl(file, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
        else:
            file = os.open(self.path(stream), _NEW | os.O_APPEND, 0o600)
        self.files[stream] = file

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
        path = b"%s/%s.%s" % (self.folder, name, _SUFFIX[stream])
        if self.memory:
            self.move_to_disk(stream, path)
        else:
            os.fdatasync(file)
            os.rename(self.path(stream), path)
        self.renew(stream)
        return b"", path, size, size - kept

    def salvage(self, stream: int, name: bytes, cap: int | None) -> Captured:
        """As `collect`, of a slot on disk whose process is dead."""
        try:
            self.files[stream] = os.open(self.path(stream), os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return NOTHING
        return self.collect(stream, name, cap)

    def move_to_disk(self, stream: int, path: bytes) -> None:
        """Write a large output from memory to its file; from now on this slot works on disk."""
        target = os.open(path, _NEW, 0o600)
        try:
            left, at = os.fstat(self.files[stream]).st_size, 0
            while at < left:
                at += os.sendfile(target, self.files[stream], at, left - at)
            os.fdatasync(target)
        finally:
            os.close(target)
        self.memory = False

    def drop(self, stream: int) -> None:
        """Close one file, and remove it if it has a name."""
        if self.files[stream] >= 0:
            os.close(self.files[stream])
            self.files[stream] = -1
        if not self.memory:
            with suppress(FileNotFoundError):
                os.unlink(self.path(stream))

    def close(self) -> None:
        """Remove what is left of the files. The slot can be used again."""
        self.drop(0)
        self.drop(1)


def why_not_started(error: OSError | ValueError, program: str) -> tuple[int, str]:
    """(exit status as a shell gives it, reason) for a command that could not be started."""
    if not isinstance(error, OSError):  # an argument with a NUL byte: execve(2) cannot pass it on
        return 126, f"cannot start {program}: {error}"
    name = errno.errorcode.get(error.errno or 0, "error")
    return (
        127 if error.errno == errno.ENOENT else 126,
        f"cannot start {program}: {os.strerror(error.errno or 0)} ({name})",
    )
