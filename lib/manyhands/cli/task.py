"""The task decorator: `invoke.task` with typed options, optional positional arguments, and an exit status for every end."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property, partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import invoke
from invoke.exceptions import Exit
from invoke.parser import Argument

from manyhands.cli.exits import end_by_closed_pipe, end_by_interrupt, explained, is_closed_pipe, was_interrupted
from manyhands.cli.options import Absent, Option, converter, flag_name, kind_of
from manyhands.cli.signature import declared_by, first_parameter
from manyhands.core.errors import UsageError
from manyhands.core.hints import typed_options
from manyhands.core.level import Level
from manyhands.core.records import MISSING, fields_of
from manyhands.options.declaration import Declared, Options, declared_in

if TYPE_CHECKING:
    from manyhands.cli.defaults import Defaults

Taken = TypeVar("Taken", bound=Options)
_OF_PARAMETERS: Final = ("help", "metavar", "needs", "omittable", "positional", "short", "without")


class Task(invoke.Task[Any]):
    """An invoke task whose options are typed by annotations; see `task`."""

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        options: type[Options] | None = None,
        declared: Callable[[], Iterable[Declared]] | None = None,
        remainder: bool = False,
        listed: bool = True,
        monitor: bool = False,
        **kwargs: Any,
    ) -> None:
        self.options, self.listed, self.monitor = options, listed, monitor
        self.remainder = remainder if options is None else "rest" in fields_of(options)
        said = {name: kwargs.pop(name) for name in _OF_PARAMETERS if name in kwargs}
        if options is not None:
            if said:
                raise TypeError(f"{', '.join(said)}: all that is said of the options of {options.__name__} is said there")
            declared = partial(declared_in, options)
        elif declared is None:
            # at once, because a mistake in a signature is reported when the task is made
            self.declared = [*declared_by(body, remainder=remainder, **said)]
            self.kinds = _kinds(self.declared)
        self._declare = declared or tuple
        self.uses_context = not first_parameter(body).startswith("_")
        """Whether the task uses invoke's Context (for running commands, and settings): its first parameter has no ``_`` before it."""
        super().__init__(body, auto_shortflags=False, **kwargs)

    # what it takes: most tasks are not called, and of them only the names are wanted

    @cached_property
    def declared(self) -> list[Declared]:
        """Its options, in the order in which they are listed."""
        return list(self._declare())

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Their types."""
        return _kinds(self.declared)

    @cached_property
    def needs(self) -> dict[str, str]:
        """Which option each needs, if it needs one."""
        return {one.name: one.said.needs for one in self.declared if one.said.needs}

    @cached_property
    def without(self) -> dict[str, list[str]]:
        """For an option those beside which it has no effect."""
        found: dict[str, list[str]] = {}
        for one in self.declared:
            for other in one.said.excludes:
                found.setdefault(other, []).append(one.name)
        return found

    @cached_property
    def omittable(self) -> frozenset[str]:
        """The positional ones that may be left out."""
        return frozenset(one.name for one in self.declared if one.said.positional and one.default is not MISSING)

    @cached_property
    def typed(self) -> frozenset[str]:
        """Those that no settings give."""
        return frozenset(one.name for one in self.declared if one.said.typed)

    @property
    def positional(self) -> list[str]:
        """The arguments that are typed without a name."""
        return [one.name for one in self.declared if one.said.positional]

    @positional.setter
    def positional(self, _: Iterable[str]) -> None:
        """Nothing: invoke sets it when the task is made."""

    @property
    def has_dry_run(self) -> bool:
        """Whether it can say what it would do, and do nothing."""
        return "dry_run" in self.kinds

    def __deepcopy__(self, memo: dict[int, Any]) -> Task:
        """No copy: invoke would copy every task of a collection, although none is changed; that took half the time of ``invoke -l``."""
        return self

    def fill_implicit_positionals(self, positional: Iterable[str] | None) -> list[str]:  # noqa: ARG002 - as invoke calls it
        """Nothing: they are `positional` when somebody asks."""
        return []

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:  # noqa: ARG002 - as invoke calls it
        """The positional ones first."""
        found: list[Argument] = [Option(one, self.kinds[one.name]) for one in self.declared]
        return sorted(found, key=lambda one: not one.positional)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; whatever it raises becomes one line and an exit status, except for bugs."""
        sources: dict[str, str] = {}
        complete: dict[str, Any] = {}
        try:
            complete = self._complete(args[0], kwargs, sources)
            with typed_options():
                if self.options is None:
                    result = super().__call__(*args, **complete)
                else:
                    result = super().__call__(*args, _frozen(self.options, complete))
            if isinstance(result, CoroutineType):
                import asyncio

                result = asyncio.run(result)
            sys.stdout.flush()  # here, where a closed pipe can still be told
        except (KeyboardInterrupt, Exception) as error:  # catches all; what has no exit status of ours is raised again
            if was_interrupted(error):
                end_by_interrupt()
            if is_closed_pipe(error):
                end_by_closed_pipe()
            if isinstance(error, Exception) and (end := explained(_blamed(error, sources))):
                raise (self._unknown(end, complete) if self.monitor else end) from error
            raise
        if isinstance(result, int) and not isinstance(result, bool) and result:
            raise Exit(code=int(result))
        return result

    def _unknown(self, end: Exit, complete: Mapping[str, Any]) -> Exit:
        """The end as a monitor needs it: it shows the first line of stdout, and would take the statuses 1 and 2 for findings."""
        text = (end.message or "").removeprefix("manyhands: ")
        if complete.get("json"):
            return Exit(f"manyhands: {text}", code=Level.UNKNOWN)
        sys.stdout.write(f"{Level.UNKNOWN.name} - {text}\n")
        return Exit(code=Level.UNKNOWN)

    def _complete(self, ctx: invoke.Context, given: Mapping[str, Any], sources: dict[str, str]) -> dict[str, Any]:
        """The arguments, converted to their types: those of the command line, then those that files or variables set.
        ``sources`` gets, for each option that was not typed, where its value is from."""
        defaults: Defaults | None = None
        complete: dict[str, Any] = {"rest": rest()} if self.remainder and "rest" not in given else {}
        if ctx.config.run.dry and not self.uses_context:  # by --dry, INVOKE_RUN_DRY, or a file
            if not self.has_dry_run:
                raise UsageError(f"{self.name} has no dry run: nothing was done (run.dry is set in invoke's settings)")
            given = {**given, "dry_run": True}
        for name, value in given.items():
            where = name if name in self.positional else flag_name(name)
            if isinstance(value, Absent):
                if name in self.typed:
                    continue
                if defaults is None:
                    from manyhands.cli.defaults import Defaults

                    defaults = Defaults(ctx, value.task)
                found = defaults.of(name)
                if found is None:
                    continue
                value, where = found
                sources[flag_name(name)] = where
            elif value is None and name in self.omittable:
                continue
            complete[name] = self._typed(name, value, where)
        self._refuse_ignored([name for name, value in given.items() if not isinstance(value, Absent)], complete)
        return complete

    def _refuse_ignored(self, typed: Collection[str], complete: dict[str, Any]) -> None:
        """Raise UsageError for an option that has no effect beside the others. An option from a file or a variable
        is not refused: it is for the calls in which it has an effect, and gives way to one that is typed."""
        for name in typed:
            needed, others = self.needs.get(name, "").split(), self.without.get(name, [])
            if needed and not any(complete.get(one) for one in needed):
                raise UsageError(f"{flag_name(name)} has no effect without {' or '.join(map(flag_name, needed))}")
            for other in (one for one in others if complete.get(name) and complete.get(one)):
                if other in typed:
                    raise UsageError(f"{flag_name(name)} has no effect with {flag_name(other)}")
                del complete[other]

    def _typed(self, name: str, value: Any, where: str) -> Any:
        kind = self.kinds.get(name, "str")
        if kind == "list[str]":
            return value.splitlines() if isinstance(value, str) else value
        if isinstance(value, list):
            raise UsageError(f"{where}: expected one value, got {len(value)}")
        return converter(where, kind)(value) if isinstance(value, str) else value


