"""The durable record of one run: a SQLite database with one row for each attempt that may begin and one for each that ended.

    began (job, attempt, key, input)  committed BEFORE the attempt is handed to a backend
    ended (job, attempt, status, ...) committed BEFORE it is reported
    seal                              the number of rows, and how much of piped inputs was stored, as of each commit

The first two tables only grow, in nearly the order of their keys: an insert dirties few pages, so a group of rows costs
one small write and one fsync. Their rows are never updated: a job's state is that of its last attempt, and `UNIQUE (job,
attempt)` makes "recorded exactly once" a rule of the file, not of the code. WAL with synchronous FULL makes a commit
survive power loss (https://sqlite.org/pragma.html#pragma_synchronous). There is one writer, which holds the run's lock,
and any number of readers. Every row has a checksum (`manyhands.storage.rows`), which is verified on every read that
recovery or a report relies on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from manyhands.core.errors import JournalError
from manyhands.core.job import Attempt, Ending, Outcome, Status
from manyhands.storage import closed_file
from manyhands.storage.database import Connect, Database, connect
from manyhands.storage.integrity import check_all, check_log
from manyhands.storage.journal_reader import Reader
from manyhands.storage.journal_reader import Tally as Tally
from manyhands.storage.rows import (
    BEGAN,
    EndedRows,
    began_row,
    checksum,
)
from manyhands.storage.schema import SCHEMA_VERSION, explained, make, migrate, version_of

_BEGAN = f"INSERT INTO began VALUES ({', '.join('?' * (len(BEGAN) + 1))})"  # noqa: S608 - constants only
_SEAL = "UPDATE seal SET began = began + ?, ended = ended + ?"
_KEPT = "UPDATE seal SET inputs_size = ?, inputs_sum = ?"


class Journal(Reader):
    """The journal of one run. Rows are collected by `began` and `ended` and become durable together in `commit`."""

    def __init__(self, path: Path, db: Database, version: int, connect: Connect, *, checked: bool, writes: bool) -> None:
        self.path = path
        self._db, self._version, self._connect, self._checked, self._writes = db, version, connect, checked, writes
        self._began: list[tuple[object, ...]] = []
        self._ended = EndedRows()
        self.ended: Callable[[Outcome], None] = self._ended.add
        """Note how an attempt ended; it must not be reported before `commit`."""
        self._tally: Tally | None = None
        """As of the last commit, if it was asked for since."""
        self._kept: Callable[[], tuple[int, int]] | None = None
        self._sealed = 0, 0

    @classmethod
    def create(cls, path: Path, connect: Connect = connect) -> Journal:
        """Make a new journal, readable by its owner only. Raises JournalError, and FileExistsError."""
        with explained(path, "create"):
            db = connect(path, True)
            try:
                make(db)
            except BaseException:
                db.close()
                raise
            return cls(path, db, SCHEMA_VERSION, connect, checked=True, writes=True)

    @classmethod
    def open(cls, path: Path, *, check: bool = False, connect: Connect = connect) -> Journal:
        """Open an existing journal. ``check`` prepares it for writing: all of it is read, it is refused if it is damaged,
        and it is migrated to the current schema. Raises JournalError. A file that is as it was left needs no check.

        A write that a crash cut off is not damage: SQLite itself rolls back to the last commit.
        """
        with explained(path, "open"):
            as_left = closed_file.is_as_left(path)
            db = connect(path, False)
            try:
                version = version_of(db, path)
                if check and not as_left:
                    check_log(db, path)
                    check_all(db, path, version)
                if check and version < SCHEMA_VERSION:
                    migrate(db, version)
                    version = SCHEMA_VERSION
                return cls(path, db, version, connect, checked=check or as_left, writes=check)
            except BaseException:
                db.close()
                raise

    # -- writing ---------------------------------------------------------------------------------------------------------

    def follow(self, kept: Callable[[], tuple[int, int]]) -> None:
        """Record in every commit how much of the inputs is durable: ``kept`` gives (bytes, their CRC)."""
        if self.kept_inputs() != (0, 0):
            with self._transaction() as db:
                db.execute(_KEPT, (0, 0))
        self._kept, self._sealed = kept, (0, 0)

    def began(self, attempt: Attempt) -> None:
        """Note that ``attempt`` may begin; it must not be given to a backend before `commit`."""
        self._began.append(began_row(attempt))

    def commit(self) -> None:
        """Make all noted rows durable in one commit. If it raises JournalError, the rows are kept for another try."""
        if not self._began and not self._ended:
            return
        sealed = self._kept() if self._kept else self._sealed
        with self._transaction() as db:
            db.executemany(_BEGAN, self._began)
            for sql, rows in self._ended.inserts:
                db.executemany(sql, rows)
            db.execute(_SEAL, (len(self._began), len(self._ended)))
            if sealed != self._sealed:
                db.execute(_KEPT, sealed)
        self._sealed, self._tally = sealed, None
        self._began.clear()
        self._ended.clear()

    @contextmanager
    def _transaction(self) -> Iterator[Database]:
        db = self._db
        with explained(self.path, "write to"):
            if not db.present():
                raise JournalError(
                    f"the journal {self.path} was removed while the run was going on: results cannot be recorded"
                )
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
                self._writes = True
            except BaseException:
                if db.in_transaction:  # after a full disk SQLite has already rolled back
                    db.execute("ROLLBACK")
                raise

    def executed(self, started: float, wall: float, *, complete: bool) -> None:
        """Record one execution of the run: when (epoch seconds), how long, and whether nothing was left to do."""
        with self._transaction() as db:
            number = db.execute("SELECT coalesce(max(id), 0) + 1 FROM execution").fetchone()[0]
            row = (number, float(started), float(wall), int(complete))
            db.execute("INSERT INTO execution VALUES (?, ?, ?, ?, ?)", (*row, checksum(row)))
            db.execute("UPDATE seal SET executions = executions + 1")

    def close_lost(self) -> int:
        """Record every attempt that an earlier, dead coordinator left open as `lost`; return how many there were."""
        lost, ending = self.open_attempts(), Ending(error="the run was killed")
        for job, attempt in lost:
            self.ended(Outcome(Attempt(job, attempt, ()), Status.LOST, ending, final=False))
        self.commit()
        return len(lost)

    def close(self) -> None:
        """Close the database; rows that were not committed are dropped."""
        with explained(self.path, "close"):
            self._db.close()
        if self._writes:
            closed_file.note(self.path)
