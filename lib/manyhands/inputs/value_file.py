"""Inputs that a program gave, written once into a file of the run's folder: a resume reads them there, and the journal refers to those
that are not small.

    a list --write_all--> RUN/inputs.1 --KeptValues--> inputs          journal: NUL NUL, file, offset, size, CRC --load--> values
    a large input of an iterator --append--^

The file is a sequence of frames: size, CRC-32 (of kind and data) and kind, then an input, or several small ones. Separate from `spool`,
which keeps what came through a pipe as it came.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from struct import Struct, pack, unpack_from
from typing import Any, BinaryIO, Final, NamedTuple
from zlib import crc32

from manyhands.core.errors import InputError, JournalError
from manyhands.core.job import Values
from manyhands.posix.durable_files import Disk

REFERRED: Final = 256
"""Bytes of an input of a list from which on the journal refers to it."""
LARGE: Final = 1 << 16
"""The same for an input of an iterator, which would have to be made durable apart."""
_HEAD: Final = Struct("<QIB")
_ONE, _SEVERAL = 0, 1
_GROUP: Final = 4096
"""Small inputs in one frame."""
_BLOCK: Final = 1 << 20
"""Bytes that are written at once, unless an input is larger."""
_AT_ONCE: Final = 1 << 24
"""Bytes of a list that are made durable before its first job begins; of more, as soon as the disk can; a program that ends before leaves that
to the kernel."""
_REFERENCE: Final = re.compile(rb"\0\0(inputs\.\d+) (\d+) (\d+) (\d+)")
FILE_NAME: Final = re.compile(r"inputs\.(\d+)")
FIRST: Final = "inputs.1"
"""The name of the first of these files in a run's folder."""


class LostInputError(InputError):
    """An input that was recorded cannot be read: it was not on the disk yet when power was lost, or was changed."""

    exit_code = JournalError.exit_code


class Place(NamedTuple):
    """Where an input is stored: in the file ``name`` of the run's folder."""

    name: str
    offset: int
    size: int
    crc: int

    @property
    def reference(self) -> bytes:
        """What the journal keeps in its place; no input begins with two NULs (`encode_values`)."""
        return b"\0\0%b %d %d %d" % (self.name.encode(), self.offset, self.size, self.crc)


class Placed(tuple[bytes, ...]):
    """The columns of an input, with its place if it is stored in a file."""

    place: Place | None = None


def encode_values(values: Values) -> bytes:
    """One blob for one input: the bytes themselves if that is unambiguous, else ``NUL`` and a JSON list.

    No argument of a command can hold a NUL (execve(2)), so a leading one marks the list.
    """
    if len(values) == 1 and not values[0].startswith(b"\0"):
        return values[0]
    return b"\0" + json.dumps([os.fsdecode(value) for value in values]).encode("ascii")


def decode_values(blob: bytes) -> Values:
    """The inverse of `encode_values`."""
    if not blob.startswith(b"\0"):
        return (blob,)
    return tuple(os.fsencode(value) for value in json.loads(blob[1:]))


def place_of(blob: bytes) -> Place | None:
    """The place that a journal refers to; None if ``blob`` is the input itself."""
    if not blob.startswith(b"\0\0") or not (match := _REFERENCE.fullmatch(blob)):
        return None
    return Place(match[1].decode(), int(match[2]), int(match[3]), int(match[4]))


def load(folder: Path, place: Place) -> Values:
    """The input at a place. Raises LostInputError if it is not there, or was changed."""
    path = folder / place.name
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
            file.seek(place.offset)
            blob = file.read(min(place.size, os.fstat(file.fileno()).st_size))
    except OSError as error:
        raise LostInputError(f"cannot read an input in {path}: {error.strerror}") from error
    if len(blob) != place.size or crc32(blob) != place.crc:
        raise LostInputError(
            f"an input in {path} is damaged: it was not stored when power was lost, or has been changed; "
            "give the inputs again as a new run"
        )
    return decode_values(blob)


