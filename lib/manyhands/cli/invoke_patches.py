"""What invoke's parser and program do otherwise for tasks of ours. Every patch of invoke is in this module.

invoke has no seams for these, and plain `invoke` has made its Program before it imports a tasks file; what it looks up later
(methods, and names in its modules) can still be replaced. Contexts of tasks that are not ours are treated as before.
"""

from __future__ import annotations

import gc
import os
import re
from typing import Any, NoReturn

from invoke import collection, config, program
from invoke.completion import complete as completion
from invoke.config import AmbiguousMergeError
from invoke.exceptions import AmbiguousEnvVar, Exit, UncastableEnvVar, UnknownFileType
from invoke.parser import Argument, ParserContext, parser
from invoke.parser.parser import ParseMachine

from manyhands.cli.core_options import refuse_ignored
from manyhands.cli.exits import Misuse, end_by_closed_pipe, end_by_full_output, flush_output
from manyhands.cli.lazy_context import LazyContext
from manyhands.cli.loaded_tasks import Loaded
from manyhands.cli.naming import learn_name
from manyhands.cli.options import COMMANDS, Option, flag_of
from manyhands.cli.task import Task, given_argv
from manyhands.core.hints import typed
from manyhands.runtime.interrupts import raise_interrupts

_invoke_handle = ParseMachine.handle
_invoke_complete_context = ParseMachine.complete_context
_invoke_merge = config.Config.merge
_invoke_load_shell_env = config.Config.load_shell_env
_invoke_load_file = config.Config._load_file
_invoke_parse_tasks = program.Program.parse_tasks
_invoke_parse_cleanup = program.Program.parse_cleanup
_invoke_print_task_help = program.Program.print_task_help
_invoke_list_flat = program.Program.list_flat


def patch_invoke() -> None:
    """Make invoke, in this process, parse and end as described at each replacement."""
    for module in (program, parser, completion):
        module.ParseError = Misuse  # type: ignore[attr-defined]
    ParseMachine.handle = _handle  # type: ignore[method-assign, assignment]
    ParseMachine.error = _error  # type: ignore[method-assign, assignment]
    ParseMachine.complete_context = _complete_context  # type: ignore[method-assign, assignment]
    program.Program.parse_tasks = _parse_tasks  # type: ignore[method-assign]
    program.Program.parse_cleanup = _parse_cleanup  # type: ignore[method-assign]
    program.Program.print_task_help = _print_task_help  # type: ignore[method-assign]
    program.Program.list_flat = _list_flat  # type: ignore[method-assign]
    program.complete = _complete
    collection.Collection.to_contexts = _to_contexts  # type: ignore[method-assign]
    config.Config._load_file = _load_file  # type: ignore[method-assign]
    config.Config.merge = _merge  # type: ignore[method-assign]
    config.Config.load_shell_env = _load_shell_env  # type: ignore[method-assign]


def _to_contexts(self: collection.Collection, ignore_unknown_help: bool | None = None) -> list[ParserContext]:
    """The contexts of all tasks; of those that are ours the options are made when they are looked at."""
    found: list[ParserContext] = []
    for name, aliases in self.task_names.items():
        *path, last = name.split(".")
        holder = self
        for part in path:  # not self[name], which joins the settings of all these collections
            holder = holder.collections[part]
        task = holder.tasks[last]
        if isinstance(task, Task):
            found.append(LazyContext(task, name, aliases))
        else:
            found.append(ParserContext(name, aliases, task.get_arguments(ignore_unknown_help)))
    return found


def _handle(machine: ParseMachine, token: str) -> None:
    """Take one word. invoke would take an option for a missing positional argument (``batch --help``), and the value of a
    repeated option for a task (``-j2 -j4``: here the last wins, as everywhere in Unix)."""
    machine.__dict__.setdefault("seen", []).append(token)
    context = machine.context
    if not context or not context.name or machine.current_state == "unknown":
        return _invoke_handle(machine, token)
    flag = flag_of(context, token) or _opposite(context, token)
    if isinstance(flag, Option) and flag.kind is str:
        _invoke_handle(machine, token)
        flag.raw_value = None
        return None
    if flag or machine.waiting_for_flag_value or not any(isinstance(one, Option) for one in context.positional_args):
        return _invoke_handle(machine, token)
    if re.match(r"--?[A-Za-z]", token):
        return _option_of_nobody(machine, context, token)
    last = context.positional_args[-1]
    if last.kind is list and not [one for one in context.missing_positional_args if one is not last]:
        last.value = token
        return None
    return _invoke_handle(machine, token)


def _opposite(context: ParserContext, token: str) -> Argument | None:
    """What ``--no-x`` puts off; invoke knows it only of what is on by default, but a file or a variable may have put it on."""
    word = token.replace("--no-", "--", 1)
    flag = flag_of(context, word)
    if not isinstance(flag, Option) or flag.kind is not bool:
        return None
    context.inverse_flags.setdefault(token, word)
    return flag


def _option_of_nobody(machine: ParseMachine, context: ParserContext, token: str) -> None:
    """An option that the task does not have: one of the program's, or a mistake; in no case a positional argument."""
    first = context.positional_args[0].name if context.positional_args else ""
    if (
        not machine.initial
        or token not in machine.initial.flags
        or (first in COMMANDS and machine.initial.flags[token].name not in ("help", "dry"))
    ):
        machine.error(f"No idea what '{token}' is!")
    elif machine.initial.flags[token].name == "help":
        machine.initial.flags[token].value = context.name
        context.positional_args = []  # --help does not need them
    else:
        machine.switch_to_flag(token)


