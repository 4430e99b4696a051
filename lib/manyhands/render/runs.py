"""Runs and their jobs as tables for people: what ``batch.list`` and ``batch.show`` print.

Plain text of a given width, made line by line: nothing is held that grows with the number of jobs.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Outcome, Output, Status
from manyhands.core.records import dataclass
from manyhands.core.safe_text import Harmless, cells, harmless, one_line
from manyhands.core.serialization import description, is_pickle
from manyhands.render.running import Now
from manyhands.render.summary import describe, left_behind
from manyhands.render.words import duration, memory, signal_name
from manyhands.render.words import size as in_words
from manyhands.storage import output, progress_file, runs
from manyhands.storage.journal import Journal
from manyhands.storage.rows import JobRecord
from manyhands.storage.stage_journals import Journals
from manyhands.work.shard import Shard

MOST: Final = 50
"""Jobs that ``batch.show`` lists when it is not asked for certain ones."""
TAIL: Final = 10
"""Lines of a job's output that are shown when not all of it is asked for."""
_TAIL_BYTES: Final = 1 << 16
_HOST: Final = 12
"""Columns of the name of a host in a table."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run at a glance. ``state``: running, submitted (its jobs are in a queue), complete, left, or damaged. ``left``: jobs that are
    not done, those that run now included; where ``total`` is None, those that have been read."""

    id: str
    created: float
    template: str
    ok: int
    failed: int
    left: int
    took: float
    state: str
    total: int | None = None
    """Jobs of the run; None while its inputs are not counted."""
    named: bool = False
    """Whether ``id`` is a name that the user has given it."""
    shard: str | None = None
    """``2/4``: which part of how many it is."""


def summarise(run: runs.Run) -> RunLine:
    """Look into a run's journal; a journal that cannot be read is a state, not an error."""
    works = [run.record["template"], *(stage["template"] for stage in run.record.get("then", ()))]
    shard = _shard(run.record.get("shard"))
    template = " --then ".join(work if isinstance(work, str) else " ".join(work) for work in works)
    try:
        with closing(Journals.open(run)) as journal:
            tally, executions = journal.tally(), journal.executions()
    except (ManyhandsError, OSError):
        return RunLine(run.id, run.created, template, 0, 0, 0, 0.0, "damaged", named=run.named, shard=shard)
    ok = tally.counts.get(Status.OK, 0)
    failed = sum(tally.counts.values()) - ok
    total = run.record.get("total")
    if total is None and (stood := progress_file.read(run.path)):
        total = stood.total
    left = tally.left if total is None else max(tally.left, total - ok - failed)
    whole = bool(executions) and executions[-1][2] and not left
    elsewhere = run.record.get("submitted") is not None
    state = "running" if runs.is_busy(run) else "submitted" if elsewhere else "complete" if whole else "left"
    took = sum(wall for _, wall, _ in executions)
    return RunLine(run.id, run.created, template, ok, failed, left, took, state, total, run.named, shard)


def _shard(record: Any) -> str | None:
    """``2/4``; None also for what is no valid record: a run can be looked at, whatever is in its file."""
    try:
        return str(Shard.from_json(record)) if record else None
    except (ManyhandsError, TypeError):
        return None


def list_lines(
    lines: Sequence[RunLine], width: int, short: Mapping[str, str], sizes: Sequence[int], now: float
) -> Iterator[str]:
    """The table of runs, the header first; columns are as wide as they must be, and the command gets the rest.

    ``short`` has the short ids of runs without a name, ``sizes`` their bytes on the disk."""
    rows = [_run_cells(line, short.get(line.id, line.id), size, now) for line, size in zip(lines, sizes, strict=True)]
    columns = [[name, *column] for name, column in zip(_LIST, zip(*rows, strict=True), strict=True)]
    if width < _width(columns) + _WHAT:
        del columns[_LIST.index("SIZE")]
    wide = [max(map(len, column)) for column in columns]
    room = max(6, width - _width(columns))
    for row, what in zip(zip(*columns, strict=True), ["WHAT", *map(_what, lines)], strict=True):
        padded = (f"{cell:{_ALIGN[columns[n][0]]}{wide[n]}}" for n, cell in enumerate(row))
        yield "  ".join([*padded, one_line(what, room)])


def _width(columns: Sequence[Sequence[str]]) -> int:
    """How many characters these columns take, with two blanks after each."""
    return sum(max(map(len, column)) + 2 for column in columns)


_ALIGN: Final = {
    "ID": "<",
    "WHEN": "<",
    "OK": ">",
    "FAILED": ">",
    "LEFT": ">",
    "TOOK": ">",
    "SIZE": ">",
    "STATE": "<",
}
_LIST: Final = tuple(_ALIGN)
_WHAT: Final = 10
"""Characters that a command should get at least."""


