"""What the ``batch`` tasks do with a run that another process carries out: stop it, hold it, change it, wait for it."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import Any, Final

from manyhands.control.client import ask
from manyhands.core.errors import UsageError
from manyhands.core.hints import typed
from manyhands.core.limits import parse_duration, parse_jobs
from manyhands.execution.how_it_ended import summary_of
from manyhands.handlers.batch_store import store
from manyhands.handlers.run_console import exit_status
from manyhands.options.runs import RunningRun, SetOptions, StopRunOptions, WaitRunOptions
from manyhands.posix.cores import usable_cores
from manyhands.render.summary import summary_line
from manyhands.storage.runs import Run, Store, is_busy
from manyhands.storage.stage_journals import Journals

_LOOK: Final = 0.1
"""Seconds between two looks whether a run has ended."""
_TIMED_OUT: Final = 124
"""As timeout(1) of GNU coreutils."""


def stop(options: StopRunOptions) -> int:
    """Stop a run, and wait until it has ended; or one job of it."""
    kept = store(options.state_dir)
    run = kept.running(options.run)
    if options.job is not None:
        ask(run, {"do": "stop", "job": options.job})
        _say(f"job {options.job} of run {kept.short(run)} is being stopped")
        return 0
    how = "soon" if options.soon else "now" if options.now else "term"
    ask(run, {"do": "stop", "how": how})
    if options.soon:
        _say(
            f"run {kept.short(run)} begins no more jobs; to wait for those that run: {kept.typed('batch.wait', kept.short(run))}"
        )
        return 0
    _wait_for(run, None)
    _say(_ended(kept, run)[1])
    return 0


def pause(options: RunningRun, *, paused: bool) -> int:
    """Suspend the jobs of a run, or continue them."""
    kept = store(options.state_dir)
    run = kept.running(options.run)
    ask(run, {"do": "pause" if paused else "continue"})
    name = kept.short(run)
    _say(f"run {name} is paused; to go on: {kept.typed('batch.continue', name)}" if paused else f"run {name} goes on")
    return 0


def change(options: SetOptions) -> int:
    """Change how many jobs run at once, or when the run ends early."""
    if options.jobs is None and options.halt is None:
        raise UsageError(f"{typed('batch.set')}: what is to change? Give --jobs N, --halt WHEN, or both")
    jobs = [] if options.jobs is None else [_jobs(part) for part in options.jobs.split(",")]
    kept = store(options.state_dir)
    run = kept.running(options.run)
    if options.halt is not None:
        ask(run, {"do": "set", "halt": options.halt})
        _say(f"run {kept.short(run)} now ends early by: {options.halt}")
    if jobs:
        now: list[int] = ask(run, {"do": "set", "jobs": jobs})["jobs"]
        less = any(one < wanted for one, wanted in zip(now, jobs * len(now), strict=False))
        why = "; its backend cannot have more while it runs: stop it, and resume it with --jobs" if less else ""
        _say(f"run {kept.short(run)} now runs at most {', '.join(map(str, now))} at once{why}")
    return 0


def _jobs(text: str) -> int:
    if text.strip() == "auto":
        raise UsageError("--jobs auto: only a new run can find the number by itself; give one")
    return parse_jobs(text, usable_cores())


def wait(options: WaitRunOptions) -> int:
    """Wait for runs to end; returns the first exit status of them that is not 0."""
    kept = store(options.state_dir)
    limit = None if options.timeout is None else parse_duration(options.timeout, "--timeout")
    runs = [kept.find(name) for name in options.runs] or [run for run in kept.all() if is_busy(run)]
    deadline = None if limit is None else time.monotonic() + limit
    statuses = []
    for run in runs:
        if not _wait_for(run, deadline):
            _say(f"run {kept.short(run)} is still going on")
            return _TIMED_OUT
        status, line = _ended(kept, run)
        _say(line)
        statuses.append(status)
    return next(filter(None, statuses), 0)


def _wait_for(run: Run, deadline: float | None) -> bool:
    """Wait until nobody carries out the run; False if it takes too long."""
    while is_busy(run):
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK)
    return True


def _ended(kept: Store, run: Run) -> tuple[int, str]:
    """(the exit status that a run had, in a shell's words; what it came to, in a line)."""
    name = kept.short(run)
    found = kept.get(run.id)
    if found is None:
        return 0, f"run {name} is over, and was removed: it had no inputs"
    with closing(Journals.open(found)) as journals:
        tally, executions = journals.tally(), journals.executions()
    summary = summary_of(found, tally.counts, tally.left, executions, 0.0)
    status = 128 + summary.stopped_by if summary.stopped_by else exit_status(summary)
    return status, f"run {name}: {summary_line(summary, run=name, state_dir=kept.given)}"


def _say(line: Any) -> None:
    sys.stderr.write(f"manyhands: {line}\n")
    sys.stderr.flush()
