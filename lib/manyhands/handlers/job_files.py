"""What ``--joblog`` and ``--results`` write while a run goes on: a line, and a folder, for each job that ends."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.events import Event, Finished
from manyhands.core.job import Outcome, Output, Status
from manyhands.export.joblog import HEADER, line_of
from manyhands.render.returned import returned
from manyhands.work.template import fill_slot

_UNDONE = frozenset({Status.CANCELLED, Status.LOST, Status.SKIPPED})


class JobFiles:
    """``new``: the log is begun anew, else continued; ``shell``: commands are scripts. Raises UsageError if something cannot be made.

    What cannot be written later does not end the run: ``error`` says why."""

    def __init__(self, joblog: str | None, results: str | None, *, new: bool, shell: bool) -> None:
        self._shell, self.error = shell, ""
        self._results = None if results is None else Path(results)
        self._log: IO[bytes] | None = None
        try:
            if self._results:
                self._results.mkdir(mode=0o700, parents=True, exist_ok=True)
            if joblog is not None:
                self._log = open(os.open(joblog, _flags(new=new), 0o600), "ab")  # noqa: SIM115 - until `close`
                if not self._log.tell():
                    self._log.write(HEADER)
                    self._log.flush()
        except OSError as error:
            option = "--joblog" if joblog is not None and error.filename == joblog else "--results"
            raise UsageError(f"{option} {error.filename}: {error.strerror}") from None

    def event(self, event: Event) -> None:
        """Write what is to be written of an end."""
        if not isinstance(event, Finished) or not event.outcome.final or event.outcome.status in _UNDONE:
            return
        try:
            if self._log:
                argv = fill_slot(event.outcome.attempt.argv, event.outcome.slot)
                self._log.write(line_of(event.outcome.attempt.job, event.outcome, argv, shell=self._shell))
                self._log.flush()
            if self._results:
                self._keep(self._results, event.outcome)
        except (OSError, ManyhandsError) as error:
            if not self.error:
                why = error.strerror if isinstance(error, OSError) else error
                self.error = (
                    f"not all of --joblog and --results could be written: job {event.outcome.attempt.job.number}: {why}"
                )

    def _keep(self, results: Path, outcome: Outcome) -> None:
        folder = results / str(outcome.attempt.job.number)
        folder.mkdir(mode=0o700, exist_ok=True)
        _write(folder / "stdout", outcome.stdout)
        _write(folder / "stderr", outcome.stderr)
        if result := returned(outcome):
            _write(folder / "result", result)

    def close(self) -> None:
        """Close the log."""
        if self._log:
            with suppress(OSError):
                self._log.close()


def _flags(*, new: bool) -> int:
    return os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (os.O_TRUNC if new else 0)


def _write(path: Path, printed: Output) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.writelines(printed.chunks())
