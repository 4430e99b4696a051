"""The tables of a journal, and how an older one is migrated to the current schema.

1  began, ended, execution
2  + ended.result, ended.traceback: what functions return
3  + sum in every row, and `seal`: the number of rows, and how much of the inputs was stored when they were written
4  + ended.host; began.input may refer to a file of the run (`manyhands.inputs.value_file`)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from manyhands.core.errors import JournalError
from manyhands.storage.database import Database
from manyhands.storage.rows import BEGAN, ENDED, DamagedRowError, checksum

SCHEMA_VERSION: Final = 4
APPLICATION_ID: Final = 0x6D686E64  # "mhnd"

_SEAL: Final = """CREATE TABLE seal (
    began INTEGER NOT NULL, ended INTEGER NOT NULL, executions INTEGER NOT NULL,
    inputs_size INTEGER NOT NULL, inputs_sum INTEGER NOT NULL
)"""
_TABLES: Final = (
    """CREATE TABLE began (
    job INTEGER NOT NULL, attempt INTEGER NOT NULL, key BLOB NOT NULL, input BLOB NOT NULL, sum INTEGER,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID""",
    """CREATE TABLE ended (
    job INTEGER NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL, final INTEGER NOT NULL,
    exit INTEGER, signal INTEGER, error TEXT, started REAL, wall REAL NOT NULL, user REAL NOT NULL, system REAL NOT NULL,
    max_rss INTEGER NOT NULL, slot INTEGER NOT NULL, leftovers INTEGER NOT NULL, still_running INTEGER NOT NULL,
    stdout BLOB, stdout_path BLOB, stdout_size INTEGER, stdout_dropped INTEGER,
    stderr BLOB, stderr_path BLOB, stderr_size INTEGER, stderr_dropped INTEGER,
    result BLOB, traceback TEXT, sum INTEGER, host TEXT,
    UNIQUE (job, attempt)
)""",
    """CREATE TABLE execution (
    id INTEGER PRIMARY KEY, started REAL NOT NULL, wall REAL NOT NULL, complete INTEGER NOT NULL, sum INTEGER
)""",
    _SEAL,
    "INSERT INTO seal VALUES (0, 0, 0, 0, 0)",
)
_HOST: Final = "ALTER TABLE ended ADD COLUMN host TEXT"
_COLUMNS: Final = {1: len(ENDED) - 3, 2: len(ENDED) - 1, 3: len(ENDED), 4: len(ENDED) + 1}
"""The number of columns of `ended`, to detect a damaged version number."""


def make(db: Database) -> None:
    """Make the tables of a new journal."""
    _in_one(db, (f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {SCHEMA_VERSION}", *_TABLES))


def version_of(db: Database, path: object) -> int:
    """The schema of a journal. Raises JournalError if it is not a journal, is damaged, or was made by a newer manyhands."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID or version < 1:
        raise JournalError(f"{path} is not a journal of manyhands; start the batch again as a new run")
    if version > SCHEMA_VERSION:
        raise JournalError(f"{path} was written by a newer manyhands (schema {version}); upgrade to continue it")
    if sum(1 for _ in db.execute("PRAGMA table_info(ended)")) != _COLUMNS[version]:
        raise damaged(path, "its version does not fit its tables")
    return version


def damaged(path: object, why: str) -> JournalError:
    """The error for a journal that cannot be trusted."""
    return JournalError(
        f"the journal {path} is damaged ({' '.join(why.split())}): it is not changed; "
        "start the batch again as a new run, or restore the file"
    )


@contextmanager
def explained(path: object, action: str) -> Iterator[None]:
    """Raise a JournalError for whatever SQLite or a damaged file raises while somebody does this, such as ``read``."""
    try:
        yield
    except FileExistsError:  # the caller handles it; no file was overwritten
        raise
    except DamagedRowError as error:
        raise damaged(path, str(error)) from error
    except (sqlite3.Error, sqlite3.Warning, OSError, OverflowError, ValueError) as error:  # damaged text may not be UTF-8
        raise JournalError(f"cannot {action} the journal {path}: {' '.join(str(error).split())}") from error


def migrate(db: Database, version: int) -> None:
    """Migrate a journal of schema ``version`` to the current one, in one transaction."""
    present = [_HOST, f"PRAGMA user_version = {SCHEMA_VERSION}"]
    if version == 3:
        _in_one(db, present)
        return
    statements = [
        "ALTER TABLE began ADD COLUMN sum INTEGER",
        "ALTER TABLE ended ADD COLUMN sum INTEGER",
        "ALTER TABLE execution ADD COLUMN sum INTEGER",
        _SEAL,
        "INSERT INTO seal SELECT (SELECT count(*) FROM began), (SELECT count(*) FROM ended),"
        " (SELECT count(*) FROM execution), 0, 0",
        *present,
    ]
    if version < 2:
        statements[:0] = ["ALTER TABLE ended ADD COLUMN result BLOB", "ALTER TABLE ended ADD COLUMN traceback TEXT"]
    _in_one(db, statements, sums=True)


def _in_one(db: Database, statements: Iterable[str], *, sums: bool = False) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            db.execute(statement)
        if sums:
            _add_sums(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _add_sums(db: Database) -> None:
    """Give each row of an older schema its checksum."""
    for table, columns, key in (
        ("began", BEGAN, "job = ? AND attempt = ?"),
        ("ended", ENDED[:-1], "job = ? AND attempt = ?"),  # no host is known: see `checksum_of_end`
        ("execution", ("id", "started", "wall", "complete"), "id = ?"),
    ):
        names, length = ", ".join(columns), key.count("?")
        rows = db.execute(f"SELECT {names} FROM {table}")  # noqa: S608 - constants only
        db.executemany(
            f"UPDATE {table} SET sum = ? WHERE {key}",  # noqa: S608 - constants only
            ((checksum(row), *row[:length]) for row in rows),
        )