def _kinds(declared: Iterable[Declared]) -> dict[str, str]:
    return {one.name: kind_of(one.annotation, one.default) for one in declared}


def _frozen(options: type[Options], values: Mapping[str, Any]) -> Options:
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _blamed(error: Exception, sources: Mapping[str, str]) -> Exception:
    """``error``, preceded by the file or variable that the refused value is from, unless it was typed."""
    if isinstance(error, UsageError):
        for flag, where in sources.items():
            if re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", str(error)):
                return UsageError(f"{where}: {error}")
    return error


@overload
def task(body: Callable[..., Any], /) -> Task:
    """As ``@task`` alone."""


@overload
def task(
    *pre: invoke.Task[Any], options: type[Taken], **kwargs: Any
) -> Callable[[Callable[[invoke.Context, Taken], Any]], Task]:
    """With options that are declared in a class."""


@overload
def task(
    *pre: invoke.Task[Any],
    short: Mapping[str, str] | None = None,
    omittable: Iterable[str] = (),
    remainder: bool = False,
    **kwargs: Any,
) -> Callable[[Callable[..., Any]], Task]:
    """With options that are the parameters of the function."""


def task(*args: Any, **kwargs: Any) -> Any:
    """`invoke.task` for typed tasks.

    ``options``: a class of `Options`, which declares everything; the function gets an object of it after the context. Without it the
    parameters of the function are the options, and these describe them: ``short``: one-letter names, such as ``{"jobs": "j"}`` (invoke
    makes up no others); ``metavar`` and ``help``, by name; ``omittable``: positional arguments that may be left out, of which a
    ``list[str]`` takes all that follow; ``remainder``: the function gets `rest` as ``rest``; ``needs`` and ``without``: options that
    have an effect only with another one, or only without it, such as ``{"every": "watch"}``, and are refused otherwise. An option, and
    an argument that may be left out, needs a default.

    ``monitor``: errors are reported as a monitor needs them, with the status 3. A function that returns an int ends the program with
    that status if it is not 0; a coroutine function is run to its end.
    """
    return invoke.task(*args, klass=Task, **kwargs)


class _CommandLine:
    """The command line that the program was called with, if it is not `sys.argv`."""

    given: list[str] | None = None


def remember(argv: list[str] | None) -> None:
    """Let `rest` read ``argv`` (with the program's name first); None: that of the process."""
    _CommandLine.given = argv


def given_argv() -> list[str] | None:
    """What was remembered."""
    return _CommandLine.given


def rest() -> list[str] | None:
    """What stands after ``--`` on the command line, word by word (invoke joins the words by blanks); None without ``--``."""
    argv = (sys.argv if _CommandLine.given is None else _CommandLine.given)[1:]
    return argv[argv.index("--") + 1 :] if "--" in argv else None


def undocumented(collection: invoke.Collection) -> list[str]:
    """Options without help and tasks without a docstring, as ``task --option``; a test wants none."""
    bare = []
    for name in collection.task_names:
        found = collection[name]
        if not (found.__doc__ or "").strip():
            bare.append(name)
        bare += [f"{name} --{option.names[0]}" for option in found.get_arguments() if not option.help]
    return bare
