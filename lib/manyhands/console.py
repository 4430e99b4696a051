"""A batch at a terminal or in a script: events to a renderer, signals to the batch, what came of it to an exit status.

Separate from `batch`, which knows nothing of screens, and from the tasks, which should hold no logic.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from typing import Final

from manyhands.batch import Batch
from manyhands.call import UNFIT, unfit
from manyhands.errors import UsageError
from manyhands.events import Finished, Summary
from manyhands.job import Status
from manyhands.line import Line
from manyhands.render import choose
from manyhands.render.protocol import Renderer
from manyhands.render.summary import summary_line
from manyhands.runs import Store
from manyhands.signals import Watched, die_by

TICK: Final = 0.25
"""Seconds between two looks at the clock while nothing happens: for the display and the heartbeat."""


def carry_out(
    batch: Batch | Line, store: Store, *, json: bool = False, quiet: bool = False, program: str = "invoke"
) -> int:
    """Run ``batch`` before the user's eyes and return the exit status; dies by the signal that ended it.

    0: all is done and well; 1: something failed or is left to do; 2: a function returned what cannot be kept as asked;
    141: whoever read our output has left.
    """
    renderer = choose(
        json=json, quiet=quiet, tag=batch.plan.tag, stdout=sys.stdout.buffer, stderr=sys.stderr, environ=os.environ
    )
    closed = misused = False
    with Watched(batch.stop, batch.wake) as watched, closing(batch.events(tick=TICK)) as events:
        try:
            for event in events:
                try:
                    if not closed:
                        renderer.event(event)
                except BrokenPipeError:
                    closed = True
                    batch.stop(signal.SIGPIPE)
                if isinstance(event, Finished) and event.outcome.exit == UNFIT and unfit(event.outcome.error):
                    misused = True
                if watched.asked_what_runs:
                    watched.asked_what_runs = False
                    _say(*renderer.running())
                if watched.asked_to_pause:
                    watched.asked_to_pause = False
                    _pause(batch, renderer)
        finally:
            renderer.close()
    status = _finish(batch, None if json or quiet else store, closed, program)
    return UsageError.exit_code if misused and status == 1 else status


def _pause(batch: Batch | Line, renderer: Renderer) -> None:
    """Stop as a shell's job control wants it (SIGTSTP), and go on when it says so."""
    batch.pause(True)
    renderer.pause(True)
    os.kill(os.getpid(), signal.SIGSTOP)
    renderer.pause(False)
    batch.pause(False)


def _finish(batch: Batch | Line, store: Store | None, closed: bool, program: str) -> int:
    """Say what it came to (not without ``store``), and leave as the run ended."""
    summary = batch.summary
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if summary is None:
        return 1
    if store:
        _say(summary_line(summary, program=program, again=store.short(batch.run)))
    if closed:
        return 141
    if summary.stopped_by is not None:
        sys.stdout.flush()
        die_by(summary.stopped_by)
    return exit_status(summary)


def exit_status(summary: Summary) -> int:
    """0 only when everything is done and well, or a rule to halt on success or on enough done jobs has been met."""
    if any(count for status, count in summary.counts.items() if status is not Status.OK):
        return 1
    if summary.halted and ",fail" not in summary.halted:
        return 0
    return 1 if summary.left or summary.unread else 0


def _say(*lines: str) -> None:
    sys.stderr.write("".join(line + "\n" for line in lines))
    sys.stderr.flush()
