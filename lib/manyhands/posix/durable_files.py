"""The few things that are done to files which must survive a loss of power: each in its order.

Separate and replaceable, because the simulator has a disk of its own, which forgets and tears what was not synchronised.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Disk:
    """Files of the operating system. What was written is durable after `sync`, a name after `sync_folder` (fsync(2))."""

    def create(self, path: Path) -> int:
        """Make a file that is not there, readable by its owner only; returns its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, file: int, data: bytes) -> None:
        """Append all of ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]

    def sync(self, file: int) -> None:
        """Make what was written durable."""
        os.fsync(file)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of what has it now."""
        os.rename(old, new)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def write_new(self, path: Path, data: bytes) -> None:
        """Make a file with ``data``, which is durable, though not yet its name."""
        file = self.create(path)
        try:
            self.write(file, data)
            self.sync(file)
        finally:
            os.close(file)


class Unsynchronised(Disk):
    """For what need not survive a loss of power."""

    def sync(self, file: int) -> None:
        """Nothing."""

    def sync_folder(self, path: Path) -> None:
        """Nothing."""


def size_of(path: Path) -> int:
    """Bytes on the disk of a file, or of a folder with all that is in it; what goes away meanwhile counts nothing."""
    try:
        found = path.lstat()
        inner = list(path.iterdir()) if stat.S_ISDIR(found.st_mode) else []
    except OSError:
        return 0
    return 512 * found.st_blocks + sum(map(size_of, inner))  # st_blocks counts units of 512 bytes: stat(2)
