"""The command line: invoke with its known edges handled once, for `invoke` and for the `manyhands` program alike.

    argv --invoke's parser (patched where it reports errors)--> Task.__call__ --defaults, typed--> the function
                                                                                 errors --> one line and an exit status

A task here is typed by its annotations, takes the defaults of its options from the environment and from configuration
files, and turns what is raised into an exit status. Imported by every start of the program, so it imports little.
"""

from __future__ import annotations

import enum
import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import invoke
from invoke.exceptions import CommandTimedOut, Exit, ParseError, UnexpectedExit
from invoke.parser import Argument, ParserContext
from invoke.parser.parser import ParseMachine

from manyhands.errors import ManyhandsError, UsageError

_TRUE: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_WORDS: Final = {"int": "a whole number", "float": "a number", "bool": "yes or no"}
F = TypeVar("F", bound=Callable[..., Any])


class _Unset(enum.Enum):
    """An option that was not given on the command line; an enum, because invoke deep-copies its arguments."""

    UNSET = 0


UNSET: Final = _Unset.UNSET


# -- typed options -------------------------------------------------------------------------------------------------------


def converter(option: str, annotation: str) -> Callable[[str], Any]:
    """What turns text into a value of type ``annotation`` (as it is written); raises UsageError naming ``option``.

    Known are int, float, str, bool, Path and Literal['a', 'b'], each also with ``| None``.
    """
    name = annotation.removesuffix(" | None")
    if name.startswith("Literal["):
        choices = re.findall(r"[\"']([^\"']*)[\"']", name)
        return lambda text: text if text in choices else _wrong(option, f"one of {', '.join(choices)}", text)
    types: dict[str, Callable[[str], Any]] = {
        "int": int, "float": float, "str": str, "Path": Path, "bool": lambda text: _TRUE[text.lower()],
    }  # fmt: skip

    def convert(text: str) -> Any:
        try:
            return types[name](text)
        except (ValueError, KeyError):
            return _wrong(option, _WORDS[name], text)

    return convert


def _wrong(option: str, expected: str, text: str) -> NoReturn:
    raise UsageError(f"{option}: expected {expected}, got {text!r}")


class Option(Argument):
    """An argument that knows whether it was given, and whose text is converted later, where errors can be told properly."""

    may_lack = False

    @property
    def value(self) -> Any:
        if self._value is None:
            return None if self.positional else UNSET
        return self._value

    @value.setter
    def value(self, text: Any) -> None:
        self.set_value(text, cast=True)