def _complete_context(machine: ParseMachine) -> None:
    """End a task's arguments: positional ones that may be left out are not missed, and options learn whose they are."""
    context = machine.context
    if context:
        context.positional_args = [
            one for one in context.positional_args if one.value is not None or not getattr(one, "omittable", False)
        ]
        for option in context.args.values():
            if isinstance(option, Option):
                option.task = context.name or ""
    _invoke_complete_context(machine)


def _error(machine: ParseMachine, message: str) -> NoReturn:
    """Say what is wrong in the user's words, and what may have been meant."""
    from manyhands.cli.mistakes import wrong  # only when there is one

    raise wrong(machine, message)


def _parse_tasks(self: program.Program) -> None:
    """Read the tasks and their options, then refuse what would be accepted and ignored."""
    learn_name(given_argv(), self.args)
    Loaded.program = self
    _invoke_parse_tasks(self)
    refuse_ignored(self)


def _refuse_wrong_names(self: program.Program) -> None:
    """``--help`` of no task, ``--list`` of no collection."""
    task, root = self.args["help"].value, self.args["list"].value
    if isinstance(task, str) and task not in self.parser.contexts:
        from manyhands.cli.mistakes import no_task

        raise Misuse(no_task(task, self.parser.contexts.values()))
    if isinstance(root, str) and root not in self.collection.collections and "." not in root:
        from manyhands.cli.mistakes import no_collection

        raise Misuse(no_collection(root, self.collection.collections))


def _parse_cleanup(self: program.Program) -> None:
    """Help and lists: into a closed pipe without a traceback, and a wrong name in them is a usage error."""
    _refuse_wrong_names(self)
    try:
        _invoke_parse_cleanup(self)
    except BrokenPipeError:
        end_by_closed_pipe()
    except OSError as error:
        end_by_full_output(error)
    except Exit as end:
        if end.message:
            raise Misuse(end.message) from None
        flush_output()
        gc.freeze()  # no task runs, so there is no garbage that anybody waits for at the end
        raise
    raise_interrupts()


def _print_task_help(self: program.Program, name: str) -> None:
    """Help for a task of ours, with its purpose first; invoke names no arguments and shows no examples."""
    from manyhands.cli.helping import page_of, text

    task, context = self.collection[name], self.parser.contexts[name]
    if not isinstance(task, Task):
        return _invoke_print_task_help(self, name)
    names = [context.name or name, *context.aliases]
    print(text(page_of(task, min(names, key=len), names), typed()))  # noqa: T201 - it was asked for
    return None


def _list_flat(self: program.Program) -> None:
    """The list of all tasks, by collections; of one, or so deep only, as invoke lists it."""
    from manyhands.cli.helping import listing

    if self.list_root or self.list_depth:
        return _invoke_list_flat(self)
    print(listing(self.scoped_collection, typed()))  # noqa: T201 - it was asked for
    return None


def _load_file(self: config.Config, prefix: str, absolute: bool = False, merge: bool = True) -> None:
    """A file of invoke's own settings: one that cannot be read is a usage error, and none where nobody can look (HOME may belong
    to somebody else, or be no folder); invoke shows a traceback for both."""
    try:
        _invoke_load_file(self, prefix, absolute, merge)
    except OSError as error:
        if os.path.lexists(error.filename or ""):
            raise Misuse(f"cannot read {os.fsdecode(error.filename)}: {error.strerror}") from None
        self._set(f"_{prefix}_found", False)
    except _unreadable() as error:
        raise Misuse(f"invoke's settings: {' '.join(str(error).split())}") from None


def _unreadable() -> tuple[type[Exception], ...]:
    """What invoke raises for a file that it cannot read; looked up only when something is raised, because the import of YAML takes long."""
    from invoke.vendor.yaml import YAMLError

    return (YAMLError, UnknownFileType, ValueError)


def _merge(self: config.Config) -> None:
    """Join all settings; two files that contradict each other in kind are a usage error."""
    try:
        _invoke_merge(self)
    except AmbiguousMergeError as error:
        raise Misuse(f"invoke's settings: {' '.join(str(error).split())}") from None


def _load_shell_env(self: config.Config) -> None:
    """Read the variables INVOKE_...; one that cannot be is a usage error."""
    try:
        _invoke_load_shell_env(self)
    except (AmbiguousEnvVar, UncastableEnvVar, ValueError) as error:
        raise Misuse(f"a variable INVOKE_...: {' '.join(str(error).split())}") from None


def _complete(names: list[str], core: Any, initial_context: ParserContext, collection: Any, parser: Any) -> NoReturn:  # noqa: ARG001
    """Completion from exact words; invoke joins them by blanks and fails at a quote that is not closed yet."""
    from manyhands.cli.completing import NOTHING, candidates
    from manyhands.cli.task import rest

    found = candidates(rest() or [], parser, initial_context)
    for one in found or []:
        print(one)  # noqa: T201 - this is for the shell
    raise Exit(code=NOTHING if found == [] else 0)
