"""The program's own options, which are invoke's: each has an effect on the tasks that it is given with, or it is refused.

Most of them reach a task through its context only. A task whose signature calls that ``_ctx`` does not look at it, so for such
a task they would be accepted and ignored; only ``--dry`` means its own ``--dry-run``, if it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import invoke
from invoke.parser import Argument, ParserContext

from manyhands.cli.exits import Misuse
from manyhands.cli.task import Task, rest
from manyhands.core.hints import typed
from manyhands.core.level import Level

BY_CONTEXT: Final = ("command-timeout", "dry", "echo", "hide", "prompt-for-sudo-password", "pty", "warn-only")
"""What a task finds in its context, and nowhere else."""
_EARLY: Final = ("collection", "debug", "print-completion-script", "search-root", "version")
"""What has been looked at before the tasks are."""
_OF_LISTS: Final = ("list-depth", "list-format")


def refuse_ignored(program: invoke.Program) -> None:
    """Raise Misuse for an option that would be ignored, or for words after ``--`` that no task takes."""
    if program.args["help"].value:
        return
    if program.args["write-pyc"].got_value:
        raise Misuse("--write-pyc has no effect: compiled modules are written unless PYTHONDONTWRITEBYTECODE is set")
    for name in _OF_LISTS:
        if program.args[name].got_value and not program.args["list"].value:
            raise Misuse(f"--{name} belongs to --list: {typed('--list', f'--{name}')} ...")
    for name in _EARLY:
        if name in program.core_via_tasks.args and program.core_via_tasks.args[name].got_value:
            example = f": {typed(f'--{name}')}" if name == "version" else ""
            raise Misuse(f"--{name} has to stand before the task{example}")
    tasks = [(context.name or "", program.collection[context.name]) for context in program.tasks]
    for called, task in tasks:
        for option in ignored_by(task, program.args):
            raise Misuse(_why(called, task, option), code=_status([task]))
    words = rest()
    if words is not None and tasks and not any(getattr(task, "remainder", True) for _, task in tasks):
        said = f"{tasks[-1][0]} takes nothing after --{': ' if words else ''}{' '.join(words)}"
        raise Misuse(said, code=_status(task for _, task in tasks))


def _status(tasks: Iterable[invoke.Task[Any]]) -> int:
    """Of a mistake: for a monitor, 2 would be a finding."""
    return Level.UNKNOWN if any(getattr(task, "monitor", False) for task in tasks) else 2


def ignored_by(task: invoke.Task[Any], core: Any) -> Iterator[Argument]:
    """The options in ``core`` that were given and that ``task`` would ignore."""
    if isinstance(task, Task) and not task.uses_context:
        for name in BY_CONTEXT:
            if core[name].got_value and not (name == "dry" and task.has_dry_run):
                yield core[name]


def listed(context: ParserContext, tasks: Iterable[invoke.Task[Any]]) -> ParserContext:
    """``context`` without the options that some of ``tasks`` would refuse, for a help that lists what can be used."""
    refused = {"write-pyc", *(BY_CONTEXT if any(isinstance(one, Task) and not one.uses_context for one in tasks) else ())}
    return ParserContext(args=[one for one in context.args.values() if one.name not in refused])


def _why(called: str, task: Task, option: Argument) -> str:
    if option.name == "dry":
        return f"{called} has no dry run: nothing was done"
    flags = ", ".join(f"--{one}" if len(one) > 1 else f"-{one}" for one in option.names)
    instead = "; it has --timeout" if option.name == "command-timeout" and "timeout" in task.kinds else ""
    return f"{flags} has no effect on {called}, which runs no command by invoke{instead}"
