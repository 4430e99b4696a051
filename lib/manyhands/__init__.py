"""Run one command, or call one function, over many inputs, with as many hands as the machine has, and never lose track of one.

    from manyhands import run_batch

    for outcome in run_batch("gzip -9 -kf {}", paths, jobs=4, timeout=60, retries=2):
        print(outcome.input, outcome.status, outcome.exit)

Many inputs:
    run_batch        a record of each job; time-outs, retries, and a run that can be resumed
    map_batch        no records: what a function returns, as fast as processes can be fed
One command, or a chain of them, without a shell; a time-out stops all that was started:
    check_output     what it prints; an error if it fails
    pipe             a chain, and how every part of it ended
    retry, watch     repeat until success; repeat and show what changes
    answer           answer what a program asks
Processes:
    list_processes, process_tree   what runs
    stop_process     one and all below it, and no other
    wait             until a process has ended, a port answers, a file is there, a line is logged
The machine:
    host_info, identity   its facts; user and groups
    check_host       compare load, memory, disks with thresholds

Each of them has a docstring, such as help(manyhands.run_batch); docs/library.md has all names on one page. What goes wrong is a
`ManyhandsError`. Everything else in this package is internal, and may change.
"""

# Names are loaded when they are used, so that importing the package costs nothing.

from __future__ import annotations

from sys import modules

TYPE_CHECKING = False  # for type checkers, as `typing` has it, whose import would be most of a start

__version__ = "0.1.0"

if TYPE_CHECKING:
    from typing import Any

    from manyhands.api.everyday import answer, check_host, retry, watch
    from manyhands.api.map_batch import MapResults, map_batch
    from manyhands.api.results import Results
    from manyhands.api.run_batch import run_batch
    from manyhands.api.run_options import RunOptions
    from manyhands.commands.command import check_output
    from manyhands.commands.command_tree import Completed
    from manyhands.commands.expect import Answered
    from manyhands.commands.pipeline import CommandError, InputFrom, OutputTo, Pipeline, PipelineResult, pipe
    from manyhands.commands.retry import Look
    from manyhands.core.attempt import Attempt, Ending, Job, Output
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
    from manyhands.core.events import Summary
    from manyhands.core.job import Outcome, Status
    from manyhands.core.level import Level
    from manyhands.core.limits import Backoff, RetryOn
    from manyhands.host.checks import Checked, Threshold
    from manyhands.host.info import HostInfo, Identity, host_info, identity
    from manyhands.host.metrics import Disk, Interface, Memory, Sensors, Swap
    from manyhands.inputs.readers import Csv, JsonLines, Lines
    from manyhands.inputs.sources import Args, Glob, Product, Rows, Source, Zip
    from manyhands.processes.listing import Branch, ProcessInfo, Selector, list_processes, process_tree
    from manyhands.processes.stop import Fate, Stopped, stop_process
    from manyhands.processes.wait import wait
    from manyhands.work.template import Template

_NAMES = {
    "api.everyday": "answer check_host retry watch",
    "api.map_batch": "MapResults map_batch",
    "api.results": "Results",
    "api.run_batch": "run_batch",
    "api.run_options": "RunOptions",
    "commands.command": "check_output",
    "commands.expect": "Answered",
    "commands.pipeline": "CommandError InputFrom OutputTo Pipeline PipelineResult pipe",
    "commands.command_tree": "Completed",
    "commands.retry": "Look",
    "core.errors": "BatchWarning BusyError CannotCreateError InputError InputWarning JobFailedError JobTimeoutError JournalError ManyhandsError TemplateError UsageError WrongTypeError",
    "core.events": "Summary",
    "core.attempt": "Attempt Ending Job Output",
    "core.job": "Outcome Status",
    "core.level": "Level",
    "core.limits": "Backoff RetryOn",
    "host.checks": "Checked Threshold",
    "host.info": "HostInfo Identity host_info identity",
    "host.metrics": "Disk Interface Memory Sensors Swap",
    "inputs.readers": "Csv JsonLines Lines",
    "inputs.sources": "Args Glob Product Rows Source Zip",
    "processes.listing": "Branch ProcessInfo Selector list_processes process_tree",
    "processes.stop": "Fate Stopped stop_process",
    "processes.wait": "wait",
    "work.template": "Template",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Answered",
    "Args",
    "Attempt",
    "Backoff",
    "BatchWarning",
    "Branch",
    "BusyError",
    "CannotCreateError",
    "Checked",
    "CommandError",
    "Completed",
    "Csv",
    "Disk",
    "Ending",
    "Fate",
    "Glob",
    "HostInfo",
    "Identity",
    "InputError",
    "InputFrom",
    "InputWarning",
    "Interface",
    "Job",
    "JobFailedError",
    "JobTimeoutError",
    "JournalError",
    "JsonLines",
    "Level",
    "Lines",
    "Look",
    "ManyhandsError",
    "MapResults",
    "Memory",
    "Outcome",
    "Output",
    "OutputTo",
    "Pipeline",
    "PipelineResult",
    "ProcessInfo",
    "Product",
    "Results",
    "RetryOn",
    "Rows",
    "RunOptions",
    "Selector",
    "Sensors",
    "Source",
    "Status",
    "Stopped",
    "Summary",
    "Swap",
    "Template",
    "TemplateError",
    "Threshold",
    "UsageError",
    "WrongTypeError",
    "Zip",
    "answer",
    "check_host",
    "check_output",
    "host_info",
    "identity",
    "list_processes",
    "map_batch",
    "pipe",
    "process_tree",
    "retry",
    "run_batch",
    "stop_process",
    "wait",
    "watch",
]


_ENTRANCES = frozenset({"map_batch", "run_batch"})
"""What a script begins its work with."""

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _ENTRANCES and _for_a_worker():
            return lambda *args, **kwargs: _found(name)(*args, **kwargs)
        return _found(name)


def _found(name: str) -> Any:
    from importlib import import_module  # here: `warnings`, which it imports, takes longer than the rest of this module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def _for_a_worker() -> bool:
    """Whether a worker process imports the script. It calls none of these, and the program waits until the import is done: what
    they need would be most of what it imports."""
    process = modules.get("multiprocessing.process")
    return process is not None and hasattr(process.current_process(), "_inheriting")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
