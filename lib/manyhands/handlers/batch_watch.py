"""What ``batch.watch`` does: show a run that another process carries out, as that process would."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from math import inf
from typing import Final

from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.events import Began, Event, Finished, Summary, Tick, Warned
from manyhands.core.job import Status
from manyhands.execution.following import Follower
from manyhands.execution.growing_output import GrowingOutput
from manyhands.handlers.batch_store import store
from manyhands.handlers.run_console import exit_status
from manyhands.options.runs import WatchOptions
from manyhands.render import choose
from manyhands.render.chosen_output import ChosenOutput
from manyhands.render.event_lines import JsonLines
from manyhands.render.line_buffered import LineBuffered
from manyhands.render.plain import Plain
from manyhands.render.protocol import Renderer
from manyhands.render.summary import summary_line
from manyhands.storage.runs import Run, Store, is_busy
from manyhands.storage.stage_journals import Journals

_LOOK: Final = 0.25
"""Seconds between two looks."""


def watch(options: WatchOptions) -> int:
    """Show a run until it has ended; returns its exit status. Ctrl-C ends only the watching."""
    kept = store(options.state_dir)
    run = _chosen(kept, options.run)
    shown: Renderer
    if options.json:
        shown = JsonLines(sys.stdout.buffer)
    elif options.job is not None:
        shown = Plain(sys.stdout.buffer, sys.stderr, heartbeat=inf)
    else:
        tag = bool(run.record.get("tag"))
        shown = choose(json=False, quiet=False, tag=tag, stdout=sys.stdout.buffer, stderr=sys.stderr, environ=os.environ)
    if not options.output and options.job is None:
        shown = ChosenOutput(shown, "none")
    elif not _elsewhere(run):
        shown = LineBuffered(shown, GrowingOutput([stage.outputs for stage in run.stages]))
    if options.job is not None:
        return _one_job(kept, run, options.job, shown)
    summary = _follow(kept, run, shown)
    assert isinstance(summary, Summary)  # noqa: S101 - no job was asked for
    if not options.json:
        line = summary_line(summary, run=kept.short(run), state_dir=kept.given)
        sys.stderr.write(f"{line}\n")
    return 128 + summary.stopped_by if summary.stopped_by else exit_status(summary)


def _chosen(kept: Store, name: str | None) -> Run:
    """The run that was named, else the newest that is going on."""
    if name is not None:
        return kept.find(name)
    found = next((run for run in kept.all() if is_busy(run)), None)
    if found is None:
        raise UsageError(f"no run in {kept.root} is going on; {kept.typed('batch.show')} shows the newest that has ended")
    return found


def _elsewhere(run: Run) -> bool:
    """Whether what its jobs print cannot be read while they run."""
    return run.record.get("call") is not None or bool(run.record.get("on"))


def _follow(kept: Store, run: Run, shown: Renderer, job: int | None = None) -> Finished | Summary:
    """Show what happens until the run has ended; or only what concerns ``job``, until that has ended."""
    follower = Follower(kept, run)
    with closing(shown):
        while True:
            paused = follower.paused
            for event in follower.look():
                if job is None or _concerns(event, job):
                    shown.event(event)
                    if isinstance(event, Summary) or (
                        job is not None and isinstance(event, Finished) and event.outcome.final
                    ):
                        return event
            if follower.paused is not paused:
                shown.event(Warned(f"run {kept.short(run)} {'is paused' if follower.paused else 'goes on'}"))
            time.sleep(_LOOK)


def _concerns(event: Event, job: int) -> bool:
    """Whether it happens to this job, or to the whole run."""
    if isinstance(event, Finished):
        return event.outcome.attempt.job.number == job
    return isinstance(event, (Tick, Summary)) or (isinstance(event, Began) and event.attempt.job.number == job)


def _one_job(kept: Store, run: Run, number: int, shown: Renderer) -> int:
    """Show what one job prints, from its beginning, until it has ended; returns 0 if it went well."""
    with closing(Journals.open(run)) as journals:
        record = journals.record(number)
    if record is not None and record.outcome is not None and not record.left:
        with closing(shown):
            shown.event(Finished(record.outcome, None, record.stage))
        return int(record.outcome.status is not Status.OK)
    if not is_busy(run):
        raise UsageError(f"job {number} of run {kept.short(run)} has not ended, and nobody carries the run out")
    end = _follow(kept, run, shown, number)
    if isinstance(end, Summary):
        raise ManyhandsError(f"the run {kept.short(run)} has ended, and job {number} was not done")
    return int(end.outcome.status is not Status.OK)