class Task(invoke.Task[Any]):
    """An invoke task whose options are typed by annotations; see `task`."""

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        short: Mapping[str, str] | None = None,
        lacking: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        self.short, self.may_lack = dict(short or {}), frozenset(lacking)
        self.annotations = {name: str(hint) for name, hint in body.__annotations__.items()}
        lists = [name for name, hint in self.annotations.items() if hint.startswith("list[")]
        super().__init__(body, iterable=lists, auto_shortflags=False, **kwargs)
        if lacking:
            self.positional = [*self.positional, *lacking]

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """invoke's arguments, as Options: typed, with the short names that were asked for."""
        options: list[Argument] = []
        kept = dict(self.help)  # invoke takes out what it has used; a task with two names is asked twice
        for argument in super().get_arguments(ignore_unknown_help):
            attribute = argument.name or ""
            kind = argument.kind if argument.kind in (bool, list) else str
            if self.annotations.get(attribute, "").startswith("bool"):
                kind = bool
            option = Option(
                names=(argument.names[0], *filter(None, [self.short.get(attribute)])), kind=kind, default=argument.default,
                help=argument.help, positional=argument.positional, attr_name=argument.attr_name,
            )  # fmt: skip
            option.may_lack = attribute in self.may_lack
            options.append(option)
        self.help = kept
        return options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; whatever it raises becomes one line and an exit status, except for bugs."""
        try:
            result = super().__call__(*args, **self._complete(args[0], kwargs))
            if inspect.iscoroutine(result):
                import asyncio

                result = asyncio.run(result)
            sys.stdout.flush()
            if isinstance(result, int) and result:
                raise Exit(code=int(result))
            return result
        except BrokenPipeError:
            raise closed_pipe() from None
        except KeyboardInterrupt:
            import signal

            from manyhands.signals import die_by

            die_by(signal.SIGINT)
        except (ManyhandsError, UnexpectedExit, CommandTimedOut, OSError) as error:
            raise explained(error) from error

    def _complete(self, ctx: invoke.Context, given: dict[str, Any]) -> dict[str, Any]:
        """Fill in what was not given from the environment and the configuration, and convert what is text."""
        settings = None
        complete = {}
        for name, value in given.items():
            where = f"--{name.replace('_', '-')}"
            if value is UNSET or value == [] or (value is None and name in self.may_lack):
                if settings is None:
                    settings = Defaults(ctx, self.name)
                value, where = settings.of(name)
            if value is UNSET:
                continue
            hint = self.annotations.get(name, "str")
            if hint.startswith("list["):
                complete[name] = value.split(",") if isinstance(value, str) else list(value)
            else:
                complete[name] = converter(where, hint)(value) if isinstance(value, str) else value
        return complete


class Defaults:
    """The defaults of a task's options: environment before ``manyhands.yaml`` before invoke's own configuration."""

    def __init__(self, ctx: invoke.Context, task: str) -> None:
        self.task = task
        self.files = [project_settings(Path.cwd()), ("invoke's configuration", dict(ctx.config.get("manyhands", {})))]

    def of(self, option: str) -> tuple[Any, str]:
        """(value or UNSET, where it is from). What is said for this task wins over what is said for all."""
        for variable in (f"MANYHANDS_{self.task}_{option}", f"MANYHANDS_{option}"):
            variable = re.sub(r"\W", "_", variable).upper()
            if variable in os.environ:
                return os.environ[variable], variable
        for where, settings in self.files:
            for scope in (settings.get(self.task), settings):
                if isinstance(scope, Mapping) and option in scope and not isinstance(scope[option], Mapping):
                    value = scope[option]
                    return (value if isinstance(value, bool | list) else str(value)), f"{option} in {where}"
        return UNSET, ""


def project_settings(folder: Path) -> tuple[str, dict[str, Any]]:
    """(path, content) of the nearest ``manyhands.yaml`` at or above ``folder``, else of ``~/.manyhands.yaml``, else nothing."""
    for path in [*(one / "manyhands.yaml" for one in (folder, *folder.parents)), Path.home() / ".manyhands.yaml"]:
        if path.is_file():
            from invoke.vendor.yaml import YAMLError, safe_load

            try:
                found = safe_load(path.read_bytes()) or {}  # type: ignore[no-untyped-call]
            except YAMLError as error:
                raise UsageError(f"{path} is not YAML: {str(error).splitlines()[0]}") from None
            if not isinstance(found, dict):
                raise UsageError(f"{path}: expected options and their values")
            return str(path), found
    return "", {}


def task(
    *,
    short: Mapping[str, str] | None = None,
    lacking: Iterable[str] = (),
    **kwargs: Any,
) -> Callable[[Callable[..., Any]], Task]:
    """`invoke.task` for typed tasks. ``short``: one-letter names of options, such as ``{"jobs": "j"}``; ``lacking``: the
    positional arguments that may be left out. A function that returns an int ends the program with that status if not 0."""
    return invoke.task(klass=functools.partial(Task, short=short, lacking=lacking), **kwargs)


def rest() -> list[str] | None:
    """What stands after ``--`` on the command line, with exact borders (invoke joins it by blanks); None without ``--``."""
    argv = sys.argv[1:]
    return argv[argv.index("--") + 1 :] if "--" in argv else None


def undocumented(collection: invoke.Collection) -> list[str]:
    """Options without help and tasks without a docstring, as ``task --option``; a test wants none."""
    lacking = []
    for name in collection.task_names:
        found = collection[name]
        if not (found.__doc__ or "").strip():
            lacking.append(name)
        lacking += [f"{name} --{option.names[0]}" for option in found.get_arguments() if not option.help]
    return lacking


# -- errors and exit statuses --------------------------------------------------------------------------------------------


def explained(error: Exception) -> Exit:
    """The one line and the exit status for what a user can cause."""
    if isinstance(error, ManyhandsError):
        return Exit(f"manyhands: {error}", code=error.exit_code)
    if isinstance(error, UnexpectedExit):
        code = error.result.exited
        return Exit(str(error) if error.result.hide else None, code=code if code >= 0 else 128 - code)
    if isinstance(error, CommandTimedOut):
        return Exit(f"manyhands: {str(error).splitlines()[0]}", code=124)
    return Exit(f"manyhands: {error}", code=1)


def closed_pipe() -> Exit:
    """Whoever read our output has left: end as a program that SIGPIPE ended, without Python's complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return Exit(code=141)


