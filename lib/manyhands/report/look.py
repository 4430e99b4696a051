"""All that a report tells of a run, collected in one pass over its journal, in memory that hardly grows with it.

Journals --histories--> Attempts, FailureGroups, JobRows --> Look --> page, picture, Markdown
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from manyhands.core.records import dataclass
from manyhands.core.safe_text import one_line
from manyhands.render.running import Now
from manyhands.render.runs import RunLine, summarise
from manyhands.render.words import duration
from manyhands.report.attempts import BAD, OK, STATES, Attempts, Running, state_of
from manyhands.report.clock import Clock
from manyhands.report.failure_groups import FailureGroups, Group
from manyhands.report.job_rows import JobRows
from manyhands.storage import runs
from manyhands.storage.stage_journals import Journals


@dataclass(frozen=True)
class Look:
    """One run, as it stood at one moment."""

    run: str
    what: str
    state: str
    created: float
    counts: list[int]
    """Jobs in each of `STATES`."""
    attempts: Attempts
    clock: Clock
    groups: list[Group]
    rows: JobRows
    line: RunLine
    facts: list[tuple[str, str]]
    stages: int
    command: str
    """What shows the run in a terminal."""
    version: str
    made: str
    here: str = "this machine"

    @property
    def drawn(self) -> set[int]:
        """The states of all attempts."""
        return set(self.attempts.state)

    @property
    def retries(self) -> int:
        """Attempts that were not the first of their job."""
        return self.attempts.retries

    @property
    def has_memory(self) -> bool:
        """Whether the journal has it."""
        return any(self.attempts.rss)

    @property
    def has_cpu(self) -> bool:
        """Whether the journal has it."""
        return any(self.attempts.cpu)

    @property
    def verdict(self) -> str:
        """How it ended, in a few words."""
        bad = sum(self.counts[state] for state in BAD)
        if self.state == "running":
            return "running" + (f", {bad:,} not ok so far" if bad else "")
        if self.state == "submitted":
            return "submitted to a queue"
        if self.state == "left":
            return "not complete" + (f", {bad:,} not ok" if bad else "")
        if not sum(self.counts):
            return "no jobs"
        return f"{bad:,} not ok" if bad else "all ok"

    @property
    def told(self) -> str:
        """The run in one line."""
        jobs = sum(self.counts)
        parts = [f"{count:,} {STATES[n]}" for n, count in enumerate(self.counts) if count]
        return f"run {self.run}: {jobs:,} job{'' if jobs == 1 else 's'}: {', '.join(parts) or 'none'}"

    @property
    def figures(self) -> list[tuple[str, str]]:
        """Numbers that stand beside the counts."""
        work = sum(self.attempts.wall)
        found = [("took", duration(self.line.took or self.clock.span))] if len(self.attempts) else []
        if self.line.took and work:
            found.append(("of work", duration(work)))
        if self.retries:
            found.append(("retry" if self.retries == 1 else "retries", f"{self.retries:,}"))
        return found


def look_at(found: runs.Run, kept: runs.Store, version: str) -> Look:
    """Read the whole journal of a run once. Raises JournalError."""
    now = Now(found, time.time()) if runs.is_busy(found) else None
    attempts, groups, rows = Attempts(time.time(), _running(now)), FailureGroups(), JobRows()
    counts = [0] * len(STATES)
    with closing(Journals.open(found)) as journals:
        for history in journals.histories():
            last = [attempts.add(record) for record in history][-1]
            end = history[-1].outcome
            state = state_of(history[-1], last)
            counts[state] += 1
            rows.add(history, state, found.created)
            if end is not None and state in BAD:
                groups.failed(end)
            elif end is not None and state == OK:
                groups.well(end)
    line = summarise(found)
    counts[STATES.index("left")] += max(0, (line.total or 0) - sum(counts))
    return Look(
        run=found.id,
        what=line.template,
        state=line.state,
        created=found.created,
        counts=counts,
        attempts=attempts,
        clock=Clock((bar.begin, bar.end) for bar in attempts.bars()),
        groups=groups.groups(),
        rows=rows,
        line=line,
        facts=list(_facts(found, line)),
        stages=len(found.stages),
        command=kept.typed("batch.show", kept.short(found)),
        version=version,
        made=datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
    )


def _running(now: Now | None) -> Running:
    def running(number: int) -> tuple[float, int, str | None] | None:
        found = next(now.going(number), None) if now else None
        return (found[1].since, found[1].slot, found[1].host) if found else None

    return running


def _facts(found: runs.Run, line: RunLine) -> Iterator[tuple[str, str]]:
    record = found.record
    yield "command", one_line(line.template, 2000)
    yield "folder", one_line(os.fspath(record["workdir"]), 1000)
    yield "run", found.id
    if line.shard:
        yield "shard", line.shard
    yield "made", datetime.fromtimestamp(found.created).strftime("%Y-%m-%d %H:%M:%S %z").strip()
    with closing(Journals.open(found)) as journals:
        executions = journals.executions()
    for number, (started, wall, complete) in enumerate(executions[-5:], max(1, len(executions) - 4)):
        when = datetime.fromtimestamp(started).strftime("%Y-%m-%d %H:%M:%S")
        yield (
            f"execution {number}" if len(executions) > 1 else "executed",
            (f"{when}, for {duration(wall)}" + ("" if complete else ", not complete")),
        )
    if not executions:
        yield "executed", "now" if line.state == "running" else "no execution has ended properly"
    yield "machine", one_line(socket.gethostname(), 200)
    if hosts := record.get("on"):
        yield "hosts", one_line(", ".join(hosts), 1000)
    yield "backend", str(record.get("backend"))
    yield from _limits(record.get("limits", {}), record.get("then", ()))


def _limits(limits: dict[str, object], then: object) -> Iterator[tuple[str, str]]:
    jobs = [str(limits.get("jobs", "?")), *(str(one.get("jobs")) for one in then)]  # type: ignore[attr-defined]
    yield (
        "at once",
        ", ".join(f"{n} in stage {stage}" for stage, n in enumerate(jobs, 1)) if len(jobs) > 1 else f"{jobs[0]} jobs",
    )
    if limits.get("timeout"):
        yield "time-out", f"{limits['timeout']} s for each attempt"
    if limits.get("retries"):
        yield "retries", f"{limits['retries']}"
    if limits.get("halt") not in (None, "never"):
        yield "halt", str(limits["halt"])
