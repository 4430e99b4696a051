"""The only module that opens SQLite databases: for writing, for reading, and on read-only disks.

Separate from the journal, which only executes statements: the simulator gives it a database on a simulated disk.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from manyhands.core.errors import JournalError
from manyhands.storage import closed_file


class Cursor(Protocol):
    """The rows of one statement."""

    def __iter__(self) -> Iterator[Any]: ...
    def fetchone(self) -> Any: ...


class Database(Protocol):
    """What the journal needs of a connection. Errors are those of sqlite3."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Cursor: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object: ...
    def close(self) -> None: ...

    def present(self) -> bool:
        """Whether the open file is still the one at its path."""


Connect = Callable[[Path, bool], Database]
"""Opens the database at a path, or makes a ``new`` one; for writing if possible. Raises JournalError."""


class Sqlite(sqlite3.Connection):
    """A connection that knows which file it has open."""

    file: tuple[str, int] | None = None
    """(path, inode)."""

    def present(self) -> bool:
        """See `Database.present`; SQLite itself continues to write to a file that has been removed."""
        if self.file is None:
            return True
        try:
            return os.stat(self.file[0]).st_ino == self.file[1]
        except OSError:
            return False


def connect(path: Path, new: bool = False) -> Sqlite:
    """See `Connect`; a new file is readable by its owner only, and no file is overwritten. Raises sqlite3.Error and OSError, too."""
    if new:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    else:
        _check(path)
    if not os.access(path.parent, os.W_OK) or not os.access(path, os.W_OK):
        return _read_only(path)
    with closed_file.opening:
        return _for_writing(path)


def uri_of(path: Path, options: str) -> str:
    """A file as SQLite takes it (https://sqlite.org/uri.html); `Path.as_uri` would import what parses addresses."""
    name = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file://{name}?{options}"


def _for_writing(path: Path) -> Sqlite:
    db = _open(uri_of(path, "mode=rw"))
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.file = str(path.absolute()), os.stat(path).st_ino
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            raise _no_journal(path) from None
        raise
    return db


def connect_unkept(path: Path, new: bool = False) -> Sqlite:
    """As `connect`, for a database that is only used by this program: no write waits for the disk."""
    db = connect(path, new)
    db.execute("PRAGMA synchronous = OFF")
    return db


def _check(path: Path) -> None:
    """Raise JournalError for a missing or empty file, which SQLite would open as a new database.

    It is looked at, and not opened: when a process closes a file, all its locks on that file end, also those of its other connections
    (fcntl(2)). The next reader would then take itself for the last one, and remove the log that another still writes
    (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    if not path.is_file():
        raise JournalError(f"no journal at {path}: the run cannot be read; start the batch again as a new run")
    if not path.stat().st_size:
        raise _no_journal(path)


def _no_journal(path: Path) -> JournalError:
    return JournalError(f"{path} is not a journal of manyhands; start the batch again as a new run")


def _read_only(path: Path) -> Sqlite:
    """Open a database read-only. If it has a log, SQLite would have to write beside it, so a copy is read."""
    log = path.with_name(path.name + "-wal")
    if not log.exists() or not log.stat().st_size:
        return _open(uri_of(path, "mode=ro&immutable=1"))
    import shutil  # seldom needed, and slow to import
    import tempfile

    with tempfile.TemporaryDirectory(prefix="manyhands-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        with suppress(FileNotFoundError):  # its writer has just closed it
            shutil.copyfile(log, copy.with_name(log.name))
        db = _open(copy.as_uri())
        try:
            db.execute(
                "SELECT count(*) FROM sqlite_master"
            ).fetchone()  # opens the log; the names are not needed after this
        except BaseException:
            db.close()
            raise
        return db


def _open(uri: str) -> Sqlite:
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30, factory=Sqlite)
