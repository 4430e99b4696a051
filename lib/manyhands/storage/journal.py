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

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from manyhands.core.errors import JournalError
from manyhands.core.job import Attempt, Ending, Job, Outcome, Status, Values
from manyhands.core.lean import NamedTuple
from manyhands.core.number_set import Numbers
from manyhands.inputs.value_file import LostInputError, decode_values, load, place_of
from manyhands.storage import closed_file
from manyhands.storage.database import Connect, Database, connect
from manyhands.storage.integrity import check_all, check_log, check_seal, kept_inputs
from manyhands.storage.known_inputs import KnownInputs
from manyhands.storage.rows import (
    BEGAN,
    ENDED,
    LEFT,
    EndedRows,
    JobRecord,
    began_row,
    check_end,
    check_row,
    checksum,
    record_of,
)
from manyhands.storage.schema import SCHEMA_VERSION, explained, make, migrate, version_of

_BEGAN = f"INSERT INTO began VALUES ({', '.join('?' * (len(BEGAN) + 1))})"  # noqa: S608 - constants only
_SEAL = "UPDATE seal SET began = began + ?, ended = ended + ?"
_KEPT = "UPDATE seal SET inputs_size = ?, inputs_sum = ?"
_OPEN = "NOT EXISTS (SELECT 1 FROM ended e WHERE e.job = b.job AND e.attempt = b.attempt)"
_FAILED = (Status.FAILED, Status.TIMEOUT)
_PAGE: Final = 500
"""Jobs that are read at once while the run is going on: a statement that stays open for the whole run would keep SQLite from
moving the log into the file, and the log would grow without bound (https://sqlite.org/wal.html, 2.1)."""


class Tally(NamedTuple):
    """The number of jobs in each state; ``left`` counts those that still have to be done."""

    counts: dict[Status, int]
    left: int


