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
    from manyhands.batch import Batch
    from manyhands.errors import (
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
    from manyhands.forks import fork_demo
    from manyhands.host import HostInfo, Identity, host_info, identity
    from manyhands.inputs import Args, Csv, Glob, JsonLines, Lines, Product, Rows, Zip
    from manyhands.job import Attempt, Job, Outcome, Output, Status
    from manyhands.library import run_batch
    from manyhands.limits import Backoff, Halt, Limits, RetryOn, Timeout
    from manyhands.mapping import map_batch
    from manyhands.output import chunks, read
    from manyhands.pipeline import CommandError, Pipeline, PipelineResult, pipe
    from manyhands.process import ProcessInfo, Selector, list_processes, process_tree
    from manyhands.results import Results
    from manyhands.stopping import Fate, Stopped, stop_tree
    from manyhands.template import Template
    from manyhands.tree import Completed, Tree

_HOME = {
    "batch": ["Batch"],
    "errors": [
        "BatchWarning", "BusyError", "CannotCreateError", "InputError", "InputWarning", "JobFailedError", "JobTimeoutError", "JournalError", "ManyhandsError", "TemplateError",
        "UsageError", "WrongTypeError",
    ],
    "forks": ["fork_demo"],
    "host": ["HostInfo", "Identity", "host_info", "identity"],
    "inputs": ["Args", "Csv", "Glob", "JsonLines", "Lines", "Product", "Rows", "Zip"],
    "job": ["Attempt", "Job", "Outcome", "Output", "Status"],
    "library": ["run_batch"],
    "limits": ["Backoff", "Halt", "Limits", "RetryOn", "Timeout"],
    "mapping": ["map_batch"],
    "output": ["chunks", "read"],
    "pipeline": ["CommandError", "Pipeline", "PipelineResult", "pipe"],
    "process": ["ProcessInfo", "Selector", "list_processes", "process_tree"],
    "results": ["Results"],
    "stopping": ["Fate", "Stopped", "stop_tree"],
    "template": ["Template"],
    "tree": ["Completed", "Tree"],
}  # fmt: skip
_MODULES = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Args", "Attempt", "Backoff", "Batch", "BatchWarning", "BusyError", "CannotCreateError", "CommandError", "Completed", "Csv", "Fate", "Glob",
    "Halt", "HostInfo", "Identity", "InputError", "InputWarning", "Job", "JobFailedError", "JobTimeoutError", "JournalError", "JsonLines", "Limits", "Lines",
    "ManyhandsError", "Outcome", "Output", "Pipeline", "PipelineResult", "ProcessInfo", "Product", "Results", "RetryOn", "Rows",
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
