"""The durable record of one run: a SQLite database with one row for each attempt that may begin and one for each that ended.

    began (job, attempt, key, input)  committed BEFORE the attempt is handed to a backend
    ended (job, attempt, status, ...) committed BEFORE anyone is told

Both tables only ever grow, in nearly the order of their keys: an insert dirties few pages, so a group of rows costs one
small write and one fsync. Nothing is updated: a job's state is that of its last attempt, and `UNIQUE (job, attempt)` makes
"recorded exactly once" a rule of the file, not of the code. WAL with synchronous FULL makes a commit survive power loss
(https://sqlite.org/pragma.html#pragma_synchronous). There is one writer, who holds the run's lock; readers are welcome.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from manyhands.errors import JournalError
from manyhands.job import Attempt, Job, Outcome, Status
from manyhands.rows import LEFT, JobRecord, began_row, decode_values, ended_row, record_of

SCHEMA_VERSION: Final = 2
"""2 added what functions return: `result` and `traceback`."""
_MAGIC: Final = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html
APPLICATION_ID: Final = 0x6D686E64  # "mhnd"

_SCHEMA = f"""
BEGIN;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE began (
    job INTEGER NOT NULL, attempt INTEGER NOT NULL, key BLOB NOT NULL, input BLOB NOT NULL,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;
CREATE TABLE ended (
    job INTEGER NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL, final INTEGER NOT NULL,
    exit INTEGER, signal INTEGER, error TEXT, started REAL, wall REAL NOT NULL, user REAL NOT NULL, system REAL NOT NULL,
    max_rss INTEGER NOT NULL, slot INTEGER NOT NULL, leftovers INTEGER NOT NULL, still_running INTEGER NOT NULL,
    stdout BLOB, stdout_path BLOB, stdout_size INTEGER, stdout_dropped INTEGER,
    stderr BLOB, stderr_path BLOB, stderr_size INTEGER, stderr_dropped INTEGER,
    result BLOB, traceback TEXT,
    UNIQUE (job, attempt)
);
CREATE TABLE execution (id INTEGER PRIMARY KEY, started REAL NOT NULL, wall REAL NOT NULL, complete INTEGER NOT NULL);
COMMIT;
"""
_MIGRATION = f"""
BEGIN IMMEDIATE;
ALTER TABLE ended ADD COLUMN result BLOB;
ALTER TABLE ended ADD COLUMN traceback TEXT;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_BEGAN = "INSERT INTO began VALUES (?, ?, ?, ?)"
_ENDED = f"INSERT INTO ended VALUES ({', '.join('?' * 25)})"  # noqa: S608 - constants only
# max() makes SQLite take the other columns from the same row: https://sqlite.org/lang_select.html#bareagg
_LAST = """
SELECT b.job, max(b.attempt) AS attempt, b.key, b.input, {columns}
FROM began b LEFT JOIN ended e ON e.job = b.job AND e.attempt = b.attempt
GROUP BY b.job
"""
_FAILED = (Status.FAILED, Status.TIMEOUT)


class Tally(NamedTuple):
    """How many jobs are in which state; ``left`` counts those without a final status."""

    counts: dict[Status, int]
    left: int


@contextmanager
def _explained(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise JournalError(f"cannot {action} the journal {path}: {error}") from error


class Journal:
    """The journal of one run. Rows are collected by `began` and `ended` and become durable together in `commit`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self._began: list[tuple[int, int, bytes, bytes]] = []
        self._ended: list[tuple[object, ...]] = []

    @classmethod
    def create(cls, path: Path) -> Journal:
        """Make a new journal, readable by its owner only. Raises JournalError."""
        with _explained(path, "create"):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            journal = cls(path, _connect(path))
            journal._db.executescript(_SCHEMA)
            return journal

    @classmethod
    def open(cls, path: Path, *, check: bool = False) -> Journal:
        """Open an existing journal; ``check``: to go on writing, so it is read whole, refused if damaged, and brought to this
        schema. Raises JournalError.

        A tail that was cut off by a crash is not damage: SQLite rolls back to the last commit by itself.
        """
        if not path.is_file():
            raise JournalError(f"no journal at {path}: the run cannot be read; start the batch again as a new run")
        with _explained(path, "open"):
            with path.open("rb") as file:
                if file.read(len(_MAGIC)) != _MAGIC:  # SQLite would take an empty file for a new database
                    raise JournalError(f"{path} is not a journal of manyhands; start the batch again as a new run")
            db = _connect(path)
            try:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID or version < 1:
                    raise JournalError(f"{path} is not a journal of manyhands; start the batch again as a new run")
                if version > SCHEMA_VERSION:
                    raise JournalError(
                        f"{path} was written by a newer manyhands (schema {version}); upgrade to go on with it"
                    )
                if check:
                    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
                    if found != "ok":
                        raise JournalError(
                            f"the journal {path} is damaged ({' '.join(found.split())}): it is left as it is; "
                            "start the batch again as a new run, or restore the file"
                        )
                    if version < SCHEMA_VERSION:
                        db.executescript(_MIGRATION)
            except BaseException:
                db.close()
                raise
            return cls(path, db)

    # -- writing ---------------------------------------------------------------------------------------------------------

    def began(self, attempt: Attempt) -> None:
        """Note that ``attempt`` may begin; it must not be handed on before `commit`."""
        self._began.append(began_row(attempt))

    def ended(self, outcome: Outcome) -> None:
        """Note how an attempt ended; nobody may be told before `commit`."""
        self._ended.append(ended_row(outcome))

    def commit(self) -> None:
        """Make all noted rows durable at once. Raises JournalError and keeps the rows, so that it can be tried again."""
        if not self._began and not self._ended:
            return
        db = self._db
        with _explained(self.path, "write to"):
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany(_BEGAN, self._began)
                db.executemany(_ENDED, self._ended)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite has already rolled back by itself after a full disk
                    db.execute("ROLLBACK")
                raise
        self._began.clear()
        self._ended.clear()

    def executed(self, started: float, wall: float, *, complete: bool) -> None:
        """Record one execution of the run: when (epoch seconds), how long, and whether nothing was left to do."""
        with _explained(self.path, "write to"):
            self._db.execute(
                "INSERT INTO execution (started, wall, complete) VALUES (?, ?, ?)", (started, wall, complete)
            )

    def close_lost(self) -> int:
        """End every attempt that an earlier, dead coordinator left open as `lost`; returns how many there were."""
        with _explained(self.path, "write to"):
            cursor = self._db.execute(
                "INSERT INTO ended (job, attempt, status, final, error, wall, user, system, max_rss, slot, leftovers,"
                " still_running) SELECT job, attempt, 'lost', 0, 'the run was killed', 0, 0, 0, 0, 0, 0, 0 FROM began b"
                " WHERE NOT EXISTS (SELECT 1 FROM ended e WHERE e.job = b.job AND e.attempt = b.attempt)"
            )
            return cursor.rowcount

    def close(self) -> None:
        """Close the database; rows that were not committed are dropped."""
        self._db.close()

    # -- reading ---------------------------------------------------------------------------------------------------------

    def records(self) -> Iterator[JobRecord]:
        """All jobs in the order of their numbers, streamed."""
        with _explained(self.path, "read"):
            for row in self._db.execute(_LAST.format(columns="e.*")):
                yield record_of(row)

    def finished(self) -> Iterator[JobRecord]:
        """The last attempts of all jobs that have ended, in the order in which they ended."""
        with _explained(self.path, "read"):
            query = _LAST.format(columns="e.*, e.rowid AS place")
            for row in self._db.execute(f"SELECT * FROM ({query}) WHERE place IS NOT NULL ORDER BY place"):  # noqa: S608
                yield record_of(row[:-1])

    def attempts(self, number: int) -> list[Outcome]:
        """Every attempt of one job that has ended, the first one first."""
        with _explained(self.path, "read"):
            rows = self._db.execute(
                "SELECT b.job, b.attempt, b.key, b.input, e.* FROM began b JOIN ended e ON e.job = b.job"
                " AND e.attempt = b.attempt WHERE b.job = ? ORDER BY b.attempt", (number,),
            )  # fmt: skip
            return [record.outcome for record in map(record_of, rows) if record.outcome]

    def record(self, number: int) -> JobRecord | None:
        """One job by its number."""
        with _explained(self.path, "read"):
            query = _LAST.format(columns="e.*").replace("GROUP BY", "WHERE b.job = ? GROUP BY")
            row = self._db.execute(query, (number,)).fetchone()
            return record_of(row) if row else None

    def left(self) -> Iterator[tuple[Job, int]]:
        """Jobs that began and are not done, with the number of their last attempt."""
        return self._select("e.final IS NULL OR e.final = 0 OR e.status IN (?, ?)", LEFT)

    def failed(self) -> Iterator[tuple[Job, int]]:
        """Jobs that finally failed, with the number of their last attempt."""
        return self._select("e.final = 1 AND e.status IN (?, ?)", _FAILED)

    def _select(self, condition: str, states: tuple[Status, ...]) -> Iterator[tuple[Job, int]]:
        """Stream the jobs whose last attempt meets ``condition``, from a snapshot: writing meanwhile is safe."""
        reader = _connect(self.path)
        try:
            query = _LAST.format(columns="e.final, e.status")
            sql = f"SELECT job, attempt, key, input FROM ({query}) AS e WHERE {condition}"  # noqa: S608 - constants only
            for number, attempt, key, blob in reader.execute(sql, tuple(str(state) for state in states)):
                yield Job(number, key, decode_values(blob)), attempt
        finally:
            reader.close()

    def passed(self) -> Iterator[JobRecord]:
        """The jobs that are ok, in the order of their numbers; those that are now, whatever is written later."""
        reader = _connect(self.path)
        query = _LAST.format(columns="e.*")
        rows = reader.execute(f"SELECT * FROM ({query}) WHERE status = ?", (str(Status.OK),))  # noqa: S608 - constants only
        return _closing(map(record_of, rows), reader)

    def has(self, number: int) -> bool:
        """Whether the job has begun."""
        return self._db.execute("SELECT 1 FROM began WHERE job = ?", (number,)).fetchone() is not None

    def walls(self) -> Iterator[tuple[bytes, float]]:
        """(key, seconds) of every attempt that was ok."""
        with _explained(self.path, "read"):
            yield from self._db.execute(
                "SELECT b.key, e.wall FROM began b JOIN ended e ON e.job = b.job AND e.attempt = b.attempt"
                " WHERE e.status = ?", (str(Status.OK),),
            )  # fmt: skip

    def tally(self) -> Tally:
        """Count the jobs by the state of their last attempt."""
        counts: dict[Status, int] = {}
        left = 0
        with _explained(self.path, "read"):
            query = _LAST.format(columns="e.final, e.status")
            sql = f"SELECT status, final, count(*) FROM ({query}) GROUP BY status, final"  # noqa: S608 - constants only
            for status, final, number in self._db.execute(sql):
                if not final or status in LEFT:
                    left += number
                else:
                    counts[Status(status)] = number
        return Tally(counts, left)

    def last_number(self) -> int:
        """The highest job number in use; 0 when there is none."""
        with _explained(self.path, "read"):
            return int(self._db.execute("SELECT coalesce(max(job), 0) FROM began").fetchone()[0])

    def executions(self) -> list[tuple[float, float, bool]]:
        """(started, wall seconds, complete) of each execution that came to its end."""
        with _explained(self.path, "read"):
            rows = self._db.execute("SELECT started, wall, complete FROM execution ORDER BY id")
            return [(started, wall, bool(complete)) for started, wall, complete in rows]

    def known(self) -> KnownInputs:
        """For going on with a run: tells which inputs it has met before."""
        with _explained(self.path, "write to"):
            self._db.execute("CREATE INDEX IF NOT EXISTS began_key ON began (key) WHERE attempt = 1")
        return KnownInputs(self.path)


def _closing(records: Iterator[JobRecord], reader: sqlite3.Connection) -> Iterator[JobRecord]:
    try:
        yield from records
    finally:
        reader.close()


class KnownInputs:
    """Which inputs a run has met, counted by content: the second time the same input comes, it is the second occurrence.

    The counts live in a temporary table of SQLite, which spills to disk: memory does not grow with the inputs.
    """

    def __init__(self, path: Path) -> None:
        self._db = _connect(path)
        self._db.execute("CREATE TEMP TABLE seen (key BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        # What the run met is fixed now: rows that are added while it goes on must not count.
        self._last = int(self._db.execute("SELECT coalesce(max(job), 0) FROM began").fetchone()[0])

    def met(self, key: bytes) -> bool:
        """Whether this occurrence of ``key`` is in the journal; call it once for each input, in order."""
        times = self._db.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times", (key,)
        ).fetchone()[0]
        met = self._db.execute(
            "SELECT count(*) FROM began WHERE key = ? AND attempt = 1 AND job <= ?", (key, self._last)
        ).fetchone()[0]
        return bool(times <= met)

    def close(self) -> None:
        """Forget the counts."""
        self._db.close()


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db
