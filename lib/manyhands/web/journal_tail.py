"""What is new in a journal since the last look, while its coordinator writes on: a page of rows at a time.

    journal.db --rows after PLACE--> Tail.read --> manyhands.web.picture

Separate from `manyhands.storage.journal`, which reads whole records and checks them. Here a few columns are enough, in the order in which the
attempts ended, and their checksums are not looked at: what a page shows is no proof. No statement and no connection stays open between two
looks: the coordinator could not move its log into the file, and would not be the last to close it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from manyhands.core.lean import NamedTuple
from manyhands.storage.database import connect
from manyhands.storage.schema import explained, version_of

PAGE: Final = 5000
"""Rows that one statement reads."""
_WORDS: Final = 2000
"""Bytes of a failed attempt's stderr."""
_SQL: Final = (
    "SELECT rowid, job, attempt, status, final, exit, signal, error, started, wall, user + system, max_rss, slot, {host}, still_running,"
    " CASE status WHEN 'ok' THEN NULL ELSE substr(stderr, -{words}) END, CASE status WHEN 'ok' THEN NULL ELSE stderr_path END"
    " FROM ended WHERE rowid > ? ORDER BY rowid LIMIT {page}"
)


class EndedAttempt(NamedTuple):
    """How an attempt ended. ``said``: the last bytes of its stderr, if it failed; ``said_in``: the file that has them."""

    place: int
    job: int
    attempt: int
    status: str
    final: int
    exit: int | None
    signal: int | None
    error: str | None
    started: float | None
    wall: float
    cpu: float
    max_rss: int
    slot: int
    host: str | None
    still_running: int
    said: bytes | None
    said_in: bytes | None


class Tail:
    """Reads one journal, of a run or of a stage of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun = 0
        """The highest number of a job that has begun."""
        self.executions: tuple[tuple[float, float, bool], ...] = ()
        """(started, wall, complete) of each execution that has ended properly."""
        self._place = 0
        self._seen: object = None

    def changed(self) -> bool:
        """Whether the files differ from those that the last `read` has found."""
        return self._files() != self._seen

    def read(self) -> Iterator[Sequence[EndedAttempt]]:
        """The rows that have come since, in pages. Raises JournalError."""
        path, seen = self.folder / "journal.db", self._files()
        with explained(path, "read"), closing(connect(path)) as db:
            version = version_of(db, path)
            sql = _SQL.format(host="host" if version >= 4 else "NULL", words=_WORDS, page=PAGE)
            self.begun = int(db.execute("SELECT coalesce(max(job), 0) FROM began").fetchone()[0])
            found = db.execute("SELECT started, wall, complete FROM execution ORDER BY id").fetchall()
            self.executions = tuple((start, wall, bool(whole)) for start, wall, whole in found)
            while rows := self._page(db, sql):
                yield rows
                if len(rows) < PAGE:
                    break
        self._seen = seen

    def _page(self, db: sqlite3.Connection, sql: str) -> list[EndedAttempt]:
        rows = list(map(EndedAttempt._make, db.execute(sql, (self._place,))))
        if rows:
            self._place = rows[-1].place
        return rows

    def _files(self) -> object:
        return [_stat(self.folder / name) for name in ("journal.db", "journal.db-wal")]


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