class Mistake(Exit, ParseError):
    """A parse error that ends with 2; still a ParseError, because completion goes on from one."""

    def __init__(self, message: str, context: ParserContext | None) -> None:
        ParseError.__init__(self, message, context)
        self.message, self._code = None, 2  # the program prints the text of a ParseError by itself


def _usage(machine: ParseMachine, message: str) -> NoReturn:
    """Report a parse error as every other usage error; invoke would exit with 1."""
    hint = ""
    if match := re.fullmatch(r"No idea what ['\"](.+)['\"] is!", message):
        import difflib

        word = match[1]
        context = machine.context
        flags = [*context.flags, *context.inverse_flags] if context else []
        known = flags if word.startswith("-") else list(machine.contexts)
        near = difflib.get_close_matches(word, known, n=1)
        where = (
            f"{context.name.removesuffix('.run')} has no option {word}"
            if flags and word.startswith("-") and context.name
            else f"unknown: {word}"
        )
        message, hint = where, f"; did you mean {near[0]}?" if near else f"; see --help {context.name}" if flags else ""
    raise Mistake(f"manyhands: {message}{hint}", machine.context)


def _complete_context(machine: ParseMachine) -> None:
    """Let positional arguments be left out that may be."""
    if machine.context:
        machine.context.positional_args = [
            one for one in machine.context.positional_args if one.value is not None or not getattr(one, "may_lack", False)
        ]
    _invoke_complete_context(machine)


def _handle(machine: ParseMachine, token: str) -> None:
    """Never take an option for a positional argument: ``batch --help`` asks for help, ``batch --jbos`` is a mistake."""
    context = machine.context
    awaited = context.missing_positional_args if context and context.name and not machine.waiting_for_flag_value else ()
    if awaited and re.match(r"--?[A-Za-z]", token) and token not in {**context.flags, **context.inverse_flags}:
        if token in ("--help", "-h") and machine.initial:
            machine.initial.flags["--help"].value = context.name
            context.positional_args = []
            return
        machine.error(f"No idea what '{token}' is!")
    _invoke_handle(machine, token)


# invoke has no seams for these. They are patched where invoke's parser takes a word, reports an error, and ends a task's
# arguments, so that the plain `invoke` program behaves as ours does: it imports tasks.py, and so this module, before it parses.
_invoke_handle = ParseMachine.handle
ParseMachine.handle = _handle  # type: ignore[method-assign, assignment]
_invoke_complete_context = ParseMachine.complete_context
ParseMachine.error = _usage  # type: ignore[method-assign, assignment]
ParseMachine.complete_context = _complete_context  # type: ignore[method-assign, assignment]


def open_standard_descriptors() -> None:
    """Open the null device on descriptors 0 to 2 where they are closed, or files of ours would take their places."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115 - for good


open_standard_descriptors()
# invoke forbids Python to keep compiled modules, and so compiles all of ours anew at every start of a checkout.
sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
