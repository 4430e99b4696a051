"""What the ``batch`` tasks do with runs that come from other machines, or go there: a run as a file, and the shards of one run as one."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from manyhands.core.errors import UsageError
from manyhands.core.limits import parse_size
from manyhands.execution.carrying import export_to, import_from
from manyhands.execution.merging import merge
from manyhands.handlers.batch_store import store
from manyhands.options.runs import ExportOptions, ImportOptions, MergeOptions
from manyhands.posix.home import expanded
from manyhands.render.words import size
from manyhands.storage.runs import Run
from manyhands.storage.stage_journals import Journals


def export_archive(options: ExportOptions) -> None:
    """Write a run to a file."""
    path = Path(expanded(options.archive or ""))
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(
            f"--archive {options.archive!r}: {'it is a folder' if path.is_dir() else 'there is no such folder'}"
        )
    found = store(options.state_dir).find(options.run)
    export_to(found, path)
    sys.stderr.write(f"manyhands: run {found.id} is in {path} ({size(path.stat().st_size)})\n")


def import_archive(options: ImportOptions) -> None:
    """Make a run of such a file."""
    path, most = Path(expanded(options.file)), parse_size(options.max_size, "--max-size")
    found = import_from(store(options.state_dir), path, run_id=options.run_id, trusted=options.trust, most=most)
    sys.stderr.write(f"manyhands: imported run {found.id}: {_came_to(found)}\n")


def merge_runs(options: MergeOptions) -> None:
    """Make one run of all shards of it."""
    if not options.run_id:
        raise UsageError("batch.merge: name the new run with --run-id")
    kept = store(options.state_dir)
    parts = list({run.id: run for run in map(kept.find, options.runs)}.values())
    found, remark = merge(kept, parts, options.run_id)
    if remark:
        sys.stderr.write(f"manyhands: {remark}\n")
    sys.stderr.write(
        f"manyhands: merged {len(parts)} shard{'' if len(parts) == 1 else 's'} into run {found.id}: {_came_to(found)}\n"
    )


def _came_to(run: Run) -> str:
    with closing(Journals.open(run)) as journals:
        tally = journals.tally()
    total = run.record.get("total") or 0
    counts = [f"{number:,} {status.value}" for status, number in tally.counts.items()]
    left = max(tally.left, total - sum(tally.counts.values()))
    return ", ".join([f"{total:,} job{'' if total == 1 else 's'}", *counts, *([f"{left:,} left"] if left else [])])
