"""Options that are the parameters of a function: what its signature says of them, and what is said beside it.

Separate from `manyhands.options.declaration`, where a class says all of it; a small tasks file needs no class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from invoke.parser.context import translate_underscores

from manyhands.core.records import MISSING
from manyhands.options.declaration import Declared, Said


def first_parameter(body: Callable[..., Any]) -> str:
    """The name of what invoke hands over first; raises TypeError if the function takes nothing."""
    code = getattr(inspect.unwrap(body), "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else [*inspect.signature(body).parameters]
    if not names:
        raise TypeError("Tasks must have an initial Context argument!")
    return str(names[0])


def declared_by(
    body: Callable[..., Any],
    *,
    positional: Iterable[str] | None = None,
    omittable: Iterable[str] = (),
    remainder: bool = False,
    help: Mapping[str, str] | None = None,
    short: Mapping[str, str] | None = None,
    metavar: Mapping[str, str] | None = None,
    needs: Mapping[str, str] | None = None,
    without: Mapping[str, str] | None = None,
) -> Iterator[Declared]:
    """The parameters of ``body`` that are options: not the context, not ``rest`` of a task that takes a ``remainder``. What the others
    mean, see `manyhands.cli.task.task`. Raises ValueError for a name that is no parameter."""
    _, *parameters = inspect.signature(body).parameters.values()
    said = [_by_parameter(one or {}, parameters) for one in (help, metavar, short, needs)]
    named = {*omittable, *(positional or ())}
    for one in parameters:
        if remainder and one.name == "rest":
            continue
        about, stands_for, letter, needed = (texts.get(one.name, "") for texts in said)
        required = one.default is one.empty
        by_place = one.name in named or (required and positional is None)
        excluded = tuple(name for name, other in (without or {}).items() if other == one.name)
        yield Declared(
            one.name,
            None if one.annotation is one.empty else one.annotation,
            MISSING if required else one.default,
            Said(about, stands_for, letter, by_place, needs=needed, excludes=excluded),
        )


def _by_parameter(texts: Mapping[str, str], parameters: Iterable[inspect.Parameter]) -> dict[str, str]:
    """What is said of each; its name may be written as it is typed."""
    words = {translate_underscores(one.name): one.name for one in parameters}
    names = {*words.values()}
    if unknown := [name for name in texts if name not in names and name not in words]:
        raise ValueError(f"these parameters are described, but do not exist: {', '.join(unknown)}")
    return {name if name in names else words[name]: text for name, text in texts.items()}
