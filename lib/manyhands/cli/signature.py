"""Options that are the parameters of a function: what its signature says of them, and what is said beside it.

Separate from `manyhands.options.declaration`, where a class says all of it; a small tasks file needs no class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, Final

from invoke.parser.context import translate_underscores

from manyhands.core.lean import NamedTuple
from manyhands.core.records import MISSING
from manyhands.options.declaration import Declared, Said

_MORE: Final = 0x04 | 0x08
"""The flags of a function with ``*args`` or ``**more`` (inspect.CO_VARARGS, CO_VARKEYWORDS)."""


class Parameter(NamedTuple):
    """What `inspect.Parameter` says, as far as it is wanted here; ``annotation`` is None and ``default`` `MISSING` if there is none."""

    name: str
    annotation: object
    default: Any


def first_parameter(body: Callable[..., Any]) -> str:
    """The name of what invoke hands over first; raises TypeError if the function takes nothing."""
    while hasattr(body, "__wrapped__"):
        body = body.__wrapped__
    code = getattr(body, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else [one.name for one in parameters_of(body)]
    if not names:
        raise TypeError("Tasks must have an initial Context argument!")
    return str(names[0])


def parameters_of(body: Callable[..., Any]) -> list[Parameter]:
    """The parameters of what makes a task. A plain function is read without `inspect`, whose import
    takes longer than all the rest of a small tasks file."""
    if isinstance(body, FunctionType) and not hasattr(body, "__wrapped__") and not body.__code__.co_flags & _MORE:
        code, given = body.__code__, body.__defaults__ or ()
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        defaults = dict(zip(names[code.co_argcount - len(given) : code.co_argcount], given, strict=True)) | (
            body.__kwdefaults__ or {}
        )
        return [Parameter(one, body.__annotations__.get(one), defaults.get(one, MISSING)) for one in names]
    import inspect

    return [
        Parameter(
            one.name,
            None if one.annotation is one.empty else one.annotation,
            MISSING if one.default is one.empty else one.default,
        )
        for one in inspect.signature(body).parameters.values()
    ]


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
    _, *parameters = parameters_of(body)
    said = [_by_parameter(one or {}, parameters) for one in (help, metavar, short, needs)]
    named = {*omittable, *(positional or ())}
    for one in parameters:
        if remainder and one.name == "rest":
            continue
        about, stands_for, letter, needed = (texts.get(one.name, "") for texts in said)
        required = one.default is MISSING
        by_place = one.name in named or (required and positional is None)
        excluded = tuple(name for name, other in (without or {}).items() if other == one.name)
        said_of_it = Said(about, stands_for, letter, by_place, needs=needed, excludes=excluded)
        yield Declared(one.name, one.annotation, one.default, said_of_it)


def _by_parameter(texts: Mapping[str, str], parameters: Iterable[Parameter]) -> dict[str, str]:
    """What is said of each; its name may be written as it is typed."""
    words = {translate_underscores(one.name): one.name for one in parameters}
    names = {*words.values()}
    if unknown := [name for name in texts if name not in names and name not in words]:
        raise ValueError(f"these parameters are described, but do not exist: {', '.join(unknown)}")
    return {name if name in names else words[name]: text for name, text in texts.items()}
