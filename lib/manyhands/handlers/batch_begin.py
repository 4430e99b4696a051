"""Begins a batch of calls: first the process is started from which its workers are forked, then everything else is imported.

Separate from `manyhands.handlers.batch`, whose import takes as long as that process to be ready.
"""

from __future__ import annotations

from manyhands.backends.workers.early_process import boot, end_unused
from manyhands.options.batch import FunctionOptions


def call(options: FunctionOptions) -> int:
    """As `manyhands.handlers.batch.new`."""
    forks = options.backend == "processes" and options.start_method == "forkserver"
    if forks and not (options.dry_run or options.background):
        boot()
    from manyhands.handlers import batch

    try:
        return batch.new(options)
    finally:
        end_unused()