class Journal:
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

    # -- reading ---------------------------------------------------------------------------------------------------------

    def records(self, *, exact: bool = False) -> Iterator[JobRecord]:
        """All jobs in the order of their numbers, streamed. In place of an input that cannot be read there is a sentence
        that says why; if the inputs are to be ``exact``, LostInputError is raised."""
        with explained(self.path, "read"):
            self._check_seal()
            for row in self._db.execute(self._last()):
                yield self._record(row, exact=exact)

    def finished(self) -> Iterator[JobRecord]:
        """The last attempts of all jobs that have ended, in the order in which they ended."""
        with explained(self.path, "read"):
            self._check_seal()
            sql = f"SELECT * FROM ({self._last(more=', e.rowid AS place')}) WHERE place IS NOT NULL ORDER BY place"  # noqa: S608
            for row in self._db.execute(sql):
                yield self._record(row[:-1])

    def ended_after(self, place: int, most: int = _PAGE) -> list[tuple[int, JobRecord]]:
        """(place, attempt) of ``most`` attempts at most that ended after the one at ``place``, in that order; rows may be written meanwhile."""
        with explained(self.path, "read"):
            sql = f"SELECT {self._columns('b.attempt')}, e.rowid FROM ended e JOIN began b USING (job, attempt)"  # noqa: S608
            rows = list(self._db.execute(f"{sql} WHERE e.rowid > ? ORDER BY e.rowid LIMIT ?", (place, most)))
            return [(row[-1], self._record(row[:-1])) for row in rows]

    def last_place(self) -> int:
        """The place of the attempt that ended last; 0 if none has."""
        with explained(self.path, "read"):
            return int(self._db.execute("SELECT coalesce(max(rowid), 0) FROM ended").fetchone()[0])

    def attempts(self, number: int) -> list[Outcome]:
        """Every attempt of one job that has ended, the first one first."""
        with explained(self.path, "read"):
            sql = (
                f"SELECT {self._columns('b.attempt')} FROM began b JOIN ended e ON e.job = b.job"  # noqa: S608 - constants only
                " AND e.attempt = b.attempt WHERE b.job = ? ORDER BY b.attempt"
            )
            records = [self._record(row) for row in self._db.execute(sql, (number,))]
            return [record.outcome for record in records if record.outcome]

    def record(self, number: int) -> JobRecord | None:
        """One job by its number."""
        with explained(self.path, "read"):
            row = self._db.execute(self._last("WHERE b.job = ?"), (number,)).fetchone()
            record = self._record(row) if row else None
            if record is None or record.outcome is None:  # its row may be there, but damaged so that it is not found
                self._check_seal()
            return record

    def left(self) -> Iterator[tuple[Job, int]]:
        """Jobs that began and are not done, with the number of their last attempt. Rows may be written meanwhile."""
        return self._select("e.final IS NULL OR e.final = 0 OR e.status IN (?, ?)", LEFT)

    def failed(self) -> Iterator[tuple[Job, int]]:
        """Jobs that have finally failed, with the number of their last attempt. Rows may be written meanwhile."""
        return self._select("e.final = 1 AND e.status IN (?, ?)", _FAILED)

    def open_attempts(self) -> list[tuple[Job, int]]:
        """Attempts that began and whose end is not recorded: after a crash it is not known how they ended."""
        with explained(self.path, "read"):
            if self._checked and self._db.execute("SELECT began = ended FROM seal").fetchone()[0]:
                return []
            rows = self._db.execute(f"SELECT job, attempt, key, input FROM began b WHERE {_OPEN} ORDER BY job, attempt")  # noqa: S608
            return [(self._job(number, key, blob), attempt) for number, attempt, key, blob in rows]

    def lost_attempts(self) -> Iterator[tuple[int, int]]:
        """(job, attempt) of every attempt that was recorded as lost."""
        with explained(self.path, "read"):
            yield from self._db.execute("SELECT job, attempt FROM ended WHERE status = ?", (str(Status.LOST),))

    def _select(self, condition: str, states: tuple[Status, ...]) -> Iterator[tuple[Job, int]]:
        """The jobs whose last attempt meets ``condition``, a page at a time. Rows that are written meanwhile do no harm: a job that
        was yielded is not read again, and new jobs have higher numbers."""
        last = self.last_number()
        inner = self._last(
            "WHERE b.job > ? AND b.job <= ?",
            columns="b.job, max(b.attempt) AS attempt, b.key, b.input, e.final, e.status",
        )
        sql = f"SELECT job, attempt, key, input FROM ({inner}) AS e WHERE {condition} LIMIT {_PAGE}"  # noqa: S608 - constants only
        for number, attempt, key, blob in self._pages(sql, (last, *map(str, states))):
            yield self._job(number, key, blob), attempt

    def passed(self) -> Iterator[JobRecord]:
        """The jobs that are ok now, in the order of their numbers. Rows that are written later do not count."""
        last = self.last_place()
        inner = self._last("WHERE b.job > ?", more=", e.status AS state, e.rowid AS place")
        sql = f"SELECT * FROM ({inner}) WHERE place <= ? AND state = ? LIMIT {_PAGE}"  # noqa: S608 - constants only
        return (self._record(row[:-2], exact=True) for row in self._pages(sql, (last, str(Status.OK))))

    def _pages(self, sql: str, values: tuple[object, ...]) -> Iterator[Any]:
        """The rows of ``sql``, a page at a time: its first parameter is the job number after which a page begins. No
        statement stays open between pages, and the connection is another, so that the journal may be closed meanwhile."""
        with explained(self.path, "read"):
            reader, after = self._connect(self.path, False), 0
            try:
                while rows := list(reader.execute(sql, (after, *values))):
                    yield from rows
                    after = rows[-1][0]
            finally:
                reader.close()

    def has(self, number: int) -> bool:
        """Whether the job has begun."""
        with explained(self.path, "read"):
            return self._db.execute("SELECT 1 FROM began WHERE job = ?", (number,)).fetchone() is not None

    def walls(self) -> Iterator[tuple[bytes, float]]:
        """(key, seconds) of every attempt that was ok."""
        with explained(self.path, "read"):
            yield from self._db.execute(
                "SELECT b.key, e.wall FROM began b JOIN ended e ON e.job = b.job AND e.attempt = b.attempt"
                " WHERE e.status = ?",
                (str(Status.OK),),
            )

    def width(self) -> int:
        """The number of values in the input that has most; 1 if there is no input."""
        with explained(self.path, "read"):
            lists = self._db.execute("SELECT input FROM began WHERE attempt = 1 AND substr(input, 1, 1) = x'00'")
            return max((len(self._job(0, b"", blob).values) for (blob,) in lists), default=1)

    def tally(self) -> Tally:
        """Count the jobs by the state of their last attempt."""
        if self._tally:
            return self._tally
        counts, left = Counter[Status](), 0
        with explained(self.path, "read"):
            for status, final, number in self._states():
                if status is None or not final or status in LEFT:
                    left += number
                else:
                    counts[Status(status)] += number
        found = Tally(dict(counts), left)
        self._tally = found if self._writes else None  # else another process writes
        return found

    def _states(self) -> Iterator[tuple[str | None, int | None, int]]:
        """(status, final, number of jobs); counted by SQLite if all rows were checked, or need not be, when the journal was opened."""
        if self._checked:
            inner = self._last(columns="b.job, max(b.attempt), e.final AS final, e.status AS status")
            yield from self._db.execute(f"SELECT status, final, count(*) FROM ({inner}) GROUP BY status, final")  # noqa: S608
            return
        self._check_seal()
        for row in self._db.execute(self._last(columns=f"b.job, max(b.attempt), {self._ended_columns()}")):
            end = row[2:]
            if end[0] is not None:
                check_end(end, summed=self._summed)
            yield end[2], end[3], 1

    def last_number(self) -> int:
        """The highest job number in use; 0 if there is none."""
        with explained(self.path, "read"):
            return int(self._db.execute("SELECT coalesce(max(job), 0) FROM began").fetchone()[0])

    def begun_numbers(self) -> Numbers:
        """The numbers of all jobs that have begun."""
        with explained(self.path, "read"):
            return Numbers(number for (number,) in self._db.execute("SELECT job FROM began WHERE attempt = 1"))

    def executions(self) -> list[tuple[float, float, bool]]:
        """(started, wall seconds, complete) of each execution that ended properly."""
        with explained(self.path, "read"):
            rows = list(self._db.execute("SELECT * FROM execution ORDER BY id"))
            for row in rows:
                check_row(row, summed=self._summed)
            return [(row[1], row[2], bool(row[3])) for row in rows]

    def kept_inputs(self) -> tuple[int, int]:
        """(bytes, their CRC) of the inputs that were durable at the last commit of an execution that read a stream."""
        with explained(self.path, "read"):
            return kept_inputs(self._db) if self._summed else (0, 0)

    def known(self) -> KnownInputs:
        """The inputs that the run has had so far, so that it can be continued."""
        with explained(self.path, "read"):
            return KnownInputs(self._connect(self.path, False), self._index_keys)

    def _index_keys(self) -> None:
        with explained(self.path, "write to"):
            self._db.execute("CREATE INDEX IF NOT EXISTS began_key ON began (key) WHERE attempt = 1")

    @property
    def _summed(self) -> bool:
        return self._version >= 3

    def _check_seal(self) -> None:
        if self._summed and not self._checked:
            check_seal(self._db, self.path)

    def _record(self, row: Any, *, exact: bool = False) -> JobRecord:
        return record_of(row, summed=self._summed, values_of=self._exact_values if exact else self._values)

    def _job(self, number: int, key: bytes, blob: bytes) -> Job:
        """A job that is to be done again. Raises LostInputError if its input cannot be read."""
        return Job(number, key, self._exact_values(blob), place_of(blob))

    def _exact_values(self, blob: bytes) -> Values:
        return load(self.path.parent, place) if (place := place_of(blob)) else decode_values(blob)

    def _values(self, blob: bytes) -> Values:
        """An input that is only to be shown; if it cannot be read, a sentence that says why."""
        try:
            return self._exact_values(blob)
        except LostInputError as error:
            return (os.fsencode(f"<{error}>"),)

    def _columns(self, attempt: str) -> str:
        """The columns for `record_of`; those that an older schema lacks are NULL."""
        began = f"b.job, {attempt} AS attempt, b.key, b.input, " + ("b.sum" if self._summed else "NULL")
        return f"{began}, {self._ended_columns()}"

    def _ended_columns(self) -> str:
        there = len(ENDED) - (self._version < 4) - 2 * (self._version < 2)
        ended = [f"e.{name}" for name in ENDED[:there]] + ["NULL"] * (len(ENDED) - there)
        return ", ".join([*ended, "e.sum" if self._summed else "NULL"])

    def _last(self, where: str = "", *, columns: str = "", more: str = "") -> str:
        """SQL for the last attempt of each job; it selects ``columns``, by default those of `record_of` and ``more``."""
        # max() makes SQLite take the other columns from the same row: https://sqlite.org/lang_select.html#bareagg
        return (
            f"SELECT {columns or self._columns('max(b.attempt)') + more} FROM began b"  # noqa: S608 - constants only
            f" LEFT JOIN ended e ON e.job = b.job AND e.attempt = b.attempt {where} GROUP BY b.job"
        )
