"""The task decorator: `invoke.task` with typed options, optional positional arguments, and an exit status for every end."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, overload

import invoke
from invoke.exceptions import Exit
from invoke.parser import Argument

from manyhands.cli.exits import end_by_closed_pipe, end_by_interrupt, explained, is_closed_pipe, was_interrupted
from manyhands.cli.options import Absent, Option, converter, flag_name, kind_of
from manyhands.core.errors import UsageError
from manyhands.core.hints import typed_options

if TYPE_CHECKING:
    from manyhands.cli.defaults import Defaults


class Task(invoke.Task[Any]):
    """An invoke task whose options are typed by annotations; see `task`."""

    def __init__(
        self, body: Callable[..., Any], *, short: Mapping[str, str] | None = None, lacking: Iterable[str] = (),
        remainder: bool = False, listed: bool = True, needs: Mapping[str, str] | None = None,
        without: Mapping[str, str] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        self.needs, self.without = dict(needs or {}), dict(without or {})
        self.listed = listed
        """Whether a list of everything shows it, or counts it only."""
        self.short, self.may_lack, self.remainder = dict(short or {}), frozenset(lacking), remainder
        self.kinds = {
            name: kind_of(None if one.annotation is one.empty else one.annotation, one.default)
            for name, one in self.argspec(body).parameters.items()
        }
        lists = [name for name, kind in self.kinds.items() if kind == "list[str]"]
        self.uses_context = not next(iter(inspect.signature(body).parameters), "_").startswith("_")
        """Whether it looks at what invoke hands it: how to run commands, and settings."""
        super().__init__(body, iterable=lists, auto_shortflags=False, **kwargs)
        self.positional = [*self.positional, *lacking]

    @property
    def has_dry_run(self) -> bool:
        """Whether it can say what it would do, and do nothing."""
        return "dry_run" in self.kinds

    def __deepcopy__(self, memo: dict[int, Any]) -> Task:
        """invoke copies every task of a collection, and nobody changes one: with a hundred tasks that is half of ``invoke -l``."""
        return self

    def argspec(self, body: Callable[..., Any]) -> inspect.Signature:
        """The parameters that are options: not the context, not ``rest``."""
        found = super().argspec(body)
        if not self.remainder:
            return found
        return found.replace(parameters=[one for name, one in found.parameters.items() if name != "rest"])

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """invoke's arguments, as Options."""
        kept = dict(self.help)  # invoke takes out what it has used; a task with two names is asked twice
        options: list[Argument] = [
            Option(one, self.kinds[name], short=self.short.get(name), may_lack=name in self.may_lack)
            for one in super().get_arguments(ignore_unknown_help)
            if (name := one.name or "")
        ]
        self.help = kept
        return options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; whatever it raises becomes one line and an exit status, except for bugs."""
        sources: dict[str, str] = {}
        try:
            with typed_options():
                result = super().__call__(*args, **self._complete(args[0], kwargs, sources))
            if inspect.iscoroutine(result):
                import asyncio

                result = asyncio.run(result)
            sys.stdout.flush()  # here, where a closed pipe can still be told
        except (KeyboardInterrupt, Exception) as error:  # all of them: what is no end of ours is raised again
            if was_interrupted(error):
                end_by_interrupt()
            if is_closed_pipe(error):
                end_by_closed_pipe()
            if isinstance(error, Exception) and (end := explained(_blamed(error, sources))):
                raise end from error
            raise
        if isinstance(result, int) and not isinstance(result, bool) and result:
            raise Exit(code=int(result))
        return result

    def _complete(self, ctx: invoke.Context, given: Mapping[str, Any], sources: dict[str, str]) -> dict[str, Any]:
        """The arguments for the function: what was given, else what a default is configured for, as typed values. ``sources``
        gets those options that nobody has typed, and where their values are from."""
        defaults: Defaults | None = None
        complete: dict[str, Any] = {"rest": rest()} if self.remainder and "rest" not in given else {}
        if ctx.config.run.dry and not self.uses_context:  # by --dry, INVOKE_RUN_DRY, or a file
            if not self.has_dry_run:
                raise UsageError(f"{self.name} has no dry run: nothing was done (run.dry is set in invoke's settings)")
            given = {**given, "dry_run": True}
        for name, value in given.items():
            where = name if name in self.positional else flag_name(name)
            if isinstance(value, Absent):
                if defaults is None:
                    from manyhands.cli.defaults import Defaults

                    defaults = Defaults(ctx, value.task)
                found = defaults.of(name)
                if found is None:
                    continue
                value, where = found
                sources[flag_name(name)] = where
            elif value is None and name in self.may_lack:
                continue
            complete[name] = self._typed(name, value, where)
        self._refuse_ignored([name for name, value in given.items() if not isinstance(value, Absent)], complete)
        return complete

    def _refuse_ignored(self, typed: Iterable[str], complete: Mapping[str, Any]) -> None:
        """Raise UsageError for an option that has no effect beside the others. One from a file or a variable is meant for those
        calls in which it has one."""
        for name in typed:
            needed, other = self.needs.get(name, ""), self.without.get(name, "")
            if needed and not complete.get(needed):
                raise UsageError(f"{flag_name(name)} has no effect without {flag_name(needed)}")
            if other and complete.get(other):
                raise UsageError(f"{flag_name(name)} has no effect with {flag_name(other)}")

    def _typed(self, name: str, value: Any, where: str) -> Any:
        kind = self.kinds.get(name, "str")
        if kind == "list[str]":
            return value.splitlines() if isinstance(value, str) else value
        if isinstance(value, list):
            raise UsageError(f"{where}: expected one value, got {len(value)}")
        return converter(where, kind)(value) if isinstance(value, str) else value


def _blamed(error: Exception, sources: Mapping[str, str]) -> Exception:
    """``error``, with the place of the value that it complains of if that was not typed."""
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
    *pre: invoke.Task[Any], short: Mapping[str, str] | None = None, lacking: Iterable[str] = (), remainder: bool = False,
    **kwargs: Any,
) -> Callable[[Callable[..., Any]], Task]:  # fmt: skip
    """With arguments."""


def task(
    *args: Any, short: Mapping[str, str] | None = None, lacking: Iterable[str] = (), remainder: bool = False, **kwargs: Any
) -> Any:  # fmt: skip
    """`invoke.task` for typed tasks.

    ``short``: one-letter names of options, such as ``{"jobs": "j"}``; there are no others. ``lacking``: positional arguments
    that may be left out; one that is a ``list[str]`` takes all that follow. ``remainder``: the function gets `rest` as
    ``rest``. ``needs`` and ``without``: options that have an effect only together with another one, or only without it, such as
    ``{"every": "watch"}``; typed in vain they are refused. Whatever may be left out, or is an option, has a default in the signature.

    A function that returns an int ends the program with that status if it is not 0; a coroutine function is run to its end.
    """
    make = functools.partial(Task, short=short, lacking=tuple(lacking), remainder=remainder)
    return invoke.task(*args, klass=make, **kwargs)


class _CommandLine:
    """The words that the program was called with, where they are not those of the process."""

    given: list[str] | None = None


def remember(argv: list[str] | None) -> None:
    """Let `rest` read ``argv`` (with the program's name first); None: that of the process."""
    _CommandLine.given = argv


def given_argv() -> list[str] | None:
    """What was remembered."""
    return _CommandLine.given


def rest() -> list[str] | None:
    """What stands after ``--`` on the command line, with exact borders (invoke joins it by blanks); None without ``--``."""
    argv = (sys.argv if _CommandLine.given is None else _CommandLine.given)[1:]
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
