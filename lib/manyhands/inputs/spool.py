"""Stores inputs from a pipe in the run's folder, because a pipe can be read only once.

    pipe --Spool (thread)--> RUN/inputs.part --follow--> source        at the end of the pipe: RUN/inputs

A reader gets only inputs that are durable: the input of every job that begins is still there after a loss of power. The journal
records with every commit how many bytes were durable, and their CRC, so that a loss is detected.
"""

from __future__ import annotations

import csv
import io
import os
import re
import select
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from zlib import crc32

from manyhands.core.errors import InputError, JournalError
from manyhands.core.hints import given_as
from manyhands.posix.durable_files import Disk

_WINDOW: Final = 16 << 20
"""Bytes that are stored ahead of the reader: some hundred thousand inputs, whose number is then known."""
_BLOCK: Final = 1 << 16
_GROUP: Final = 1 << 20  # bytes that are synchronised at once while the pipe is quick
_PATIENCE: Final = 0.2  # seconds between checks whether a waiting reader was cancelled (from a signal handler)


class NotKeptError(InputError):
    """Inputs cannot be stored, so no more jobs begin; those that began are finished."""

    exit_code = JournalError.exit_code


class InputFile:
    """The inputs so far: `append` writes, `sync` makes them durable and then counts them in `kept`."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder, self._disk = folder, disk
        self.path, self._final, self._sum = folder / "inputs.part", folder / "inputs", folder / "inputs.sum"
        for earlier in (self.path, self._final, self._sum):
            earlier.unlink(missing_ok=True)
        self.descriptor = disk.create(self.path)
        disk.sync_folder(folder)
        self._size = self._crc = 0
        self.kept = 0, 0
        """(bytes that are durable, their CRC)."""

    @property
    def waiting(self) -> int:
        """Bytes that were written and are not durable yet."""
        return self._size - self.kept[0]

    def append(self, data: bytes) -> None:
        """Write ``data`` at the end."""
        self._disk.write(self.descriptor, data)
        self._size, self._crc = self._size + len(data), crc32(data, self._crc)

    def sync(self) -> None:
        """Make all that was written durable."""
        if self.waiting:
            self._disk.sync(self.descriptor)
            self.kept = self._size, self._crc

    def finish(self) -> None:
        """Rename the file to show that it is complete, and write its size and CRC beside it."""
        self.sync()
        self._disk.write_new(self._sum, b"%d %d\n" % self.kept)
        self._disk.rename(self.path, self._final)
        self._disk.sync_folder(self.folder)


class Spool:
    """Copies a pipe to ``folder/inputs.part`` in a thread, until it ends or `close` is called.

    It reads some MiB ahead of its reader; after ``limit`` bytes (0: no limit), only when the reader has read everything.
    """

    def __init__(self, stream: int, folder: Path, *, limit: int = 0, disk: Disk | None = None) -> None:
        self._file = InputFile(folder, disk or Disk())
        self._stream, self._limit = stream, limit
        self._taken = 0
        self._ended = self._cancelled = self._closing = False
        self._error: InputError | None = None
        self._news = threading.Condition()
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._copy, name="manyhands-spool", daemon=True)
        self._thread.start()

    @property
    def complete(self) -> bool:
        """Whether the whole pipe has been copied."""
        return self._ended and self._error is None and not self._file.path.exists()

    def kept(self) -> tuple[int, int]:
        """(bytes that are durable, their CRC); see `manyhands.storage.journal.Journal.follow`."""
        return self._file.kept

    def follow(self) -> io.BufferedReader:
        """A new reader from the beginning; at the end of what has arrived, it waits for more."""
        return io.BufferedReader(_Follower(self, os.dup(self._file.descriptor)), _BLOCK)

    def whole(self, wanted: Callable[[], bool]) -> io.BufferedReader | None:
        """Wait until the pipe has ended, while ``wanted()`` is true; return a reader from the beginning. Call `nudge` after the
        value of ``wanted()`` has changed."""
        with self._news:
            while not self._ended and not self._closing and wanted():
                self._news.wait()
            return self.follow() if self.complete and wanted() else None

    def nudge(self) -> None:
        """Let waiting threads check again."""
        with self._news:
            self._news.notify_all()

    def wait_for(self, offset: int, most: int) -> int:
        """How many bytes there are from ``offset``, up to ``most``; waits until there are some; 0 at the end. Raises InputError."""
        with self._news:
            while offset >= (size := self._file.kept[0]) and not self._ended:
                self._news.wait(_PATIENCE)
                if self._cancelled:
                    return 0
            if offset >= size:
                if self._error:
                    raise self._error
                return 0
            found = min(size - offset, most)
            self._taken = max(self._taken, offset + found)
            self._news.notify_all()
        return found

    def cancel(self) -> None:
        """Let a waiting reader reach the end soon. Safe in a signal handler: it takes no lock."""
        self._cancelled = True

    def close(self) -> None:
        """Stop copying; readers reach the end."""
        if self._stopper >= 0:
            with self._news:
                self._closing = True
                self._news.notify_all()
            os.close(self._stopper)
            self._stopper = -1
            self._thread.join()
            os.close(self._stop)
            os.close(self._file.descriptor)

    def _copy(self) -> None:
        try:
            for block in self._blocks():
                self._append(block)
            if not self._closing:
                self._keep(self._file.finish)
        except InputError as error:
            self._error = error
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _blocks(self) -> Iterator[bytes]:
        """Blocks from the pipe; an empty block if nothing has arrived just now."""
        poll = select.poll()
        poll.register(self._stream, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while self._has_room():
            ready = [file for file, _ in poll.poll(0)]
            if not ready:
                yield b""
                ready = [file for file, _ in poll.poll()]
            if self._stop in ready:
                return
            try:
                block = os.read(self._stream, _BLOCK)
            except OSError as error:
                raise InputError(f"cannot read the inputs further: {error.strerror}") from error
            if not block:
                return
            yield block

    def _append(self, block: bytes) -> None:
        """Store a block; make it durable at once if nothing follows just now, else in groups."""
        if block:
            self._keep(lambda: self._file.append(block))
        if not block or self._file.waiting >= _GROUP:
            self._keep(self._file.sync)
            with self._news:
                self._news.notify_all()

    def _keep(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            raise NotKeptError(
                f"cannot store the inputs in {self._file.path}: {error.strerror}; no more jobs begin"
            ) from error

    def _has_room(self) -> bool:
        """Wait until more may be copied; False if that will never be."""
        size = self._file.kept[0] + self._file.waiting
        if size - self._taken >= self._room(size):
            self._append(b"")
            with self._news:
                while size - self._taken >= self._room(size) and not self._closing:
                    self._news.wait()
        return not self._closing

    def _room(self, size: int) -> int:
        """How many unread bytes may be stored when ``size`` have been copied."""
        return _WINDOW if not self._limit or size < self._limit else 1


class _Follower(io.RawIOBase):
    """Has a descriptor of its own: the spool may be closed while it reads."""

    def __init__(self, spool: Spool, descriptor: int) -> None:
        self._spool, self._descriptor, self._offset = spool, descriptor, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed wants any WriteableBuffer
        size = self._spool.wait_for(self._offset, len(memoryview(buffer)))
        if size:
            size = os.preadv(self._descriptor, [memoryview(buffer)[:size]], self._offset)
        self._offset += size
        return size

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


# -- resumed -------------------------------------------------------------------------------------------------------------


class Spooled(NamedTuple):
    """The stored inputs of a pipe: the first ``size`` bytes of ``path``, which are complete inputs."""

    path: Path
    size: int
    complete: bool
    """Whether the pipe had ended; else it is not known what would have followed."""

    def open(self) -> BinaryIO:
        """A reader of those bytes."""
        return io.BufferedReader(_Part(self.path, self.size), _BLOCK)


class _Part(io.RawIOBase):
    """The beginning of a file."""

    def __init__(self, path: Path, size: int) -> None:
        self._file, self._rest = path.open("rb", buffering=0), size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed wants any WriteableBuffer
        size = self._file.readinto(memoryview(buffer)[: self._rest])
        self._rest -= size
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def spooled(folder: Path, spec: Mapping[str, Any], kept: tuple[int, int]) -> Spooled:
    """The stored inputs of a run that is resumed, in the format that ``spec`` describes.

    An input that was cut in the middle is left out, so that it is not mistaken for a complete one. Raises JournalError if the file
    does not match ``kept``, the (bytes, their CRC) in the journal.
    """
    part, final = folder / "inputs.part", folder / "inputs"
    complete = final.exists()
    path = final if complete else part
    try:
        if not path.exists() and not kept[0]:
            part.touch(mode=0o600)
        if complete:
            kept = _whole_sum(folder) or kept
        with path.open("rb") as file:
            if (there := _crc(file, kept[0])) != kept:
                raise JournalError(
                    f"the inputs kept in {path} are damaged: there were {kept[0]:,} bytes, of which {there[0]:,} are"
                    f" there{' and changed' * (there[0] == kept[0])}; give all inputs again with {given_as('--run-id', folder.name)}"
                )
            return Spooled(
                path,
                os.fstat(file.fileno()).st_size if complete else _whole(file, spec, _sound(file, spec, kept[0])),
                complete,
            )
    except OSError as error:
        raise JournalError(f"cannot read the inputs kept in {path}: {error.strerror}") from error


def _whole_sum(folder: Path) -> tuple[int, int] | None:
    """(bytes, their CRC) of all inputs; None for a run of an earlier version, which did not store them."""
    path = folder / "inputs.sum"
    if not path.exists():
        return None
    match = re.fullmatch(rb"(\d{1,19}) (\d{1,10})\n", path.read_bytes())
    if not match:
        raise JournalError(f"{path} is damaged; give all inputs again with {given_as('--run-id', folder.name)}")
    return int(match[1]), int(match[2])


def _crc(file: BinaryIO, size: int) -> tuple[int, int]:
    """(bytes, CRC) of the first ``size`` bytes, or of as many as there are."""
    crc, rest = 0, size
    while rest and (block := file.read(min(rest, _GROUP))):
        crc, rest = crc32(block, crc), rest - len(block)
    return size - rest, crc


def _sound(file: BinaryIO, spec: Mapping[str, Any], kept: int) -> int:
    """How far a file is valid: after a loss of power, the part that was not durable has holes, which are read as NUL."""
    if spec.get("null") and kept:
        return kept
    end = file.seek(0, os.SEEK_END)
    at = file.seek(kept)
    while not spec.get("null") and (block := file.read(_GROUP)):
        if (hole := block.find(b"\0")) >= 0:
            return at + hole
        at += len(block)
    return end


def _whole(file: BinaryIO, spec: Mapping[str, Any], sound: int) -> int:
    """The end of the last complete input in the first ``sound`` bytes."""
    if spec["kind"] == "csv":
        return _whole_rows(file, spec.get("delimiter") or ",", sound)
    end = b"\0" if spec.get("null") else b"\n"
    keep = sound
    while keep:
        start = max(0, keep - _BLOCK)
        file.seek(start)
        found = file.read(keep - start).rfind(end)
        if found >= 0:
            return start + found + 1
        keep = start
    return 0


def _whole_rows(file: BinaryIO, delimiter: str, sound: int) -> int:
    """The end of the last complete row. A line break within quotes does not end a row, so the rows have to be parsed."""
    file.seek(0)
    read = whole = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for line in file:
            if not line.endswith(b"\n") or read + len(line) > sound:
                return
            read += len(line)
            yield line.decode("utf-8-sig" if read == len(line) else "utf-8", "surrogateescape")

    try:
        for _ in csv.reader(lines(), strict=True, delimiter=delimiter):
            whole = read
    except csv.Error as error:  # if a row is invalid, not only cut off, the source reports it
        return whole if "unexpected end of data" in str(error) else read
    return whole
