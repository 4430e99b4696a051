"""The regular files of a folder, and their checksums; no symbolic link is followed.

Separate, because several programs look at all files of a tree, and should see the same ones.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass

DIGITS: Final = {"sha256": 64, "sha512": 128, "blake2b": 128}
"""How many hexadecimal digits a checksum has."""

_BLOCK: Final = 1 << 16  # larger ones are no faster, and cost small files more than reading these takes


class File(NamedTuple):
    """A regular file as it was found. ``path`` begins with the folder that was walked; times are nanoseconds."""

    path: bytes
    size: int
    modified: int
    changed: int
    device: int
    inode: int
    allocated: int

    @property
    def identity(self) -> tuple[int, int]:
        """The same for all names of one file."""
        return self.device, self.inode


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read, and why."""

    path: bytes
    why: str


class Tree:
    """All regular files below a folder, in an order that is the same each time. ``unread``: folders that could not be entered."""

    def __init__(self, folder: str) -> None:
        """Raises UsageError if it is not a folder that can be read."""
        self.folder = os.fsencode(folder)
        self._prefix = os.path.join(self.folder, b"")
        self.unread: list[Unread] = []
        try:
            os.scandir(self.folder).close()
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}") from None

    def name(self, path: bytes) -> bytes:
        """``path``, which is below the folder, as seen from there."""
        return path.removeprefix(self._prefix)

    def holds(self, path: bytes) -> bool:
        """Whether ``path``, without ``..``, is below the folder."""
        return path.startswith(self._prefix)

    def __iter__(self) -> Iterator[File]:
        todo = [self.folder]
        while todo:
            here = todo.pop()
            folders: list[bytes] = []
            for entry in self._entries(here):
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield file_of(entry.path, entry.stat(follow_symlinks=False))
                except FileNotFoundError:  # removed since its folder was read
                    continue
                except OSError as error:
                    self._note(entry.path, error)
            todo += reversed(folders)

    def _entries(self, folder: bytes) -> list[os.DirEntry[bytes]]:
        try:
            with os.scandir(folder) as found:
                return sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._note(folder, error)
            return []

    def _note(self, path: bytes, error: OSError) -> None:
        self.unread.append(Unread(path, error.strerror or str(error)))


def file_of(path: bytes, found: os.stat_result) -> File:
    """What `os.stat` says of a file."""
    return File(
        path,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_dev,
        found.st_ino,
        512 * found.st_blocks,  # units of 512 bytes: stat(2)
    )


def checksum(path: bytes, algorithm: str, limit: int | None = None) -> str:
    """The checksum of the content, or of its first ``limit`` bytes, as hexadecimal digits.

    A file that changes while it is read is read a second time. Raises OSError; for one that changes again, and for what is no regular
    file, with a text in the place of `OSError.strerror`.
    """
    # NOFOLLOW, NONBLOCK: since it was found, a link or a pipe may have taken its place
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        for _ in range(2):
            before = os.fstat(file)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(0, "is no regular file any more", path)
            found = _checksum(file, algorithm, before.st_size if limit is None else limit, limit is not None)
            if _state(os.fstat(file)) == _state(before):
                return found
            os.lseek(file, 0, os.SEEK_SET)
    finally:
        os.close(file)
    raise OSError(0, "changes while it is read", path)


def _checksum(file: int, algorithm: str, size: int, cut: bool) -> str:
    found = hashlib.new(algorithm, usedforsecurity=False)
    block = memoryview(bytearray(min(_BLOCK, max(size, 4095) + 1)))  # sizes in /proc are 0
    left = size
    while (not cut or left > 0) and (count := os.readv(file, [block[: min(left, len(block))] if cut else block])):
        found.update(block[:count])
        left -= count
    return found.hexdigest()


def _state(found: os.stat_result) -> tuple[int, int, int]:
    """Changes with the content, also if the time of modification is set back: no program can set ctime (stat(2))."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
