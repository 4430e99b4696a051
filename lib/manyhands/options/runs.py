"""What the tasks take that look at runs, continue them and remove them (`manyhands.options.batch`: those that make runs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from manyhands.options.choices import Format, ReportFormat
from manyhands.options.common import Json, Log, State
from manyhands.options.declaration import option


class AgainOptions(Log, Json, State):
    """What ``batch.resume`` and ``batch.retry`` take."""

    run: str | None = option(
        None,
        positional=True,
        metavar="RUN",
        help="the run: its id or the beginning of it (default: the newest that was made on the command line, not by a program that uses the library)",
    )
    jobs: str | None = option(
        None, short="j", metavar="N", help="number of jobs at once (default: as when the run was made)"
    )
    junit: str | None = option(
        None, metavar="FILE", help="when the run ends, write its jobs to this file as JUnit XML, for CI systems"
    )
    quiet: bool = option(False, after="output", help="print nothing on standard error except what the jobs print there")


class RunningRun(State):
    """A run that is going on."""

    run: str | None = option(
        None,
        positional=True,
        metavar="RUN",
        help="the run: its id or the beginning of it (default: the one that is going on, if there is just one)",
    )


class StopRunOptions(RunningRun):
    """What ``batch.stop`` takes."""

    job: int | None = option(
        None, metavar="N", help="stop only this job: the run goes on, and batch.resume does the job again"
    )
    soon: bool = option(
        False, excludes=("job", "now"), help="begin no more jobs, and let those that run end; this does not wait for them"
    )
    now: bool = option(False, excludes=("job",), help="kill the running jobs at once, without time to end by themselves")


class SetOptions(RunningRun):
    """What ``batch.set`` takes."""

    jobs: str | None = option(
        None, short="j", metavar="N", help="number of jobs at once from now on: N, 50%, +2; with --then also A,B,..."
    )
    halt: str | None = option(
        None,
        metavar="WHEN",
        help="stop the run early by this rule from now on, as --halt of batch; jobs of this execution that have ended count",
    )


class WatchOptions(Json, State):
    """What ``batch.watch`` takes."""

    run: str | None = option(
        None,
        positional=True,
        metavar="RUN",
        help="the run: its id or the beginning of it (default: the newest that is going on)",
    )
    output: bool = option(
        False, help="show what the jobs print, line by line as far as they are commands on this machine"
    )
    job: int | None = option(
        None, metavar="N", help="show only what this job prints, from its beginning, until it has ended"
    )


class WaitRunOptions(State):
    """What ``batch.wait`` takes."""

    runs: Sequence[str] = option(
        (),
        positional=True,
        metavar="RUN",
        help="the runs: their ids or the beginnings of them (default: all that are going on)",
    )
    timeout: str | None = option(None, metavar="TIME", help="wait at most so long (30, 2m), then exit with 124")


class ListOptions(Json, State):
    """What ``batch.list`` takes: which runs; None: whichever."""

    limit: int | None = option(None, help="show at most so many runs, the newest")
    status: Literal["running", "submitted", "complete", "left", "failed", "damaged"] | None = option(
        None, help="show only runs in this state; failed: those with a failed job"
    )
    since: str | None = option(None, help="show only runs made since then: an age (2d, 12h) or a date (2026-11-20)")
    name: str | None = option(
        None, metavar="NAME", help="show only runs whose name or id matches this pattern ('nightly*')"
    )


class Found(State):
    """A run that is looked for."""

    run: str | None = option(
        None, positional=True, metavar="RUN", help="the run: its id or the beginning of it (default: the newest)"
    )


class ShowOptions(Json, Found):
    """What ``batch.show`` takes."""

    job: int | None = option(None, excludes=("failed",), help="show this job in full, with the end of its output")
    failed: bool = option(False, help="show only jobs that failed, timed out or were lost")
    output: bool = option(False, help="show what the jobs printed, too")


class ExportOptions(Found):
    """What ``batch.export`` takes."""

    format: Format = option(
        "jsonl",
        help="jsonl: every field; csv: the same fields as a table, with an apostrophe before texts that a spreadsheet would take for a formula (=1+1); joblog: the job log of GNU parallel; junit: JUnit XML for CI systems; times: how long each input took, for --shard; trace: a timeline that Perfetto and chrome://tracing open; summary: Markdown, as CI systems show it above a log",
    )
    archive: str | None = option(
        None,
        metavar="FILE",
        excludes=("format",),
        help="write the whole run, with its output, to this file, for batch.import on another machine or in a later CI job",
    )


class ImportOptions(State):
    """What ``batch.import`` takes."""

    file: str = option(positional=True, metavar="FILE", help="the file that batch.export --archive has written")
    run_id: str | None = option(None, metavar="NAME", help="name the run (default: the name that it had)")
    trust: bool = option(
        False,
        help="let the run be continued: batch.resume, batch.retry and --run-id run the commands in it and read its pickles; only for files of your own (default: it can only be read)",
    )
    max_size: int | str = option(
        "4G", metavar="SIZE", help="refuse a file that holds more than SIZE bytes when it is unpacked (default: 4G)"
    )


class MergeOptions(State):
    """What ``batch.merge`` takes."""

    runs: Sequence[str] = option(
        (), positional=True, metavar="RUN", help="all shards of one run: their ids or the beginnings of them"
    )
    run_id: str | None = option(None, metavar="NAME", help="name the new run (required)")


class ReportOptions(Found):
    """What ``batch.report`` takes."""

    output: str | None = option(
        None,
        short="o",
        metavar="FILE",
        typed=True,
        help="write to this file, which is replaced if it is there: .html: a page that needs no network; .svg, .png: the timeline and the run times as a picture; .md: a summary; -: standard output (default: RUN.html in the current folder)",
    )
    format: ReportFormat | None = option(None, help="what to make (default: what the name of the file ends with; html)")
    open: bool = option(False, help="open it in a browser")


class DiffOptions(Json, State):
    """What ``batch.diff`` takes."""

    before: str = option(positional=True, metavar="A", help="the earlier run: its id or the beginning of it")
    after: str = option(
        positional=True,
        metavar="B",
        help="the later run, of which is told what failed anew, was mended, became slower or faster (by more than a fifth and by more than 50 ms), is not done, or is in one run only",
    )
    all: bool = option(False, short="a", help="list all jobs (default: the first 20 of each kind)")


class RemoveOptions(State):
    """What ``batch.remove`` takes."""

    runs: Sequence[str] = option((), positional=True, metavar="RUN", help="the runs: their ids or the beginnings of them")
    older_than: str | None = option(
        None, metavar="AGE", help="remove every run older than this: 90s, 12h, 30d (1m is a minute)"
    )
    dry_run: bool = option(False, short="n", help="show what would be removed and how much it holds, and remove nothing")
    yes: bool = option(False, short="y", help="do not ask (required without a terminal)")
