"""Runs and their jobs as tables for people: what ``batch.list`` and ``batch.show`` print.

Plain text of a given width, made line by line: nothing is held that grows with the number of jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from manyhands import output, runs
from manyhands.errors import ManyhandsError
from manyhands.job import Outcome, Output, Status
from manyhands.journal import JobRecord, Journal
from manyhands.render.safe import harmless, one_line
from manyhands.render.summary import describe, duration

MOST = 50
"""Jobs that ``batch.show`` lists when it is not asked for certain ones."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run at a glance. ``state``: running, complete, left, or damaged."""

    id: str
    created: float
    template: str
    ok: int
    failed: int
    left: int
    took: float
    state: str


def summarise(run: runs.Run) -> RunLine:
    """Look into a run's journal; a journal that cannot be read is a state, not an error."""
    asked = run.asked["template"]
    template = asked if isinstance(asked, str) else " ".join(asked)
    try:
        journal = run.journal()
    except ManyhandsError:
        return RunLine(run.id, run.created, template, 0, 0, 0, 0.0, "damaged")
    try:
        tally, executions = journal.tally(), journal.executions()
    except ManyhandsError:
        return RunLine(run.id, run.created, template, 0, 0, 0, 0.0, "damaged")
    finally:
        journal.close()
    ok = tally.counts.get(Status.OK, 0)
    failed = sum(tally.counts.values()) - ok
    whole = bool(executions) and executions[-1][2] and not tally.left
    state = "running" if runs.is_busy(run) else "complete" if whole else "left"
    return RunLine(run.id, run.created, template, ok, failed, tally.left, sum(wall for _, wall, _ in executions), state)


def list_lines(lines: Sequence[RunLine], width: int) -> Iterator[str]:
    """The table of runs, the header first."""
    short = runs.short_ids([line.id for line in lines])
    wide = max([2, *map(len, short.values())])
    room = max(10, width - wide - 2 - 16 - 2 - 27 - 20)
    yield f"{'ID':{wide}}  {'WHEN':16}  {'OK':>7} {'FAILED':>7} {'LEFT':>7}  {'TOOK':>9}  {'STATE':8}  WHAT"
    for line in lines:
        when = datetime.fromtimestamp(line.created).strftime("%Y-%m-%d %H:%M")
        took = duration(line.took) if line.took else "-"
        yield (
            f"{short[line.id]:{wide}}  {when}  {line.ok:>7,} {line.failed:>7,} {line.left:>7,}  {took:>9}  "
            f"{line.state:8}  {one_line(line.template, room)}"
        )


def job_lines(records: Iterator[JobRecord], width: int) -> Iterator[str]:
    """A table of jobs, the header first."""
    yield f"{'JOB':>7}  {'STATUS':9}  {'EXIT':>4}  {'TRIES':>5}  {'WALL':>9}  {'MEMORY':>8}  INPUT"
    for job, attempt, end in records:
        name = one_line(b" ".join(job.values), max(10, width - 56))
        if end is None:
            yield f"{job.number:>7}  {'left':9}  {'':4}  {attempt:>5}  {'':9}  {'':8}  {name}"
            continue
        code = str(end.exit) if end.exit is not None else f"-{end.signal}" if end.signal else ""
        yield (
            f"{job.number:>7}  {end.status:9}  {code:>4}  {attempt:>5}  {duration(end.wall):>9}  {size(end.max_rss):>8}  {name}"
        )


def one_job(record: JobRecord, attempts: Sequence[Outcome], command: str, *, whole: bool) -> Iterator[str]:
    """All about one job; ``whole``: with all of its output, else with the end of it."""
    yield f"job      {record.job.number}"
    yield f"input    {one_line(b' '.join(record.job.values), 1000)}"
    yield f"command  {command}"
    for end in attempts:
        when = datetime.fromtimestamp(end.started).strftime(", %Y-%m-%d %H:%M:%S") if end.started else ""
        yield f"attempt  {end.attempt.number}: {end.status} ({describe(end)}){when}, slot {end.slot}"
        yield (
            f"         {duration(end.wall)} of time, {duration(end.user)} of user and {duration(end.system)} of system CPU, "
            f"{size(end.max_rss)} of memory at most"
        )
    if not attempts:
        yield "attempt  none has ended"
    elif record.outcome:
        yield from printed("stdout", record.outcome.stdout, whole=whole)
        yield from printed("stderr", record.outcome.stderr, whole=whole)


def printed(name: str, stream: Output, *, whole: bool) -> Iterator[str]:
    """What a job printed, harmless, a line at a time."""
    if not stream.size:
        return
    cut = f", {stream.dropped:,} dropped" if stream.dropped else ""
    yield f"{name}   {stream.size:,} bytes{cut}" + (f", in {stream.path}" if stream.path else "")
    lines = output.read(stream).splitlines() if whole else output.tail(stream, 10)
    for line in lines:
        yield "  " + harmless(line)


def header(run: runs.Run, line: RunLine, workdir: str) -> Iterator[str]:
    """What a run is."""
    yield f"run      {run.id} ({line.state})"
    yield f"command  {one_line(line.template, 1000)}"
    yield f"when     {datetime.fromtimestamp(line.created).strftime('%Y-%m-%d %H:%M:%S')}, took {duration(line.took)}"
    yield f"where    {one_line(workdir, 1000)}"
    yield f"jobs     {line.ok:,} ok, {line.failed:,} failed, {line.left:,} left"


def chosen(journal: Journal, *, failed: bool) -> Iterator[JobRecord]:
    """The jobs to show: all, or those that are not well."""
    bad = (Status.FAILED, Status.TIMEOUT, Status.LOST)
    return (one for one in journal.records() if not failed or (one.outcome is not None and one.outcome.status in bad))


def size(count: int) -> str:
    """Bytes in binary units: ``14.2 MiB``."""
    number, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
