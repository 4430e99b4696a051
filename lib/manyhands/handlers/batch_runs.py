"""What the ``batch`` tasks do with runs that exist: list them, show one, write its jobs for another program, remove them.

Separate from `manyhands.handlers.batch`, because a new run needs none of it.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from json import dumps
from pathlib import Path

from manyhands.core.errors import UsageError
from manyhands.core.events import Finished, Summary
from manyhands.core.safe_text import harmless
from manyhands.execution.run_commands import commands_of
from manyhands.export.formats import EXPORTERS
from manyhands.export.job_record import Argv, RunJobs, job_record
from manyhands.handlers import batch_list, batch_remove
from manyhands.handlers.batch_store import store
from manyhands.options.runs import ExportOptions, ListOptions, RemoveOptions, ShowOptions
from manyhands.posix.durable_files import replacing
from manyhands.render.overview import Overview
from manyhands.render.running import Now
from manyhands.render.runs import MOST, FirstChosen, chosen, header, job_lines, one_job, summarise
from manyhands.storage import runs
from manyhands.storage.rows import JobRecord
from manyhands.storage.stage_journals import Journals
from manyhands.work.queue_kinds import is_elsewhere
from manyhands.work.template import display, fill_slot


def remove(options: RemoveOptions) -> int:
    """Delete runs, or all older than a duration; returns the exit status."""
    return batch_remove.remove(store(options.state_dir), options)


def list_runs(options: ListOptions) -> None:
    """Print the runs that are wanted, the newest first."""
    batch_list.list_runs(store(options.state_dir), options, width=_width())


def show(options: ShowOptions) -> None:
    """Print a run and its jobs, or one job in full."""
    kept, job = store(options.state_dir), options.job
    found = kept.find(options.run)
    everything = kept.typed("batch.export", kept.short(found))
    elsewhere = stages_elsewhere(found)
    with closing(Journals.open(found)) as journal:
        argv = _argv(found)
        if job is not None:
            record = journal.record(job)
            if record is None:
                raise UsageError(f"run {found.id} has no job {job}")
            records: Iterator[JobRecord] = iter([record])
        else:
            records = chosen(journal, failed=options.failed)
        if options.json:
            for one in records:
                line = job_record(
                    one.job,
                    one.outcome,
                    run=found.id,
                    argv=argv(one),
                    attempts=one.attempt,
                    gone_ok=True,
                    stage=one.stage,
                    elsewhere=one.stage in elsewhere,
                )
                sys.stdout.write(dumps(line) + "\n")
            return
        for text in _shown(found, everything, journal, records, argv, options):
            sys.stdout.write(text + "\n")


def _shown(
    found: runs.Run, everything: str, journal: Journals, records: Iterator[JobRecord], argv: Argv, options: ShowOptions
) -> Iterator[str]:
    now = Now(found, time.time()) if runs.is_busy(found) else None

    def full(one: JobRecord) -> Iterator[str]:
        several = len(found.stages) > 1
        for part, attempts in journal.parts(one.job.number):
            if several:
                yield f"stage    {part.stage}"
            yield from one_job(part, attempts, display(argv(part)), whole=options.output, now=now)

    if options.job is not None:
        yield from full(next(records))
        return
    line = summarise(found)
    yield from header(found, line, str(found.record["workdir"]), now)
    overview, first = _looked_through(journal)
    yield from overview.lines()
    yield ""
    if options.output:
        for one in records:
            yield from full(one)
            yield ""
        return
    if now and (going := list(now.lines(_width(), MOST))):
        yield from going
        yield ""
    shown = records if options.failed else first.records()
    yield from job_lines(
        shown,
        _width(),
        stages=len(found.stages) > 1,
        hosts=bool(stages_elsewhere(found)),
        running=now.numbers() if now else (),
    )
    more = line.ok + line.failed + line.left - MOST
    if not options.failed and more > 0:
        yield f"... and {more:,} more: --failed, --json, or {everything} shows them all"


def stages_elsewhere(found: runs.Run) -> frozenset[int]:
    """The stages whose jobs are done on other hosts, by consumers or by the workers of a cluster."""
    record = found.record
    backends = [record["backend"], *(one["backend"] for one in record.get("then", ()))]
    return frozenset(n for n, one in enumerate(backends, 1) if record.get("on") or is_elsewhere(one))


def _looked_through(journal: Journals) -> tuple[Overview, FirstChosen]:
    overview, first = Overview(), FirstChosen(MOST)
    for record in journal.records():
        overview.add(record)
        first.add(record)
    return overview, first


def export_run(options: ExportOptions) -> None:
    """Write a run's jobs to stdout, or the whole run to a file."""
    if options.archive is not None:
        from manyhands.handlers.batch_carry import export_archive  # here: it needs much that is seldom needed

        export_archive(options)
        return
    found = store(options.state_dir).find(options.run)
    with closing(Journals.open(found)) as journal:
        if options.format == "summary":
            _write_out(_markdown(found, journal).encode())
        else:
            EXPORTERS[options.format](_jobs_of(found, journal), _write_out)
        tally = journal.tally()
        begun = sum(tally.counts.values()) + tally.left
    sys.stdout.buffer.flush()
    if (missing := (found.record.get("total") or 0) - begun) > 0:
        sys.stderr.write(f"manyhands: {missing:,} more job{'' if missing == 1 else 's'} of this run have not begun\n")


def _markdown(found: runs.Run, journal: Journals) -> str:
    """The run as `manyhands.ci.job_summary` shows it."""
    from manyhands.ci.job_summary import JobSummary  # here: few exports are this one

    line, summary, work = summarise(found), JobSummary(), 0.0
    summary.what = line.template
    for record in journal.records():
        if record.outcome is not None:
            summary.finished(Finished(record.outcome))
            work += record.outcome.wall
    counts = journal.tally().counts
    return summary.text(Summary(found.id, counts, line.left, wall=line.took, work=work, total=line.total))


def write_junit(found: runs.Run, path: Path) -> None:
    """Write a run's jobs to a file as JUnit XML, whole or not at all. Raises OSError."""
    with closing(Journals.open(found)) as journal, replacing(path) as file:
        EXPORTERS["junit"](_jobs_of(found, journal), file.write)


def _jobs_of(found: runs.Run, journal: Journals) -> RunJobs:
    shell = found.record["shell"] is not None
    columns = () if found.record.get("group") else found.record.get("columns", ())
    return RunJobs(journal, found.id, _argv(found), shell, columns, stages_elsewhere(found))


def _write_out(data: bytes) -> None:
    """To stdout: exactly to files and pipes, harmless to a terminal."""
    sys.stdout.buffer.write(harmless(data).encode() if sys.stdout.isatty() else data)


def _argv(run: runs.Run) -> Argv:
    """The command of each job, with the slot that it had."""
    filled = commands_of(run)
    return lambda record: fill_slot(filled(record.job, record.stage), record.outcome.slot if record.outcome else 0)


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns
