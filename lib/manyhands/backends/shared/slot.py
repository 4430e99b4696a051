"""Room for one attempt: its number, and the files that its output goes to.

Separate from the launcher, because the other backends capture output in the same way.
"""

from __future__ import annotations

import errno
import fcntl
import os

from manyhands.core.lean import Final, TypeAlias, suppress
from manyhands.posix.which import SHORTAGES

INLINE: Final = 1 << 15
"""Bytes of output per stream that are sent inside a result; a longer output stays in its file."""

WIDE: Final = 64
"""With more slots than this, small output is held in memory: making two files per slot takes longer than starting the commands."""

Captured: TypeAlias = "tuple[bytes, bytes | None, int, int]"
"""(data, path, size, dropped), see `manyhands.core.job.Output`."""

NOTHING: Final[Captured] = (b"", None, 0, 0)


_SUFFIX: Final = (b"out", b"err")
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Slot:
    """Room for one attempt: a number, and a file for each stream, kept open and reused while the output is small.

    The files are on disk, where a gigabyte does no harm. With ``memory`` they begin in memory (memfd_create(2)), because making two
    thousand files takes longer than starting two thousand commands; at the first large output the slot changes to disk. If the
    files cannot be made on disk (it is full or read-only, the folder was removed), they are in memory, too.
    They are opened with O_APPEND, so that a command which reopens /dev/stderr and truncates it cannot leave a hole in the file.
    """

    __slots__ = ("failure", "files", "folder", "memory", "number")

    def __init__(self, number: int, folder: bytes, *, memory: bool = False) -> None:
        self.number, self.folder, self.memory = number, folder, memory
        self.files = [-1, -1]
        self.failure: OSError | None = None
        """Why the last collected output could not be stored completely."""

    def ready(self) -> list[int]:
        """The descriptors for stdout and stderr, made when they are first needed. Raises OSError if they cannot be made."""
        for stream in (0, 1):
            if self.files[stream] < 0:
                self.renew(stream)
        return self.files

    def path(self, stream: int) -> bytes:
        """Where the file of a stream is while it is on disk."""
        return b"%s/.slot-%d.%s" % (self.folder, self.number, _SUFFIX[stream])

    def renew(self, stream: int) -> None:
        """Begin a new file: the old one was given away, or a process may still write to it."""
        self.drop(stream)
        if not self.memory:
            try:
                self.files[stream] = os.open(self.path(stream), _NEW | os.O_APPEND, 0o600)
                return
            except OSError as error:
                if error.errno in SHORTAGES or not hasattr(os, "memfd_create"):
                    raise
        file = os.memfd_create(f"slot-{self.number}", os.MFD_CLOEXEC)
        fcntl.fcntl(file, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
        self.files[stream] = file

    def collect(self, stream: int, name: bytes, cap: int | None) -> Captured:
        """(data, path, size, dropped) of the output; leaves the slot ready for the next attempt.

        If it cannot be stored completely, only its beginning is kept, and `failure` says why.
        """
        file = self.files[stream]
        size = os.fstat(file).st_size
        if not size:
            return NOTHING
        kept = size
        if cap is not None and size > cap:
            kept = cap
            os.ftruncate(file, kept)
        if kept <= INLINE:
            return self._small(file, kept, size)
        path = b"%s/%s.%s" % (self.folder, name, _SUFFIX[stream])
        try:
            self._keep(stream, path)
        except OSError as error:
            self.failure = error
            return self._small(file, INLINE, size)
        with suppress(OSError):  # `ready` raises it again when the slot is next used
            self.renew(stream)
        return b"", path, size, size - kept

    def _small(self, file: int, kept: int, size: int) -> Captured:
        data = os.pread(file, kept, 0)
        os.ftruncate(file, 0)
        return data, None, size, size - len(data)

    def _keep(self, stream: int, path: bytes) -> None:
        """Give a large output its own file."""
        if os.fstat(self.files[stream]).st_nlink == 0:  # in memory, or its folder is gone
            self.move_to_disk(stream, path)
            return
        os.fdatasync(self.files[stream])
        os.rename(self.path(stream), path)

    def salvage(self, stream: int, name: bytes, cap: int | None) -> Captured:
        """As `collect`, for a slot on disk whose process is dead."""
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
            while at < left and (sent := os.sendfile(target, self.files[stream], at, left - at)):
                at += sent
            os.fdatasync(target)
        except OSError:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(target)
        self.memory = False

    def drop(self, stream: int) -> None:
        """Close one file, and remove it if it has a name."""
        if self.files[stream] >= 0:
            os.close(self.files[stream])
            self.files[stream] = -1
        if not self.memory:
            with suppress(OSError):  # it does not exist, or the disk refuses
                os.unlink(self.path(stream))

    def close(self) -> None:
        """Remove what is left of the files. The slot can be used again."""
        self.drop(0)
        self.drop(1)


def not_kept(error: OSError) -> str:
    """Why an output is not complete, in words."""
    name = errno.errorcode.get(error.errno or 0, "error")
    return f"its output could not be kept whole: {os.strerror(error.errno or 0)} ({name})"