def _run_cells(line: RunLine, short: str, size: int, now: float) -> tuple[str, ...]:
    made, this = datetime.fromtimestamp(line.created), datetime.fromtimestamp(now)
    when = made.strftime("%m-%d %H:%M" if made.year == this.year else "%Y-%m-%d")
    took = duration(line.took) if line.took else "-"
    name = line.id if line.named else short
    return name, when, f"{line.ok:,}", f"{line.failed:,}", _left(line), took, in_words(size), line.state


def _what(line: RunLine) -> str:
    return f"shard {line.shard}: {line.template}" if line.shard else line.template


def _left(line: RunLine) -> str:
    """``3``; ``3+`` where more inputs may have been left unread."""
    return f"{line.left:,}" + "+" * (line.total is None and line.state in ("left", "running"))


def job_lines(
    records: Iterator[JobRecord],
    width: int,
    *,
    stages: bool = False,
    hosts: bool = False,
    running: Container[int] = (),
) -> Iterator[str]:
    """A table of jobs, the header first; ``stages``: with the stage that each has got to; ``hosts``: with the host of its last attempt;
    ``running``: those that run now."""
    host = f"{'HOST':{_HOST}}  " if hosts else ""
    yield "STAGE  " * stages + _job_line("JOB", "STATUS", "EXIT", "TRIES", "WALL", "MEMORY", host + "INPUT")
    room = max(10, width - len(_job_line(*[""] * 7)) - 7 * stages - len(host))
    for record in records:
        end, name = record.outcome, one_line(b" ".join(record.job.values), room)
        if hosts:
            where = one_line(end.host or "-" if end else "", _HOST)
            name = where + " " * (_HOST - cells(where)) + "  " + name
        stage = f"{record.stage:>5}  " if stages else ""
        if end is None:
            state = "running" if record.job.number in running else "left"
            yield stage + _job_line(record.job.number, state, "", record.attempt, "", "", name)
            continue
        yield stage + _job_line(
            record.job.number,
            _state(record, end),
            _code(end),
            record.attempt,
            duration(end.wall),
            memory(end.max_rss),
            name,
        )


def _job_line(job: object, status: str, code: str, attempts: object, wall: str, memory: str, name: str) -> str:
    return f"{job:>7}  {status:9}  {code:>6}  {attempts:>5}  {wall:>11}  {memory:>8}  {name}"


def _state(record: JobRecord, end: Outcome) -> str:
    """The job's status; ``left`` when the last attempt failed but was not to be the last."""
    return "left" if record.left and end.status not in (Status.LOST, Status.CANCELLED) else end.status.value


def _code(end: Outcome) -> str:
    """``3`` for an exit status, ``KILL`` for a signal."""
    return signal_name(end.signal).removeprefix("SIG") if end.signal else "" if end.exit is None else str(end.exit)


def one_job(
    record: JobRecord, attempts: Sequence[Outcome], command: str, *, whole: bool, now: Now | None = None
) -> Iterator[str]:
    """All about one job; ``whole``: with all of its output, else with the end of it; ``now``: as in `header`."""
    yield f"job      {record.job.number}"
    yield f"input    {one_line(b' '.join(record.job.values), 1000)}"
    yield f"command  {harmless(command)}"
    for end in attempts:
        when = datetime.fromtimestamp(end.started).strftime(", %Y-%m-%d %H:%M:%S") if end.started is not None else ""
        yield f"attempt  {end.attempt.number} {describe(end)}{when}" + (f", slot {end.slot}" if end.slot else "")
        if end.host:
            yield f"         on {one_line(end.host, 1000)}"
        yield (
            f"         {duration(end.wall)} of time, {duration(end.user)} of user and {duration(end.system)} of system CPU, "
            + (f"{memory(end.max_rss)} of memory at most" if end.max_rss else "memory not known")
        )
        if left := left_behind(end):
            yield f"         it {left}"
        for line in (end.traceback or "").splitlines():
            yield f"         {harmless(line)}"
    if record.outcome is None:
        yield from _unended(record, now, whole=whole)
    else:
        if record.outcome.result is not None and record.outcome.ok:
            result = record.outcome.result
            text = description(result) if is_pickle(result) else result.decode()
            yield f"result   {harmless(text) if whole else one_line(text, 1000)}"
        yield from printed("stdout", record.outcome.stdout, whole=whole)
        yield from printed("stderr", record.outcome.stderr, whole=whole)


def _unended(record: JobRecord, now: Now | None, *, whole: bool) -> Iterator[str]:
    """A job whose attempt has begun: what it has printed so far, if it runs."""
    found = next(now.going(record.job.number), None) if now else None
    if found is None:
        yield f"attempt  {record.attempt} has not ended" if now is None else f"attempt  {record.attempt} is to run"
        return
    run, going = found
    since = datetime.fromtimestamp(going.since).strftime("%Y-%m-%d %H:%M:%S")
    yield f"attempt  {going.attempt} is running since {since}, slot {going.slot}" + (
        f", pid {going.pid}" if going.pid else ""
    )
    if going.host:
        yield f"         on {one_line(going.host, 1000)}"
    out, err = going.printed(run.outputs)
    yield from printed("stdout", out, whole=whole)
    yield from printed("stderr", err, whole=whole)


