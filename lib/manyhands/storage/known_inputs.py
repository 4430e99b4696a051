"""Which inputs a run has met, when it is continued. Separate from `manyhands.storage.journal`, which answers for jobs, not for inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from manyhands.storage.database import Database

_PAGE: Final = 4096


class KnownInputs:
    """The inputs that a run has had, counted by content: an input that comes twice counts twice.

    Mostly they come again in the same order: then each is compared with the next one. From the first that differs they are counted in a
    temporary table of SQLite, which spills to disk. Either way memory does not grow with the inputs.
    """

    def __init__(self, db: Database, make_index: Callable[[], None]) -> None:
        """``make_index`` makes the index of the keys, which only counting needs."""
        self._db, self._make_index = db, make_index
        # rows that are added from now on must not count
        self._last = int(db.execute("SELECT coalesce(max(job), 0) FROM began").fetchone()[0])
        self._in_step, self._at = True, 0
        """Whether all inputs so far came in the order in which they are recorded, and the job number of the last one."""
        self._page: list[tuple[int, bytes]] = []
        """(job number, key) of the next inputs, the last one first. No statement stays open, or the journal's log could only grow."""

    def met(self, key: bytes) -> bool:
        """Whether the run has had this input, with ``key``, before. Call it once for each input, in order."""
        if self._in_step:
            if (page := self._page or self._next_page()) and page[-1][1] == key:
                self._at = page.pop()[0]
                return True
            self._begin_to_count()
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

    def _next_page(self) -> list[tuple[int, bytes]]:
        sql = "SELECT job, key FROM began WHERE attempt = 1 AND job > ? AND job <= ? ORDER BY job LIMIT ?"
        self._page = list(self._db.execute(sql, (self._at, self._last, _PAGE)))[::-1]
        return self._page

    def _begin_to_count(self) -> None:
        self._in_step = False
        self._page.clear()
        self._make_index()
        self._db.execute("CREATE TEMP TABLE seen (key BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        self._db.execute(
            "INSERT INTO seen SELECT key, count(*) FROM began WHERE attempt = 1 AND job <= ? GROUP BY key", (self._at,)
        )
