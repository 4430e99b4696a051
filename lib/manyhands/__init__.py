"""manyhands: run one command over many inputs, with as many hands as the machine has, and never lose track of one.

    from manyhands import run_batch

    for outcome in run_batch("gzip -9 -kf {}", paths, jobs=4, timeout=60, retries=2):
        print(outcome.attempt.job.values, outcome.status, outcome.exit)

Names are loaded when they are used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from sys import modules

TYPE_CHECKING = False  # for type checkers, as `typing` has it, whose import would be most of a start

__version__ = "0.1.0"

if TYPE_CHECKING:
    from manyhands.api.map_batch import map_batch
    from manyhands.api.results import Results
    from manyhands.api.run_batch import run_batch
    from manyhands.api.run_options import RunOptions
    from manyhands.commands.pipeline import CommandError, Pipeline, PipelineResult, pipe
    from manyhands.commands.process_tree import Completed, Tree
    from manyhands.core.errors import (
        BatchWarning,
        BusyError,
        CannotCreateError,
        InputError,
        InputWarning,
        JobFailedError,
        JobTimeoutError,
        JournalError,
        ManyhandsError,
        TemplateError,
        UsageError,
        WrongTypeError,
    )
    from manyhands.core.job import Attempt, Job, Outcome, Output, Status
    from manyhands.core.limits import Backoff, Halt, Limits, RetryOn, Timeout
    from manyhands.execution.batch import Batch
    from manyhands.host.info import HostInfo, Identity, host_info, identity
    from manyhands.inputs.sources import Args, Csv, Glob, JsonLines, Lines, Product, Rows, Zip
    from manyhands.processes.fork_demo import fork_demo
    from manyhands.processes.listing import ProcessInfo, Selector, list_processes, process_tree
    from manyhands.processes.stop import Fate, Stopped, stop_tree
    from manyhands.storage.output import chunks, read
    from manyhands.work.template import Template

_HOME = {
    "execution.batch": ["Batch"],
    "core.errors": [
        "BatchWarning", "BusyError", "CannotCreateError", "InputError", "InputWarning", "JobFailedError", "JobTimeoutError", "JournalError", "ManyhandsError", "TemplateError",
        "UsageError", "WrongTypeError",
    ],
    "processes.fork_demo": ["fork_demo"],
    "host.info": ["HostInfo", "Identity", "host_info", "identity"],
    "inputs.sources": ["Args", "Csv", "Glob", "JsonLines", "Lines", "Product", "Rows", "Zip"],
    "core.job": ["Attempt", "Job", "Outcome", "Output", "Status"],
    "api.run_batch": ["run_batch"],
    "api.run_options": ["RunOptions"],
    "core.limits": ["Backoff", "Halt", "Limits", "RetryOn", "Timeout"],
    "api.map_batch": ["map_batch"],
    "storage.output": ["chunks", "read"],
    "commands.pipeline": ["CommandError", "Pipeline", "PipelineResult", "pipe"],
    "processes.listing": ["ProcessInfo", "Selector", "list_processes", "process_tree"],
    "api.results": ["Results"],
    "processes.stop": ["Fate", "Stopped", "stop_tree"],
    "work.template": ["Template"],
    "commands.process_tree": ["Completed", "Tree"],
}  # fmt: skip
_MODULES = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Args", "Attempt", "Backoff", "Batch", "BatchWarning", "BusyError", "CannotCreateError", "CommandError", "Completed", "Csv", "Fate", "Glob",
    "Halt", "HostInfo", "Identity", "InputError", "InputWarning", "Job", "JobFailedError", "JobTimeoutError", "JournalError", "JsonLines", "Limits", "Lines",
    "ManyhandsError", "Outcome", "Output", "Pipeline", "PipelineResult", "ProcessInfo", "Product", "Results", "RetryOn", "Rows", "RunOptions",
    "Selector", "Status", "Stopped", "Template", "TemplateError", "Timeout", "Tree", "UsageError", "WrongTypeError", "Zip", "chunks",
    "fork_demo", "host_info", "identity", "list_processes", "map_batch", "pipe", "process_tree", "read", "run_batch", "stop_tree",
]  # fmt: skip


_ENTRANCES = frozenset({"map_batch", "run_batch"})
"""What a script begins its work with."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _ENTRANCES and _for_a_worker():
        return lambda *args, **kwargs: _found(name)(*args, **kwargs)  # type: ignore[operator]  # they are functions
    return _found(name)


def _found(name: str) -> object:
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def _for_a_worker() -> bool:
    """Whether a worker process imports the script. It calls none of these, and whoever began the batch waits for it meanwhile: what
    they need would be most of what it imports."""
    process = modules.get("multiprocessing.process")
    return process is not None and hasattr(process.current_process(), "_inheriting")
