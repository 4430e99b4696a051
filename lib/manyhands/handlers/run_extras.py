"""What a run does beside its jobs, as its options want it: how it is shown, what is written down while it goes on and at its end.

Separate from `manyhands.handlers.run_console`, which carries it out. Most runs want none of it, so it is imported where it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands.core.errors import UsageError
from manyhands.core.events import Event
from manyhands.core.masking import is_secret
from manyhands.core.safe_text import harmless
from manyhands.options.batch import Console
from manyhands.options.runs import AgainOptions
from manyhands.render import choose
from manyhands.render.protocol import Renderer

if TYPE_CHECKING:
    from manyhands.execution.batch import Batch
    from manyhands.execution.staged import StagedBatch
    from manyhands.handlers.background import Detached
    from manyhands.handlers.job_files import JobFiles

Say = Callable[..., None]


class Extras:
    """Checks the options. Raises UsageError before anything is run."""

    def __init__(self, options: Console | AgainOptions) -> None:
        self.options = options
        self.junit = None if options.junit is None else _junit_file(options.junit)
        self._notify: list[str] | None = None
        if options.notify is not None:
            from manyhands.handlers.notify import command_of

            self._notify = command_of(options.notify)
        self.detached: Detached | None = None
        """What tells the process that has begun this one, if the run goes on in the background."""
        self._files: JobFiles | None = None

    def begin(self, batch: Batch | StagedBatch) -> tuple[Renderer, Say]:
        """(what shows the run, what says a line of ours). Raises UsageError if the files cannot be made."""
        options, plan = self.options, batch.plan
        if options.joblog is not None or options.results is not None:
            from manyhands.handlers.job_files import JobFiles

            shell = plan.to_json()["shell"] is not None
            self._files = JobFiles(options.joblog, options.results, new=batch.scope == "new", shell=shell)
        shown, say = self._renderer(batch)
        if self.detached:
            from manyhands.handlers.background import Telling

            shown = Telling(shown, self.detached)
        return shown, say

    def _renderer(self, batch: Batch | StagedBatch) -> tuple[Renderer, Say]:
        options, plan, stdout = self.options, batch.plan, sys.stdout.buffer
        if options.ci is not None:
            from manyhands.ci.dialects import dialect_of
            from manyhands.ci.log import CiLog

            secrets = [value for name, value in plan.environment.items() if is_secret(name, value)]
            log = CiLog(stdout, dialect_of(options.ci, os.environ), shown=options.output, tag=plan.tag, secrets=secrets)
            return log, log.say
        shown: Renderer
        if self.detached:
            from manyhands.render.plain import Plain

            shown = Plain(stdout, sys.stderr, heartbeat=inf)
        else:
            shown = choose(
                json=options.json, quiet=options.quiet, tag=plan.tag, stdout=stdout, stderr=sys.stderr, environ=os.environ
            )
        if options.line_buffer:
            from manyhands.execution.growing_output import GrowingOutput
            from manyhands.render.line_buffered import LineBuffered

            return LineBuffered(shown, GrowingOutput([stage.outputs for stage in batch.run.stages])), say
        kept = "none" if self.detached else options.output
        if kept == "all":
            return shown, say
        from manyhands.render.chosen_output import ChosenOutput

        return ChosenOutput(shown, kept), say

    def event(self, event: Event) -> None:
        """Write down what happened."""
        if self._files:
            self._files.event(event)

    def end(self, batch: Batch | StagedBatch, status: int, say: Say) -> bool:
        """The run has ended, with this exit status: write and run what is to be; False if something could not be written, which is told."""
        written = self.junit is None or _written(batch, self.junit, say)
        if self._files:
            self._files.close()
            if self._files.error:
                written = False
                say(f"manyhands: {harmless(self._files.error)}")
        if self._notify and batch.summary:
            from manyhands.handlers.notify import notify

            if wrong := notify(self._notify, batch.summary, status):
                say(f"manyhands: {harmless(wrong)}")
        return written


def _junit_file(given: str) -> Path:
    """Where ``--junit`` wants the jobs."""
    path = Path(given)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"--junit {given!r}: {'it is a folder' if path.is_dir() else 'there is no such folder'}")
    return path


def _written(batch: Batch | StagedBatch, junit: Path, say: Say) -> bool:
    """Write the jobs of the run as JUnit XML."""
    from manyhands.handlers.batch_runs import write_junit

    try:
        write_junit(batch.run, junit)
    except OSError as error:
        say(f"manyhands: --junit {harmless(str(junit))}: {error.strerror}")
        return False
    return True


def say(*lines: str) -> None:
    """Lines on standard error."""
    sys.stderr.write("".join(line + "\n" for line in lines))
    sys.stderr.flush()
