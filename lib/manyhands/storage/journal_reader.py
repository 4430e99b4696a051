"""What is read of a journal: jobs by the state of their last attempt, attempts, counts. `manyhands.storage.journal` writes it.

There may be any number of readers while one process writes. Every row has a checksum, which is verified on every read that recovery or
a report relies on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from manyhands.core.job import Job, Outcome, Status, Values
from manyhands.core.lean import NamedTuple
from manyhands.core.number_set import Numbers
from manyhands.inputs.value_file import LostInputError, decode_values, load, place_of
from manyhands.storage.database import Connect, Database
from manyhands.storage.integrity import check_seal, kept_inputs
from manyhands.storage.known_inputs import KnownInputs
from manyhands.storage.rows import ENDED, LEFT, JobRecord, check_end, check_row, record_of
from manyhands.storage.schema import explained

_OPEN = "NOT EXISTS (SELECT 1 FROM ended e WHERE e.job = b.job AND e.attempt = b.attempt)"
_FAILED = (Status.FAILED, Status.TIMEOUT)
_PAGE: Final = 500
"""Jobs that are read at once while the run is going on: a statement that stays open for the whole run would keep SQLite from
moving the log into the file, and the log would grow without bound (https://sqlite.org/wal.html, 2.1)."""


class Tally(NamedTuple):
    """The number of jobs in each state; ``left`` counts those that still have to be done."""

    counts: dict[Status, int]
    left: int


class Reader:
    """An open journal; raises JournalError wherever it cannot be read."""

    path: Path
    _db: Database
    _version: int
    _connect: Connect
    _checked: bool
    """Whether all rows were checked, or need not be, when it was opened."""
    _writes: bool
    _tally: Tally | None
    """As of the last commit, if it was asked for since."""

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

    def every_attempt(self) -> Iterator[JobRecord]:
        """Each attempt of each job, by the numbers of both, streamed; an attempt that has not ended has no outcome."""
        with explained(self.path, "read"):
            self._check_seal()
            ends = "LEFT JOIN ended e ON e.job = b.job AND e.attempt = b.attempt ORDER BY b.job, b.attempt"
            sql = f"SELECT {self._columns('b.attempt')} FROM began b {ends}"  # noqa: S608 - constants only
            yield from map(self._record, self._db.execute(sql))

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
