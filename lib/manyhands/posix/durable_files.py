"""The few operations on files that must survive a loss of power.

Separate and replaceable, because the simulator has a simulated disk, which loses or tears what was not synchronised.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


class Disk:
    """Files of the operating system. Written data is durable after `sync`, a name after `sync_folder` (fsync(2))."""

    def create(self, path: Path) -> int:
        """Make a new file, readable by its owner only; return its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, file: int, data: bytes) -> None:
        """Append all of ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]

    def sync(self, file: int) -> None:
        """Make the written data durable."""
        os.fsync(file)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file, and replace a file that has the new name."""
        os.rename(old, new)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def write_new(self, path: Path, data: bytes) -> None:
        """Make a file with ``data``; the data is durable, its name is not yet."""
        file = self.create(path)
        try:
            self.write(file, data)
            self.sync(file)
        finally:
            os.close(file)


class Unsynchronised(Disk):
    """For files that need not survive a loss of power."""

    def sync(self, file: int) -> None:
        """Nothing."""

    def sync_folder(self, path: Path) -> None:
        """Nothing."""


@contextmanager
def replacing(path: Path, disk: Disk = Disk(), mode: int = 0o666) -> Iterator[BinaryIO]:  # noqa: B008 - it has no state
    """A new file, which takes the place of ``path`` when the block has ended well: nobody ever reads half of it.

    It has the owner and the permissions of the file that it replaces, else what the umask leaves of ``mode``. Raises OSError that names ``path``.
    """
    fresh = path.with_name(f".{os.urandom(8).hex()}.new")
    try:
        before = _stat(path)
        if before and not stat.S_ISREG(before.st_mode):
            raise FileExistsError(errno.EEXIST, "is no regular file, so it is not replaced")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(file, "wb") as stream:
            if before:
                with suppress(PermissionError):  # another's file, in a folder that we may write to
                    os.fchown(file, before.st_uid, before.st_gid)
                os.fchmod(file, stat.S_IMODE(before.st_mode))
            yield stream
            stream.flush()
            disk.sync(file)
        disk.rename(fresh, path)
        disk.sync_folder(path.parent)
    except OSError as error:
        if error.filename in (None, fresh, os.fspath(fresh)):
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        with suppress(FileNotFoundError):
            fresh.unlink()


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def size_of(path: Path) -> int:
    """Bytes on the disk of a file, or of a folder with everything in it; files that are removed meanwhile do not count."""
    try:
        found = path.lstat()
        inner = list(path.iterdir()) if stat.S_ISDIR(found.st_mode) else []
    except OSError:
        return 0
    return 512 * found.st_blocks + sum(map(size_of, inner))  # st_blocks counts units of 512 bytes: stat(2)
