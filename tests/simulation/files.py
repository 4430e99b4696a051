"""A disk that forgets: real files in a folder in memory, and beside them what of each is durable.

SQLite reaches it as a VFS of apsw, piped inputs as a `manyhands.posix.durable_files.Disk`. When the power goes, what was not synchronised is
there in part, by sectors, as the seed says.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import apsw

from manyhands.posix.durable_files import Disk
from manyhands.storage.database import _check

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""


class Content:
    """One file: its durable content, whether its name is durable, too, and what was done to it since, in order."""

    def __init__(self, durable: bytes, *, named: bool = True) -> None:
        self.durable, self.named = durable, named
        self.pending: list[tuple[int, bytes | None]] = []  # (offset, data), or (size, None) for a cut

    def after_power_loss(self, chance: Random) -> bytes | None:
        """What is found when the power is back; None: no such file."""
        if not self.named and chance.random() < 0.5:
            return None
        found = bytearray(self.durable)
        for offset, data in self.pending:
            if chance.random() < 0.3:
                continue
            if data is None:
                del found[offset:]
                continue
            for start in range(0, len(data), SECTOR):
                if chance.random() < 0.8:
                    at = offset + start
                    piece = data[start : start + SECTOR]
                    found.extend(bytes(max(0, at + len(piece) - len(found))))
                    found[at : at + len(piece)] = piece
        return bytes(found)


class Files:
    """All files of a run. ``step`` is called before each operation, and may crash; ``fault`` may give a disk error for a path."""

    def __init__(self, step: Callable[[str], None], fault: Callable[[str], apsw.Error | None]) -> None:
        self.step, self.fault = step, fault
        self.contents: dict[str, Content] = {}
        self.renamed: list[tuple[str, str]] = []
        self.dead = False
        self._databases: list[apsw.Connection] = []
        self.vfs = _Vfs(self)

    def content(self, path: str) -> Content:
        """The state of a file; one that was not seen before is durable as it is."""
        if path not in self.contents:
            self.contents[path] = Content(Path(path).read_bytes() if os.path.exists(path) else b"")
        return self.contents[path]

    def wrote(self, path: str, offset: int, data: bytes | None) -> None:
        """Note an operation."""
        self.content(path).pending.append((offset, data))

    def synced(self, path: str) -> None:
        """Note that all of a file is durable."""
        one = self.content(path)
        with open(path, "rb", buffering=0) as file:
            one.durable, one.pending = file.read(), []

    def connect(self, path: Path, new: bool) -> SimulatedDatabase:
        """A `manyhands.storage.database.Connect`."""
        assert not new
        _check(path)
        try:
            database = apsw.Connection(str(path), vfs=self.vfs.name)
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from error
        self._databases.append(database)
        return SimulatedDatabase(database, self)

    def leave(self) -> None:
        """The process is over, and its descriptors are closed."""
        self.dead = True
        for database in self._databases:
            with suppress(apsw.ConnectionClosedError):
                database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                database.close(True)

    def crash(self, chance: Random, *, power: bool) -> Callable[[], None]:
        """The process is gone, or all is dark. Returns what is to be done once all that still holds a file has let go."""
        self.dead = True
        kept: dict[str, bytes | None] = {}
        if power:
            for path, one in self.contents.items():
                kept[path] = one.after_power_loss(chance)
            for old, new in self.renamed:
                if chance.random() < 0.5 and kept.get(new) is not None:
                    kept[old], kept[new] = kept[new], None
        else:
            kept = {path: Path(path).read_bytes() if os.path.exists(path) else None for path in self.contents}

        def restore() -> None:
            self.leave()
            for path, data in kept.items():
                if data is None:
                    Path(path).unlink(missing_ok=True)
                else:
                    Path(path).write_bytes(data)
                Path(f"{path}-shm").unlink(missing_ok=True)

        return restore


class _Vfs(apsw.VFS):
    _numbers = itertools.count()

    def __init__(self, files: Files) -> None:
        self.name, self.files = f"simulated{next(self._numbers)}", files
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self.files, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if not self.files.dead:
            self.files.step("delete")
            super().xDelete(filename, syncdir)
            self.files.contents.pop(filename, None)


class _File(apsw.VFSFile):
    def __init__(self, files: Files, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._files, self._path = files, str(path) if path else None
        if self._path:
            files.content(self._path)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if not self._path:  # a temporary file
            super().xWrite(data, offset)
        elif not self._files.dead:
            self._files.step("write")
            if error := self._files.fault(self._path):
                raise error
            super().xWrite(data, offset)
            self._files.wrote(self._path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        if not self._files.dead:
            self._files.step("cut")
            super().xTruncate(newsize)
            if self._path:
                self._files.wrote(self._path, newsize, None)

    def xSync(self, flags: int) -> None:
        if self._path and not self._files.dead:
            self._files.step("sync")
            if error := self._files.fault(self._path):
                raise error
            self._files.synced(self._path)


class _Rows:
    """A cursor whose errors are those of sqlite3."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def fetchone(self) -> Any:
        try:
            return self._cursor.fetchone()
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from error


class SimulatedDatabase:
    """A `manyhands.storage.database.Database` on the simulated disk."""

    def __init__(self, database: apsw.Connection, files: Files) -> None:
        self._database, self._files = database, files
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = FULL")

    @property
    def in_transaction(self) -> bool:
        return self._database.in_transaction

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> _Rows:
        try:
            return _Rows(self._database.execute(sql, tuple(values)))
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object:
        try:
            return self._database.executemany(sql, [tuple(row) for row in rows])
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from error

    def close(self) -> None:
        try:
            if self._files.dead:  # a killed process does not tidy up
                self._database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._database.close(True)
        except apsw.ConnectionClosedError:
            pass
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from error

    def present(self) -> bool:
        return True


class SimulatedDisk(Disk):
    """The files of piped inputs, on the same disk."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._paths: dict[int, str] = {}

    def create(self, path: Path) -> int:
        self._files.step("create")
        self._files.contents[str(path)] = Content(b"", named=False)
        file = super().create(path)
        self._paths[file] = str(path)
        return file

    def write(self, file: int, data: bytes) -> None:
        self._files.step("write")
        offset = os.fstat(file).st_size
        super().write(file, data)
        self._files.wrote(self._paths[file], offset, data)

    def durable(self, path: Path) -> bytes:
        """What is certain to be found of a file when the power is back."""
        found = self._files.contents.get(str(path))
        return found.durable if found else b""

    def sync(self, file: int) -> None:
        self._files.step("sync")
        self._files.synced(self._paths[file])

    def rename(self, old: Path, new: Path) -> None:
        self._files.step("rename")
        super().rename(old, new)
        self._files.contents[str(new)] = self._files.contents.pop(str(old))
        self._files.renamed.append((str(old), str(new)))

    def sync_folder(self, path: Path) -> None:
        self._files.step("folder")
        self._files.renamed.clear()
        for name, one in self._files.contents.items():
            if os.path.dirname(name) == str(path):
                one.named = True
