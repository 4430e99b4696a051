"""A batch at a terminal or in a script: events to a renderer, signals to the batch, what came of it to an exit status.

    engine's thread --events--> this one: renderer --> terminal, pipe, file          signals --> batch

So whatever happens to our output, jobs keep their limits and a stop is obeyed. Separate from `batch`, which knows nothing of
screens, and from the tasks, which should hold no logic.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from manyhands.core.errors import InputError, ManyhandsError, NotRunningError, UsageError
from manyhands.core.events import Event, Summary, Tick
from manyhands.core.job import Status
from manyhands.core.safe_text import harmless
from manyhands.engine.channel import Closed
from manyhands.execution.batch import Batch
from manyhands.execution.batch_thread import Carrier, carry
from manyhands.handlers.run_extras import Extras
from manyhands.options.batch import Console
from manyhands.posix.signals import GivenUp, Watched, die_by
from manyhands.render.failures import Failures
from manyhands.render.summary import summary_line
from manyhands.storage.runs import Store

if TYPE_CHECKING:
    from manyhands.execution.staged import StagedBatch

TICK: Final = 0.25
"""Seconds between two looks at the clock while nothing happens: for the display and the heartbeat."""
_JOB_CONTROL: Final = "job control"
"""Why all is suspended while a shell has stopped us; batch.pause is another reason."""


def carry_out(batch: Batch | StagedBatch, store: Store, extras: Extras) -> int:
    """Run ``batch`` before the user's eyes and return the exit status; dies by the signal that ended it.

    0: all is done and well; 1: something failed or is left to do, or a file of ``extras`` could not be written; 141: nobody reads our
    output any more.
    """
    options = extras.options
    json, quiet = options.json, options.quiet
    fail_if_empty = isinstance(options, Console) and options.fail_if_empty
    show = _Show(batch, extras)
    with Watched(batch.stop, show.wake) as watched:
        error = show.all(watched)
    if error is not None and batch.summary is None:
        raise _on_a_resume(error, batch, store)
    if batch.no_inputs and batch.stopped_by is None and (batch.scope == "new" or fail_if_empty):
        if not json and (fail_if_empty or not quiet):
            show.say("manyhands: no inputs: nothing to run")
        return UsageError.exit_code if fail_if_empty else 0
    advice = _how_to_go_on(error, batch, store)
    written = extras.end(batch, _status_of(batch), show.say)
    status = _finish(batch, None if json or quiet else store, show, last_word=not advice)
    if error is not None:  # inputs that could not be read to their end: what came before them has been done
        if not isinstance(error, ManyhandsError):
            raise error
        show.say(f"manyhands: {harmless(str(error))}{advice}")
        return 1
    return status or int(not written)


def _how_to_go_on(error: BaseException | None, batch: Batch | StagedBatch, store: Store) -> str:
    """What is to be done about inputs that cannot be read further, as the end of a line."""
    if not isinstance(error, InputError):
        return ""
    from manyhands.inputs.spool import NotKeptError  # here: where inputs come from a pipe, it is loaded already

    if isinstance(error, NotKeptError):
        return ""
    if batch.plan.streamed:  # what was kept of them would stop a resume at the same place
        return f"; mend it, and give all inputs again with --run-id {batch.run.id}: what has been done is passed over"
    return f"; mend the inputs, then do the rest: {store.typed('batch.resume', batch.run.id)}"


def _on_a_resume(error: BaseException, batch: Batch | StagedBatch, store: Store) -> BaseException:
    """``error``, with how to go on, if it ended an execution that is not the first: then the run is there, and unfinished."""
    if batch.scope == "new" or type(error) is not InputError:
        return error
    return ManyhandsError(f"{error}{_how_to_go_on(error, batch, store)}")


class _Show:
    """Shows what happens, in the main thread, as long as somebody reads it."""

    def __init__(self, batch: Batch | StagedBatch, extras: Extras) -> None:
        self._batch, self._extras = batch, extras
        self._renderer, self.say = extras.begin(batch)
        self._carrier: Carrier | None = None
        self.failures = Failures()
        self.closed = False
        """Nobody reads our output any more."""
        self.given_up = False
        """A second signal came while nobody took our output."""

    def wake(self) -> None:
        """Look at the flags of `Watched` soon; called by its handlers."""
        if self._carrier:
            self._carrier.nudge()

    def all(self, watched: Watched) -> BaseException | None:
        """Carry it out to its end; returns what ended it, if that was an error."""
        carrier = self._carrier = carry(self._batch)
        try:
            while True:
                try:
                    events = carrier.take(TICK)
                except Closed as end:
                    return end.__cause__
                with self._giving_up(watched):
                    self._events(events or [Tick(time.monotonic(), 0)])
                self._answer(watched)
        finally:
            carrier.close()
            with self._giving_up(watched):
                self._renderer.close()

    @contextmanager
    def _giving_up(self, watched: Watched) -> Iterator[None]:
        """Write something, which a second signal may interrupt: nobody reads it, and the jobs are being killed."""
        try:
            watched.writing = not self.given_up
            yield
        except GivenUp:
            self.given_up = True
        except BrokenPipeError:
            self.closed = True
            self._batch.stop(signal.SIGPIPE)
        finally:
            watched.writing = False

    def _events(self, events: Iterable[Event]) -> None:
        for event in events:
            self.failures.event(event)
            self._extras.event(event)
            if not self.closed and not self.given_up:
                self._renderer.event(event)

    def _answer(self, watched: Watched) -> None:
        """What the user has asked by a signal."""
        if watched.asked_what_runs:
            watched.asked_what_runs = False
            self.say(*self._renderer.running())
        if watched.asked_to_pause:
            watched.asked_to_pause = False
            self._pause()

    def _pause(self) -> None:
        """Stop as a shell's job control wants it (SIGTSTP), and go on when it says so; what batch.pause has suspended stays so."""
        with suppress(NotRunningError):  # nothing has begun, or all is over
            self._batch.pause(True, _JOB_CONTROL)
        self._renderer.pause(True)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._renderer.pause(False)
        with suppress(NotRunningError):
            self._batch.pause(False, _JOB_CONTROL)


def _finish(batch: Batch | StagedBatch, store: Store | None, show: _Show, *, last_word: bool = True) -> int:
    """Say what it came to (not without ``store``), with what to type next if that is the ``last_word``; leave as the run ended."""
    summary = batch.summary
    if show.closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if summary is None:
        return 1
    if store and not show.given_up:
        run = store.short(batch.run)
        if show.failures.some:
            show.say(*show.failures.told(summary, run, _width(), store.typed))
        show.say(summary_line(summary, run=run if last_word else "", state_dir=store.given))
    if show.closed:
        return 141
    stopped_by = summary.stopped_by or batch.stopped_by
    if stopped_by is not None:
        if not show.given_up:
            sys.stdout.flush()
        die_by(stopped_by)
    return exit_status(summary)


def _width() -> int:
    import shutil  # here: it imports all kinds of compression, and most runs have no failures to show

    return shutil.get_terminal_size((200, 24)).columns


def _status_of(batch: Batch | StagedBatch) -> int:
    """The exit status of a batch that has ended, in a shell's words."""
    if batch.stopped_by is not None:
        return 128 + batch.stopped_by
    return exit_status(batch.summary) if batch.summary else 1


def exit_status(summary: Summary) -> int:
    """0 only when everything is done and well, or a rule to halt on success or on enough done jobs has been met."""
    if summary.halted and ",fail" not in summary.halted and not summary.early:
        return 0
    if any(count for status, count in summary.counts.items() if status is not Status.OK):
        return 1
    return 1 if summary.left or summary.unread else 0
