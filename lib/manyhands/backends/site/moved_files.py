"""A file on its way between two machines: read in pieces here, written to a temporary name there, and renamed when it is whole.

    Outgoing --pieces, `Trailer`--> Incoming --rename--> the file

Both ends use it. Names are bytes that nobody interprets. They are relative to a folder of each end and stay below it: an absolute path, ``..``
and, where the other machine could have made it, a symbolic link are refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

BLOCK: Final = 1 << 18
"""Bytes of a piece."""
FAILED: Final = 74
"""The exit status of a job whose files could not be sent or fetched: EX_IOERR of sysexits(3)."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class NotMovedError(Exception):
    """Why a file cannot be sent or fetched, in one line."""


def _named(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def parts_of(path: bytes) -> list[bytes]:
    """The components of a relative path. Raises NotMovedError for one that may leave its folder."""
    parts = [one for one in path.split(b"/") if one not in (b"", b".")]
    if path.startswith(b"/") or b".." in parts:
        raise NotMovedError(f"{_named(path)!r} is not a path below the folder of the job")
    if not parts or path.endswith(b"/") or b"\0" in path:
        raise NotMovedError(f"{_named(path)!r} cannot be the name of a file")
    return parts


def _opened_folder(base: bytes, parts: list[bytes], *, make: bool, follow: bool) -> int:
    """The folder of a file, as a descriptor. Raises OSError."""
    found = os.open(base, _FOLDER)
    try:
        for part in parts[:-1]:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=found)
            inner = os.open(part, _FOLDER | (0 if follow else os.O_NOFOLLOW), dir_fd=found)
            os.close(found)
            found = inner
    except BaseException:
        os.close(found)
        raise
    return found


class Outgoing:
    """A file that is read to be sent. Raises NotMovedError, also while it is read. ``follow``: links lead to files, too."""

    def __init__(self, base: bytes, path: bytes, *, follow: bool) -> None:
        self._path, parts = path, parts_of(path)
        try:
            folder = _opened_folder(base, parts, make=False, follow=follow)
            try:
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
                self._file = os.open(parts[-1], flags, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise NotMovedError(f"{_named(path)}: {error.strerror}") from None
        self._before = os.fstat(self._file)
        if not stat.S_ISREG(self._before.st_mode):
            os.close(self._file)
            raise NotMovedError(f"{_named(path)} is not a regular file")

    def pieces(self) -> Iterator[bytes]:
        """The content. Raises NotMovedError if it changes meanwhile. The file is closed at the end, or with the iterator."""
        self._sum, self._size = blake2b(digest_size=16), 0
        try:
            while piece := os.read(self._file, BLOCK):
                self._sum.update(piece)
                self._size += len(piece)
                yield piece
            after = os.fstat(self._file)
        except OSError as error:
            raise NotMovedError(f"{_named(self._path)}: {error.strerror}") from None
        finally:
            os.close(self._file)
        if (self._size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise NotMovedError(f"{_named(self._path)} was changed while it was read")

    def trailer(self) -> dict[str, Any]:
        """What `Incoming.finish` compares and sets, after the last piece."""
        mode, time = stat.S_IMODE(self._before.st_mode) & 0o777, self._before.st_mtime_ns
        return {"mode": mode, "time": time, "size": self._size, "sum": self._sum.hexdigest()}


class Incoming:
    """A file that arrives. ``mark`` is in its temporary name, ``.NAME.MARK.part``, which a later attempt takes over. Raises
    NotMovedError; after that it is gone."""

    def __init__(self, base: bytes, path: bytes, mark: bytes, *, durable: bool) -> None:
        self._path, self._durable, parts = path, durable, parts_of(path)
        self._name, self._temporary = parts[-1], b".%s.%s.part" % (parts[-1][:180], mark)
        self._sum, self._size, self._file = blake2b(digest_size=16), 0, -1
        try:
            self._folder = _opened_folder(base, parts, make=True, follow=False)
            with suppress(FileNotFoundError):
                os.unlink(self._temporary, dir_fd=self._folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self._temporary, flags, 0o600, dir_fd=self._folder)
        except OSError as error:
            raise NotMovedError(f"{_named(path)}: {error.strerror}") from None

    def add(self, piece: bytes) -> None:
        """The next piece."""
        self._sum.update(piece)
        self._size += len(piece)
        try:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise self._dropped(error.strerror or str(error)) from None

    def finish(self, trailer: dict[str, Any]) -> None:
        """It is whole: give it its mode, its time and its name."""
        if (self._size, self._sum.hexdigest()) != (trailer["size"], trailer["sum"]):
            raise self._dropped("what has arrived is not what was sent")
        try:
            os.fchmod(self._file, int(trailer["mode"]) & 0o777)
            os.utime(self._file, ns=(int(trailer["time"]), int(trailer["time"])))
            if self._durable:
                os.fsync(self._file)
            os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            raise self._dropped(error.strerror or str(error)) from None
        self._close()

    def _dropped(self, why: str) -> NotMovedError:
        self.drop()
        return NotMovedError(f"{_named(self._path)}: {why}")

    def drop(self) -> None:
        """It will not be whole. May be called twice."""
        if self._file >= 0:
            with suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._folder)
            self._close()

    def _close(self) -> None:
        os.close(self._file)
        os.close(self._folder)
        self._file = -1


def remove(base: bytes, path: bytes) -> None:
    """Remove a file, if it is there and no link leads to it."""
    with suppress(OSError, NotMovedError):
        parts = parts_of(path)
        folder = _opened_folder(base, parts, make=False, follow=False)
        try:
            os.unlink(parts[-1], dir_fd=folder)
        finally:
            os.close(folder)
