"""The words for what happened: one job's end, one line for a whole run, a duration, a number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from manyhands.core.events import Summary
from manyhands.core.hints import typed
from manyhands.core.job import Arg, Attempt, Outcome, Status
from manyhands.core.safe_text import cells, one_line
from manyhands.render.words import duration, signal_name
from manyhands.work.template import display

_WORDS: Final = {
    Status.OK: "ok",
    Status.FAILED: "failed",
    Status.TIMEOUT: "timed out",
    Status.LOST: "lost",
    Status.SKIPPED: "skipped",
}
_SHELLS: Final = frozenset({b"sh", b"bash", b"dash", b"ksh", b"zsh", b"fish"})
_AGAIN: Final = (Status.FAILED, Status.TIMEOUT)
"""What ``batch.retry`` does again."""


def describe(outcome: Outcome) -> str:
    """How one attempt ended, as the end of the sentence "job 5 ..."; harmless for a terminal."""
    why = one_line(outcome.error, 400) if outcome.error else ""
    match outcome.status:
        case Status.OK:
            return "is ok"
        case Status.TIMEOUT:
            still = "; it could not be stopped and is still running" if outcome.still_running else ""
            return f"timed out after {duration(outcome.wall)}{still}"
        case Status.LOST:
            return f"was lost: {why or 'how it ended is not known'}"
        case Status.CANCELLED:
            return "was not begun" if outcome.started is None else "was stopped"
        case Status.SKIPPED:
            return f"was skipped: {why}" if why else "was skipped"
        case Status.FAILED:
            return _failure(outcome, why)


def _failure(outcome: Outcome, why: str) -> str:
    if why:
        return why if why.startswith("cannot ") else f"failed: {why}"
    if outcome.signal is not None:
        return f"was ended by {signal_name(outcome.signal)}"
    return "failed" if outcome.exit is None else f"failed with exit status {outcome.exit}"


def left_behind(outcome: Outcome) -> str | None:
    """``left 2 processes behind, which were stopped``, as the end of the same sentence; None if it left none."""
    if not outcome.leftovers:
        return None
    many = (
        "1 process behind, which was" if outcome.leftovers == 1 else f"{outcome.leftovers} processes behind, which were"
    )
    return f"left {many} stopped"


def name_of(attempt: Attempt, width: int) -> str:
    """An attempt in at most ``width`` columns, harmless: its command if that fits, else its input, which tells it from others."""
    command = command_of(attempt, width + 1)
    return command if command and cells(command) <= width else input_of(attempt, width)


def input_of(attempt: Attempt, width: int) -> str:
    """The input of an attempt in at most ``width`` columns, harmless."""
    return one_line(b" ".join(attempt.job.values), width)


def command_of(attempt: Attempt, width: int) -> str:
    """What an attempt runs, in at most ``width`` columns, harmless: of a shell the line that it is given; nothing for a function."""
    return one_line(_command(attempt.argv), width) if attempt.argv else ""


def _command(argv: Sequence[Arg]) -> str:
    if len(argv) == 3 and argv[1] == b"-c" and isinstance(argv[0], bytes) and argv[0].rpartition(b"/")[2] in _SHELLS:
        script = argv[2]
        return os.fsdecode(b"{%}".join(script) if isinstance(script, tuple) else script)
    return display(argv)


def counts(summary: Summary) -> str:
    """``1,997 ok, 3 failed, 5 not run``: what has been done, and what has not, as far as that is known."""
    found = [(summary.counts.get(status, 0), word) for status, word in _WORDS.items()]
    parts = [f"{number:,} {word}" for number, word in found if number or word == "ok"]
    if summary.not_run:
        parts.append(f"{summary.not_run:,} not run")
    elif summary.not_run is None:
        parts.append(f"{summary.left:,} or more not run" if summary.left else "further inputs not read")
    return ", ".join(parts)


def _headline(summary: Summary) -> str:
    """How many jobs, and what has become of them."""
    before, jobs = summary.done_before, summary.jobs
    if before and before == jobs and not summary.not_run and summary.not_run is not None:
        were = "1 job was" if before == 1 else f"{before:,} were"
        return f"nothing new to run: {were} done before ({counts(summary)})"
    if summary.not_run:
        every = jobs + summary.not_run
        text = f"{jobs:,} of {every:,} job{'' if every == 1 else 's'} done: {counts(summary)}"
    else:
        text = f"{jobs:,} job{'' if jobs == 1 else 's'}: {counts(summary)}"
    return text + (f" ({before:,} of them before)" if before else "")


def summary_line(summary: Summary, *, run: str = "", state_dir: str | None = None) -> str:
    """What a run came to, in one line, with what to type next; ``run`` is its short id, nothing if it left no record.

    ``2,000 jobs: 1,997 ok, 3 failed in 12.1 s (41.2 s of work, 3.4x); again: manyhands batch.retry 7f3a``
    """
    line = _headline(summary)
    if summary.jobs > summary.done_before or summary.not_run != 0:
        line += f" in {duration(summary.wall)}"
    jobs = summary.jobs - summary.done_before
    if jobs > 1 and summary.work >= 0.05 and summary.wall >= 0.05:  # less says nothing
        gain = summary.work / summary.wall
        line += f" ({duration(summary.work)} of work{f', {gain:,.1f}x' if gain >= 1 else ''})"
    if summary.stopped_by is not None:
        line += f"; stopped by {signal_name(summary.stopped_by)}"
    elif summary.early:
        line += "; it was asked to begin no more"
    elif summary.halted:
        line += f"; halted by {summary.halted}"
    if not run:
        return line
    if summary.not_run or summary.unread:
        line += f"; the rest: {typed('batch.resume', run, state_dir=state_dir)}"
    elif any(summary.counts.get(status) for status in _AGAIN):
        line += f"; again: {typed('batch.retry', run, state_dir=state_dir)}"
    return line
