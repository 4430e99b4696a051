"""One run as those who look at it see it: read from its files by one reader, however many watch.

    standing.json (what runs)  \\
    journal.db (what has ended) --> Follower.look --> now, failures, timeline: JSON, made once for all watchers
    .slot-N (what it prints)   /

The coordinator is not asked and does not notice. Times are seconds since the epoch, except for durations.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from json import dumps
from typing import Any, Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.safe_text import one_line
from manyhands.render.running import last_line
from manyhands.storage import progress_file
from manyhands.storage.progress_file import Going, RunProgress
from manyhands.storage.runs import Run, Store, is_busy
from manyhands.web.journal_tail import Tail
from manyhands.web.picture import Picture

SHOWN: Final = 60
"""Running jobs that are shown: the longest-running ones."""
_DRAW: Final = 2.0
"""Seconds between two pictures of the timeline at least."""
_SAME: Final = 5.0
"""Seconds within which two beginnings are that of one execution: it is noted in two places."""
_INPUT: Final = 200
_COMMAND: Final = 2000


class Follower:
    """Follows one run. Not for two threads at once."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store, self.run = store, run
        stages = run.stages
        self._tails = [Tail(stage.path) for stage in stages]
        self.picture = Picture(len(stages))
        self._standing: list[RunProgress | None] = [None] * len(stages)
        self._busy = False
        self._record_seen: object = None
        self._started = 0.0
        """When the last execution began."""
        self._said: dict[str, bytes] = {}
        self._versions: dict[str, object] = {}
        self._drawn = 0.0
        self._problem: str | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody worked on the run when it was last looked at."""
        return self._busy

    @property
    def looked(self) -> bool:
        """Whether it has been looked at."""
        return self._record_seen is not None

    def look(self, *, everything: bool = False) -> dict[str, bytes]:
        """Look again; returns what is new, as JSON by name: ``now``, ``failures``, ``timeline``; or ``everything``."""
        if everything:
            self._said.clear()
            self._versions.clear()
        self.catch_up()
        return dict(self._news())

    def catch_up(self) -> bool:
        """Look again; return whether something has ended. That a journal cannot be read is told by `now`."""
        self._busy = is_busy(self.run)  # before its files: what it writes after this is seen by the next look
        self._standing = [progress_file.read(stage.path) if self._busy else None for stage in self.run.stages]
        try:
            self._reload()
            grown = self._read()
            self._problem = None
        except ManyhandsError as error:
            grown, self._problem = False, one_line(str(error), 500)
        if grown:
            self._versions["undrawn"] = True
        return grown

    def _news(self) -> Iterator[tuple[str, bytes]]:
        yield from self._if_new("now", self.now())
        if self._versions.get("failures") != self.picture.failures.version:
            self._versions["failures"] = self.picture.failures.version
            yield from self._if_new("failures", self.picture.failures.to_json())
        pending = self._versions.get("undrawn", True)
        if pending and (not self._busy or time.monotonic() - self._drawn >= _DRAW):
            self._drawn, pending = time.monotonic(), False
            yield from self._if_new("timeline", self.picture.timeline.to_json())
        self._versions["undrawn"] = pending

    def _if_new(self, name: str, value: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        text = dumps(value, separators=(",", ":")).encode()
        if text != self._said.get(name):
            self._said[name] = text
            yield name, text

    def _reload(self) -> None:
        """run.json, when it was written anew: a resume may change it."""
        with suppress(OSError):
            found = (self.run.path / "run.json").stat()
            seen = found.st_ino, found.st_mtime_ns
            if self._record_seen not in (None, seen):
                self.run = self._store.get(self.run.id) or self.run
            self._record_seen = seen

    def _read(self) -> bool:
        """Read what is new in the journals; return whether there was something."""
        grown = False
        for stage in range(len(self._tails), 0, -1):  # the last one knows when the execution began
            tail = self._tails[stage - 1]
            if not tail.changed():
                continue
            for page in tail.read():
                if self._another_began():
                    return self._read_again()
                for row in page:
                    self.picture.add(row, stage)
                grown = grown or bool(page)
        return self._read_again() if self._another_began() else grown

    def _another_began(self) -> bool:
        """Whether the last execution is not the one whose timeline is drawn."""
        executions = self._tails[-1].executions
        started = next((one.started for one in self._standing if one), None)
        if started is None:
            started = executions[-1][0] if executions else self.run.created
        if started <= self._started + _SAME:
            return False
        self._started = started
        return True

    def _read_again(self) -> bool:
        """Read the journals from their beginning: only now it is known when the last execution began."""
        self.picture = Picture(len(self._tails))
        self.picture.begin(self._started)
        self._tails = [Tail(stage.path) for stage in self.run.stages]
        self._versions.clear()
        self._read()
        return True

    # -- now -------------------------------------------------------------------------------------------------------------

    def now(self) -> dict[str, Any]:
        """The state of the run, its numbers, and what runs."""
        picture, progress = self.picture, [one for one in self._standing if one]
        total = self.run.record.get("total")
        if total is None and progress:
            total = progress[0].total
        begun = max(self._tails[0].begun, picture.done)
        left = (begun if total is None else max(total, begun)) - picture.done
        at = time.time()
        wall = sum(wall for _, wall, _ in self._tails[-1].executions)
        elapsed = at - progress[0].started if progress else None
        rate = picture.done_since / elapsed if elapsed and elapsed > 0.5 else None
        return {
            "state": self._state(left),
            "problem": self._problem,
            "total": total,
            "ok": picture.count("ok"),
            "failed": picture.count("failed", "timeout"),
            "skipped": picture.count("skipped"),
            "lost": picture.count("lost"),
            "left": left,
            "running": sum(one.going for one in progress),
            "waiting": sum(one.waiting for one in progress),
            "next_retry": min((one.next_retry for one in progress if one.next_retry is not None), default=None),
            "retries": picture.retries,
            "started": progress[0].started if progress else None,
            "written": max((one.at for one in progress), default=None),
            "took": wall,
            "work": round(picture.busy, 3),
            "max_rss": picture.max_rss,
            "rate": None if rate is None else round(rate, 2),
            "eta": round(left / rate, 1) if rate and total is not None and left else None,
            "paused": any(one.paused for one in progress),
            "jobs": self._widths(),
            "going": [*self._going()],
        }

    def _widths(self) -> list[int]:
        """Jobs at once of each stage: as they are now, or as the run was made."""
        record = self.run.record
        made = [record.get("limits", {}).get("jobs", 1), *(stage.get("jobs", 1) for stage in record.get("then", ()))]
        return [now.jobs if now and now.jobs else jobs for now, jobs in zip(self._standing, made, strict=True)]

    def _state(self, left: int) -> str:
        if self._busy:
            return "running"
        if self._problem:
            return "damaged"
        if self.run.record.get("submitted") is not None and left:
            return "submitted"
        executions = self._tails[-1].executions
        return "complete" if executions and executions[-1][2] and not left else "left"

    def _going(self) -> Iterator[dict[str, Any]]:
        """What runs, the longest-running first, with the last line that each has printed."""
        found = [
            (going.since, stage, run, going)
            for stage, (run, one) in enumerate(zip(self.run.stages, self._standing, strict=True), 1)
            if one
            for going in one.named
        ]
        for _, stage, run, going in sorted(found, key=lambda one: one[0])[:SHOWN]:
            yield {
                "job": going.job,
                "attempt": going.attempt,
                "stage": stage,
                "slot": going.slot,
                "host": one_line(going.host, 60) if going.host else None,
                "pid": going.pid,
                "since": round(going.since, 2),
                "input": one_line(b" ".join(going.values), _INPUT),
                "last": last_line(run, going)[:400],
            }

    def going(self, job: int) -> tuple[Run, Going] | None:
        """A job, if it runs, and the run or stage in which it does."""
        for run, one in zip(self.run.stages, self._standing, strict=True):
            for going in one.named if one else ():
                if going.job == job:
                    return run, going
        return None


def about(run: Run) -> dict[str, Any]:
    """What a run is: harmless text that does not change."""
    works = [run.record["template"], *(stage["template"] for stage in run.record.get("then", ()))]
    return {
        "id": run.id,
        "named": run.named,
        "created": run.created,
        "command": [one_line(work if isinstance(work, str) else " ".join(work), _COMMAND) for work in works],
        "workdir": one_line(run.record["workdir"], 1000),
        "backend": one_line(str(run.record.get("backend", "")), 60),
        "program": one_line(str(run.record["program"]), 200) if run.record.get("program") else None,
        "hosts": one_line(", ".join(run.record.get("on", ())), 1000),
    }
