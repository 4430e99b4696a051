"""How an option is declared: once, as a field of a dataclass, with everything that is said of it.

    class Limited(Options):
        timeout: str | None = option(None, metavar="TIME", help="stop it after this time (30, 2m)")

    Limited --declared_in--> what a task takes, its help, its settings, what a shell completes   (manyhands.cli.task)
            --Limited(timeout="2m")--> what the handlers of the tasks, or a program, go by

Separate and at the bottom, on the standard library alone: every start of the program reads every declaration.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast, dataclass_transform

from manyhands.core.lean import NamedTuple
from manyhands.core.records import FIELDS, MISSING, PARAMS, Field, fields_of, make_fields, refuse_to_delete, refuse_to_set

if TYPE_CHECKING:
    from inspect import Signature

T = TypeVar("T")
_KEY: Final = "option"


class Said(NamedTuple):
    """What is said of an option beside its name, type and default; see `option`."""

    help: str = ""
    metavar: str = ""
    short: str = ""
    positional: bool = False
    after: str = ""
    needs: str = ""
    excludes: tuple[str, ...] = ()
    typed: bool = False


def option(
    default: T = MISSING,
    *,
    help: str,
    metavar: str = "",
    short: str = "",
    positional: bool = False,
    after: str = "",
    needs: str = "",
    excludes: tuple[str, ...] = (),
    typed: bool = False,
) -> T:
    """A field of `Options` that the command line has, too. Without ``default`` it has to be given.

    ``metavar``: what stands for its value in a help text, which also says what a shell completes; by default its type or its name
    does. ``short``: one letter. ``positional``: it is typed without its name. ``after``: where it is listed, and with it those
    that follow in its class. ``needs``: the option without which it has no effect, or several, of which one is needed. ``excludes``: options that have none beside it.
    ``typed``: no variable and no file of settings gives it, because there its name means something else for other tasks.
    """
    said = Said(help, metavar, short, positional, after, needs, excludes, typed)
    return cast("T", Field(default, metadata={_KEY: said}))  # the field is made of it


class _Signature:
    """What `help` says that a class takes; made when somebody asks."""

    def __get__(self, instance: object, owner: type[Options]) -> Signature:
        from inspect import Parameter, Signature

        return Signature(
            [
                Parameter(
                    one.name,
                    Parameter.KEYWORD_ONLY,
                    annotation=one.type,
                    default=Parameter.empty if one.default is MISSING else one.default,
                )
                for one in fields_of(owner).values()
            ]
        )


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Options:
    """Options that belong together. Every subclass is a frozen dataclass, whose arguments are given by name.

    It has the methods below in the place of generated ones: even those of `manyhands.core.records` would have to be compiled for each
    class of which there is an object. A field that is no `option` can be given by programs only.
    """

    __record_fields__: ClassVar[dict[str, Field]] = {}
    __dataclass_fields__: ClassVar[dict[str, Any]] = FIELDS
    __dataclass_params__: ClassVar[Any] = PARAMS
    __signature__ = _Signature()
    own_fields: ClassVar[tuple[str, ...]] = ()
    """The names of those that the class itself declares."""

    def __init_subclass__(cls) -> None:
        cls.own_fields = tuple(cls.__annotations__)
        make_fields(cls, kw_only=True)

    def __init__(self, **given: Any) -> None:
        known = {one.name: one.default for one in fields_of(type(self)).values()}
        if unknown := [name for name in given if name not in known]:
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {unknown[0]!r}")
        values = known | given
        if missing := [name for name, value in values.items() if value is MISSING]:
            raise TypeError(f"{type(self).__name__}() lacks the keyword argument {missing[0]!r}")
        vars(self).update(values)

    __setattr__, __delattr__ = refuse_to_set, refuse_to_delete

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # lists and functions are among the values

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.given())
        return f"{type(self).__name__}({given})"

    def given(self) -> list[str]:
        """The names of those that have another value than their default."""
        return [one.name for one in fields_of(type(self)).values() if getattr(self, one.name) != one.default]

    def __replace__(self: T, /, **changes: Any) -> T:
        return type(self)(**vars(self) | changes)


class Declared(NamedTuple):
    """One option, as a command line needs it. ``annotation``: its type, as text or an object, with or without ``None`` as an
    alternative, or nothing; ``default`` may be `MISSING`."""

    name: str
    annotation: object
    default: Any
    said: Said


def declared_in(cls: type[Options]) -> list[Declared]:
    """The options of ``cls`` in the order in which they are listed: its own, then those of its bases from left to right, except
    that each stands where the lowest class that declares it has it, and what is said to come ``after`` another, there."""
    found = fields_of(cls)
    placed: list[str] = []
    moved: list[tuple[str, list[str]]] = []
    for owner, names in _names(cls):
        to = placed
        for name in names:
            if anchor := _said(fields_of(owner)[name]).after:
                moved.append((anchor, to := []))
            to.append(name)
    while moved:
        anchor, names = next((one for one in moved if one[0] in placed), moved[0])
        moved.remove((anchor, names))
        at = placed.index(anchor) + 1 if anchor in placed else len(placed)
        placed[at:at] = names
    return [Declared(name, _annotation(cls, name), found[name].default, _among(placed, found[name])) for name in placed]


def _among(names: Collection[str], one: Field) -> Said:
    """What is said of an option of a class that has these options: of those that it needs one of, some may be missing."""
    said = _said(one)
    return said._replace(needs=" ".join(needed for needed in said.needs.split() if needed in names))


def _names(cls: type[Options]) -> Iterator[tuple[type[Options], list[str]]]:
    """Each class that ``cls`` is made of, with the options that no class below it declares."""
    classes = [one for one in cls.__mro__ if issubclass(one, Options) and one is not Options]
    owner = {name: one for one in classes for name in one.own_fields}
    for one in classes:
        yield one, [name for name in one.own_fields if owner[name] is one and _is_option(cls, name)]


def _is_option(cls: type[Options], name: str) -> bool:
    return _KEY in fields_of(cls)[name].metadata


def _said(one: Field) -> Said:
    said: Mapping[str, Said] = one.metadata
    return said.get(_KEY, Said())


def _annotation(cls: type[Options], name: str) -> str:
    """As it is written, or what it stands for where it is the name of a type of the module that declares it."""
    text = str(fields_of(cls)[name].type)
    word = text.removesuffix(" | None")
    owner = next(one for one in cls.__mro__ if name in vars(one).get("own_fields", ()))
    meant = vars(sys.modules[owner.__module__]).get(word)
    return text if meant is None else str(meant)