def printed(name: str, stream: Output, *, whole: bool) -> Iterator[str]:
    """What a job printed, harmless, a line at a time: all of it, or its last `TAIL` lines. Holds a line and a block. Its colours
    pass to a terminal."""
    if not stream.size:
        return
    title = f"{name}   {stream.size:,} bytes"
    if stream.dropped:
        title += f", {stream.dropped:,} dropped"
    if stream.path:
        title += f", in {one_line(stream.path, 1000)}"
    try:
        if whole:
            lines: Iterable[bytes] = output_lines(stream)
        else:
            lines, more = _end_of(stream)
            title += f", the last {len(lines)} lines" * more
        yield title
        colours = sys.stdout.isatty()
        yield from ("  " + Harmless(colours=colours).feed(line, final=True) for line in lines)
    except ManyhandsError as error:
        yield f"{name}   {stream.size:,} bytes: {one_line(str(error), 1000)}"


def _end_of(stream: Output) -> tuple[list[bytes], bool]:
    """(its last lines, whether there is more before them)."""
    lines = output.tail(stream, TAIL + 1, _TAIL_BYTES)
    return lines[-TAIL:], len(lines) > TAIL or stream.size - stream.dropped > _TAIL_BYTES


def output_lines(stream: Output) -> Iterator[bytes]:
    """The lines of what a job printed, without their ends, as `bytes.splitlines` cuts them; a line and a block are held."""
    held: list[bytes] = []
    for block in stream.chunks():
        for piece in io.BytesIO(block):
            held.append(piece)
            if piece.endswith(b"\n"):
                yield from b"".join(held).splitlines()
                held.clear()
    yield from b"".join(held).splitlines()


def header(run: runs.Run, line: RunLine, workdir: str, now: Now | None = None) -> Iterator[str]:
    """What a run is; ``now``: how it stands, if somebody is working on it."""
    yield f"run      {run.id} ({line.state})" + (f", shard {line.shard}" if line.shard else "")
    yield f"command  {one_line(line.template, 1000)}"
    took = f"took {duration(line.took)}"
    if now and now.elapsed is not None:
        took = f"running for {duration(now.elapsed)}" + (f", {duration(line.took)} before" if line.took else "")
    yield f"when     {datetime.fromtimestamp(line.created).strftime('%Y-%m-%d %H:%M:%S')}, {took}"
    yield f"where    {one_line(workdir, 1000)}"
    if hosts := run.record.get("on"):
        yield f"hosts    {one_line(', '.join(hosts), 1000)}"
    every = "" if line.total is None else f" of {line.total:,}"
    running = now.counts() if now else ""
    yield f"jobs     {line.ok:,} ok, {line.failed:,} failed{running}, {_left(line)} left{every}"
    if widths := run.record.get("widths"):
        yield f"width    {', '.join(f'{width} from {duration(at)}' for at, width in widths)}"
    if run.record.get("then"):
        yield from _stage_lines(run)


def _stage_lines(run: runs.Run) -> Iterator[str]:
    """What each stage of a line has done, and what lies before it."""
    with closing(Journals.open(run)) as journals:
        tallies = journals.tallies()
    works = [run.record, *run.record["then"]]
    waiting = 0
    for stage, (work, tally) in enumerate(zip(works, tallies, strict=True), 1):
        ok = tally.counts.get(Status.OK, 0)
        failed = sum(tally.counts.values()) - ok
        waiting = waiting - ok - failed - tally.left if stage > 1 else 0
        text = work["template"] if isinstance(work["template"], str) else " ".join(work["template"])
        jobs = work["jobs"] if stage > 1 else work["limits"]["jobs"]
        before = f", {waiting:,} waiting" if waiting else ""
        yield f"stage {stage}  {ok:,} ok, {failed:,} failed, {tally.left:,} left{before} (-j {jobs}): {one_line(text, 200)}"
        waiting = ok


def chosen(journal: Journal | Journals, *, failed: bool) -> Iterator[JobRecord]:
    """The jobs to show: all, or those that are not well."""
    return (one for one in journal.records() if not failed or _is_bad(one))


class FirstChosen:
    """At most ``most`` jobs for a table: all by number if they are so few, else those that are not well before the others."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._bad: list[JobRecord] = []
        self._others: list[JobRecord] = []
        self._more = False

    def add(self, record: JobRecord) -> None:
        """Take one job into account; they come in the order of their numbers."""
        kept = self._bad if _is_bad(record) else self._others
        if len(kept) < self._most:
            kept.append(record)
        else:
            self._more = True

    def records(self) -> Iterator[JobRecord]:
        """Those that are chosen."""
        found = [*self._bad, *self._others]
        if self._more or len(found) > self._most:
            return iter(found[: self._most])
        return iter(sorted(found, key=lambda one: one.job.number))


def _is_bad(record: JobRecord) -> bool:
    return record.outcome is not None and record.outcome.status in _BAD


_BAD: Final = (Status.FAILED, Status.TIMEOUT, Status.LOST)
