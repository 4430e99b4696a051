"""Which inputs a run has met, when it is continued. Separate from `manyhands.storage.journal`, which answers for jobs, not for inputs."""

from __future__ import annotations

from manyhands.storage.database import Database


class KnownInputs:
    """The inputs that a run has had, counted by content: an input that comes twice counts twice.

    The counts live in a temporary table of SQLite, which spills to disk: memory does not grow with the inputs.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        db.execute("CREATE TEMP TABLE seen (key BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        # rows that are added from now on must not count
        self._last = int(db.execute("SELECT coalesce(max(job), 0) FROM began").fetchone()[0])

    def met(self, key: bytes) -> bool:
        """Whether the run has had this input, with ``key``, before. Call it once for each input, in order."""
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
