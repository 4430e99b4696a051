"""Begins a batch: first the process is started that carries out its first job, then everything else is imported.

Separate from `manyhands.handlers.batch`, whose import takes as long as that process to be ready.
"""

from __future__ import annotations

from manyhands.backends.shared.early_process import FORK_SERVER, LAUNCHER, boot
from manyhands.options.batch import CommandOptions, FunctionOptions, ScriptOptions


def run(options: CommandOptions) -> int:
    """As `manyhands.handlers.batch.new`."""
    if options.backend == "commands" and not (options.on or options.on_each or options.dry_run or options.background):
        boot(LAUNCHER)
    from manyhands.handlers import batch

    return batch.new(options)


def call(options: FunctionOptions) -> int:
    """As `manyhands.handlers.batch.new`."""
    forks = options.backend == "processes" and options.start_method == "forkserver"
    if forks and not (options.dry_run or options.background):
        boot(FORK_SERVER)
    from manyhands.handlers import batch

    return batch.new(options)


def script(options: ScriptOptions) -> int:
    """As `manyhands.handlers.batch_script.run_script`."""
    if not (options.dry_run or options.background):
        boot(LAUNCHER)
    from manyhands.handlers import batch_script

    return batch_script.run_script(options)
