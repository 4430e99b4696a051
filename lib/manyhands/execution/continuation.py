"""When a run is continued under its name: what must be the same, and what is fitted to what was there.

Separate from the batch, because these are rules about two descriptions of work, and about files, and carry out nothing.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from manyhands.core.errors import JournalError
from manyhands.core.hints import given_as
from manyhands.core.job import Values
from manyhands.inputs.program_inputs import Given, Iterating
from manyhands.inputs.sources import Source, Spec
from manyhands.posix.durable_files import Disk
from manyhands.work.plan import Plan


def difference(plan: Plan, before: Plan) -> str | None:
    """Why a run that does what ``before`` says cannot be continued as ``plan``, as the end of a sentence; None if it can."""
    if plan.workdir != before.workdir:
        return f"runs in another folder ({before.workdir}, this is {plan.workdir}); add {given_as('--workdir', before.workdir)}"
    if len(plan.then) != len(before.then):
        return f"has another number of stages ({len(before.then) + 1}, these are {len(plan.then) + 1})"
    for number, (new, old) in enumerate(zip(plan.works, before.works, strict=True), 1):
        if why := new.difference(old, f" as stage {number}" if number > 1 else ""):
            return why
    return None


class InColumns:
    """The same inputs, their columns in the order in which the run has met them first: a job is known by its values in order."""

    def __init__(self, source: Source, columns: Sequence[str]) -> None:
        self._source, self.columns = source, tuple(columns)
        self._pick = itemgetter(*map(source.columns.index, columns))
        self.width, self.total = source.width, source.total

    def __iter__(self) -> Iterator[Values]:
        for values in self._source:
            picked = self._pick(values)
            yield Given.of(picked, values.item) if isinstance(values, Given) else picked

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return self._source.spec()


def in_columns(source: Source, columns: Sequence[str]) -> Source:
    """``source`` with its ``columns`` in this order, if it has just these."""
    if isinstance(source, Iterating):  # its columns are known when its first item has come
        source.preferred = tuple(columns)
        return source
    if source.columns == tuple(columns) or sorted(source.columns) != sorted(columns):
        return source
    return InColumns(source, columns)


def keep_stdin(folder: Path, stream: int = 0) -> str | None:
    """Copy standard input to a run's folder, so that every command, also after a resume, can read all of it.

    Returns what is to be said if it takes the place of another one. Raises JournalError.
    """
    fresh, kept, disk = folder / "stdin.new", folder / "stdin", Disk()
    try:
        fresh.unlink(missing_ok=True)
        file = disk.create(fresh)
        try:
            while block := os.read(stream, 1 << 20):
                disk.write(file, block)
            disk.sync(file)
        finally:
            os.close(file)
        changed = kept.exists() and not filecmp.cmp(fresh, kept, shallow=False)
        disk.rename(fresh, kept)
        disk.sync_folder(folder)
    except OSError as error:
        raise JournalError(f"cannot keep standard input in {kept}: {error.strerror}") from error
    return "standard input is not what it was: the jobs that are still to run get the new one" if changed else None


def check_stdin(plan: Plan, folder: Path) -> None:
    """Raise JournalError if the standard input of the commands was to be kept, and is not there."""
    if plan.stdin == "-" and not (folder / "stdin").exists():
        raise JournalError(
            f"{folder / 'stdin'} is not there: the run was killed while it read it; give it again with {given_as('--run-id', folder.name)}"
        )
