"""The runs of this user at a glance: one that has ended is counted once, one that goes on is followed.

Only the newest `MOST`; run.json of a run may hold a million inputs, so it is read again only when it has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from json import dumps
from typing import Any, Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.safe_text import one_line
from manyhands.render.runs import RunLine, summarise
from manyhands.storage.runs import Run, Store, is_busy
from manyhands.web.follower import Follower

MOST: Final = 100
FOLLOWED: Final = 20
"""Runs that go on whose numbers are live; of others only the state is."""
_AT_ONCE: Final = 10
"""Runs that are counted in one look."""
_WORDS: Final = 300


class RunList:
    """``follower``: gives the follower of a run, which others may share."""

    def __init__(self, store: Store, follower: Callable[[Run], Follower]) -> None:
        self._store, self._follower = store, follower
        self._runs: dict[str, tuple[object, Run]] = {}
        self._lines: dict[str, tuple[object, RunLine]] = {}

    def find(self, run_id: str) -> Run | None:
        """The run with exactly this id; None if there is none that can be read."""
        try:
            seen = _stat(os.path.join(self._store.root, run_id, "run.json"))
            known = self._runs.get(run_id)
            if seen is None or known is None or known[0] != seen:
                run = self._store.get(run_id)
                if run is None:
                    self._runs.pop(run_id, None)
                    return None
                self._runs[run_id] = known = seen, run
            return known[1]
        except ManyhandsError:
            return None

    def look(self) -> bytes:
        """The newest runs as JSON. ``counting``: how many are counted when they are looked at next."""
        names = self._store.names()
        for gone in self._runs.keys() - set(names):
            self._runs.pop(gone)
            self._lines.pop(gone, None)
        runs = sorted(filter(None, map(self.find, names[: 2 * MOST])), key=lambda run: run.created, reverse=True)[:MOST]
        shorts = self._store.shorts()
        followed, counted, rows = 0, 0, []
        for run in runs:
            row = {
                "id": run.id,
                "name": run.id if run.named else shorts.get(run.id, run.id),
                "created": run.created,
                "command": _command(run),
            }
            if is_busy(run) and followed < FOLLOWED:
                followed += 1
                rows.append(row | _of_follower(self._follower(run)))
                continue
            line, fresh = self._line(run, counted < _AT_ONCE)
            counted += fresh
            rows.append(row | (_of_line(line) if line else {"state": "counting"}))
        waiting = sum(row.get("state") == "counting" for row in rows)
        more = max(0, len(names) - len(rows))
        return dumps({"runs": rows, "more": more, "counting": waiting}, separators=(",", ":")).encode()

    def _line(self, run: Run, may_count: bool) -> tuple[RunLine | None, bool]:
        """(the run at a glance, whether it was counted just now)."""
        seen = [is_busy(run), *(_stat(stage.path / "journal.db") for stage in run.stages), self._runs[run.id][0]]
        known = self._lines.get(run.id)
        if known and known[0] == seen:
            return known[1], False
        if not may_count:
            return None, False
        line = summarise(run)
        # reading may have moved a log into the file
        seen = [is_busy(run), *(_stat(stage.path / "journal.db") for stage in run.stages), self._runs[run.id][0]]
        self._lines[run.id] = seen, line
        return line, True


def _of_line(line: RunLine) -> dict[str, Any]:
    return {
        "state": line.state,
        "ok": line.ok,
        "failed": line.failed,
        "left": line.left,
        "total": line.total,
        "took": line.took,
    }


def _of_follower(follower: Follower) -> dict[str, Any]:
    now = follower.now()
    kept = ("state", "ok", "failed", "left", "total", "took", "running", "rate", "eta", "started")
    return {name: now[name] for name in kept}


def _command(run: Run) -> str:
    works = [run.record["template"], *(stage["template"] for stage in run.record.get("then", ()))]
    return one_line(" --then ".join(work if isinstance(work, str) else " ".join(work) for work in works), _WORDS)


def _stat(path: os.PathLike[str] | str) -> object:
    with suppress(OSError):
        found = os.stat(path)
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None