def mapped(path: str, offset: int, size: int) -> tuple[Any, ...]:
    """The values at a place, for a process that only reads them: a single one is a view of the file, of which nothing is copied."""
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    with open(path, "rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), size + offset - start, access=mmap.ACCESS_READ, offset=start))
    blob = view[offset - start :]
    return decode_values(bytes(blob)) if not blob[0] else (blob,)


def fresh_name(folder: Path) -> str:
    """The name of the next file in the folder of a run."""
    there = {int(match[1]) for path in folder.glob("inputs.*") if (match := FILE_NAME.fullmatch(path.name))}
    return f"inputs.{next(number for number in count(1) if number not in there)}"


class ValueFile:
    """A new file, which `append` writes to; what is not large is written together. `close` writes the rest, and lets the disk catch up
    without waiting for it."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.name, self._disk = path.name, disk
        self._file = disk.create(path)
        self._size = self._written = 0
        self._waiting: list[bytes] = []

    @property
    def much(self) -> bool:
        """Whether it is so much that `close` leaves it to a thread, unless it is to wait."""
        return self._size > _AT_ONCE

    def append(self, blob: bytes) -> Place:
        """Add an input, and write it if it is large. Raises OSError."""
        place = Place(self.name, self._size + _HEAD.size, len(blob), crc32(blob))
        self._add(_HEAD.pack(len(blob), place.crc, _ONE), blob)
        return place

    def append_small(self, blobs: Sequence[bytes]) -> None:
        """Add several inputs, to which nobody will refer."""
        data = b"".join((pack(f"<{len(blobs) + 1}I", len(blobs), *map(len, blobs)), *blobs))
        self._add(_HEAD.pack(len(data), crc32(data, _SEVERAL), _SEVERAL), data)

    def _add(self, head: bytes, data: bytes) -> None:
        self._size += len(head) + len(data)
        self._waiting.append(head)
        if len(data) >= LARGE:
            self.flush()
            self._disk.write(self._file, data)  # which is not copied
            self._written = self._size
            return
        self._waiting.append(data)
        if self._size - self._written >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write what has waited. Raises OSError."""
        waiting, self._waiting = b"".join(self._waiting), []
        self._disk.write(self._file, waiting)
        self._written = self._size

    def close(self, *, wait: bool = False) -> None:
        """Close the file when it is durable; ``wait`` for that, else it happens in a thread. Raises OSError."""
        if self._file < 0:
            return
        try:
            self.flush()
        except OSError:
            os.close(self._file)
            self._file = -1
            raise
        file, self._file = self._file, -1
        if wait or not self.much:
            self._finish(file)
        else:
            thread = threading.Thread(target=self._finish_late, args=(file,), name="manyhands-sync", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there can be no more threads
                self._finish(file)

    def _finish_late(self, file: int) -> None:
        with suppress(OSError):  # an input that is not there when it is needed is a LostInputError
            self._finish(file)

    def _finish(self, file: int) -> None:
        try:
            self._disk.sync(file)
        finally:
            os.close(file)


def write_all(path: Path, disk: Disk, rows: Iterable[Values], last: ExitStack, *, wait: bool = False) -> dict[int, Place]:
    """Store all inputs of a list; return the places of those that are not small, by their numbers from 1. Raises OSError.

    The file is closed, and so made durable, before this returns; if there is much in it, only when ``last`` is left, unless it is to ``wait``.
    What is synchronised before that, such as run.json, need not wait for these data.
    """
    file = ValueFile(path, disk)
    try:
        places = _write_rows(file, rows)
        file.flush()
    except BaseException:
        file.close()
        raise
    if file.much and not wait:
        last.callback(file.close)
    else:
        file.close(wait=True)
    return places


def _write_rows(file: ValueFile, rows: Iterable[Values]) -> dict[int, Place]:
    places = {}
    small: list[bytes] = []
    for number, values in enumerate(rows, 1):
        blob = encode_values(values)
        if len(blob) < REFERRED:
            small.append(blob)
            if len(small) < _GROUP:
                continue
        if small:
            file.append_small(small)
            small.clear()
        if len(blob) >= REFERRED:
            places[number] = file.append(blob)
    if small:
        file.append_small(small)
    return places


class KeptValues:
    """The inputs of a list, as `write_all` has stored them; a source (`manyhands.inputs.sources.Source`)."""

    def __init__(self, path: Path, total: int, columns: Sequence[str], width: int | None) -> None:
        self._path, self.columns, self.width = path, tuple(columns), width
        self.total: int | None = total

    def __iter__(self) -> Iterator[Values]:
        """Yield the inputs. Raises LostInputError where they are damaged or missing."""
        number = 0
        try:
            with open(os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                for values in self._frames(file):
                    number += 1
                    yield values
        except OSError as error:
            raise LostInputError(f"cannot read the inputs kept in {self._path}: {error.strerror}") from error
        if number != self.total:
            raise LostInputError(
                f"of the {self.total:,} inputs that the program gave, {number:,} are kept in {self._path}: the others were not stored "
                "when power was lost; give them all again"
            )

    def _frames(self, file: BinaryIO) -> Iterator[Values]:
        at = 0
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            size, crc, kind = _HEAD.unpack(head)
            at += _HEAD.size
            data = file.read(size) if size <= os.fstat(file.fileno()).st_size else b""
            if len(data) < size or crc32(data, kind) != crc:
                return
            if kind == _SEVERAL:
                (many,) = unpack_from("<I", data)
                place = 4 * (many + 1)
                for length in unpack_from(f"<{many}I", data, 4):
                    yield decode_values(data[place : place + length])
                    place += length
            else:
                found = Placed(decode_values(data))
                found.place = Place(self._path.name, at, size, crc)
                yield found
            at += size

    def spec(self) -> dict[str, Any]:
        """See `Source.spec`."""
        return kept_spec(self._path.name, self.total or 0, self.columns, self.width)


def kept_spec(name: str, total: int, columns: Sequence[str], width: int | None) -> dict[str, Any]:
    """What run.json says of inputs that are in the file ``name``."""
    return {"kind": "kept", "file": name, "total": total, "columns": list(columns), "width": width}


def kept_source(folder: Path, spec: Mapping[str, Any]) -> KeptValues:
    """The inverse."""
    return KeptValues(folder / spec["file"], spec["total"], spec["columns"], spec["width"])
