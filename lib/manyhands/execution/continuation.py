"""When a run is continued under its name: what must be the same, and what is adapted to the earlier run.

Separate from the batch, because these rules compare two descriptions of work, and files; they carry out nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

from manyhands.core.errors import JournalError, UsageError
from manyhands.core.hints import given_as, option_name
from manyhands.core.job import Values
from manyhands.inputs.program_inputs import Given, Iterating
from manyhands.inputs.sources import Source, Spec
from manyhands.posix.durable_files import Disk
from manyhands.storage.runs import Run
from manyhands.work.plan import Plan
from manyhands.work.shard import Shard

UNTRUSTED: Final = "untrusted"
"""In run.json: that the run came from elsewhere, and nobody has said that it can be trusted."""


def check_trusted(run: Run) -> None:
    """Raise UsageError for a run that came from elsewhere, before anything in it is run or unpickled."""
    if run.record.get(UNTRUSTED):
        raise UsageError(
            f"the run {run.id} was imported, so it can only be read: to continue it would run its commands and read its pickles; "
            f"if you trust who has made the file, import it with {option_name('--trust')}"
        )


def difference(plan: Plan, before: Plan) -> str | None:
    """Why a run of the plan ``before`` cannot be continued with ``plan``, as the end of a sentence; None if it can."""
    if plan.workdir != before.workdir:
        return f"runs in another folder ({before.workdir}, this is {plan.workdir}); add {given_as('--workdir', before.workdir)}"
    if why := _other_part(plan.shard, before.shard):
        return why
    if len(plan.then) != len(before.then):
        return f"has another number of stages ({len(before.then) + 1}, these are {len(plan.then) + 1})"
    for number, (new, old) in enumerate(zip(plan.works, before.works, strict=True), 1):
        if why := new.difference(old, f" as stage {number}" if number > 1 else ""):
            return why
    return None


def _other_part(new: Shard | None, old: Shard | None) -> str | None:
    """The same for the part of a run that it is. What was merged from all parts is a run like any other."""
    if new is not None:
        return new.difference(old) if old is not None else f"is no shard, this is shard {new}"
    return f"is shard {old}, this is the whole" if old is not None and old.count > 1 else None


class InColumns:
    """The same inputs with their columns in the order of the run's first execution: a job is identified by its values in order."""

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
    """``source`` with its columns in the order of ``columns``, if it has exactly these."""
    if isinstance(source, Iterating):  # its columns are known only when its first item has arrived
        source.preferred = tuple(columns)
        return source
    if source.columns == tuple(columns) or sorted(source.columns) != sorted(columns):
        return source
    return InColumns(source, columns)


def keep_stdin(folder: Path, stream: int = 0) -> str | None:
    """Copy standard input to a run's folder, so that every command can read all of it, also after a resume.

    Returns a warning if it replaces a different one. Raises JournalError.
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
        import filecmp

        changed = kept.exists() and not filecmp.cmp(fresh, kept, shallow=False)
        disk.rename(fresh, kept)
        disk.sync_folder(folder)
    except OSError as error:
        raise JournalError(f"cannot keep standard input in {kept}: {error.strerror}") from error
    return "standard input has changed: the jobs that still have to run get the new one" if changed else None


def check_stdin(plan: Plan, folder: Path) -> None:
    """Raise JournalError if the commands need the stored standard input, and it is missing."""
    if plan.stdin == "-" and not (folder / "stdin").exists():
        raise JournalError(
            f"{folder / 'stdin'} does not exist: the run was killed while reading standard input; give it again with {given_as('--run-id', folder.name)}"
        )
