"""An option is declared once, as a field; what the command line and programs know of it is read from there."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, Literal

import pytest

from manyhands.core.records import fields_of
from manyhands.options import batch, cmd, host, proc, tour
from manyhands.options.declaration import Options, declared_in, option

Colour = Literal["red", "green"]


class Lowest(Options):
    """What others are made of."""

    first: str = option("a", help="the first")
    last: int = option(1, help="the last")


class Middle(Lowest):
    """One that puts in something, says something else of another, and has what no command line has."""

    third: bool = option(False, help="the third")
    inserted: Colour = option("red", after="first", help="between")
    follows: Colour | None = option(None, help="behind it")
    last: int = option(2, help="otherwise")
    callback: Any = None


class Other(Options):
    """A second base."""

    name: str = option(positional=True, help="what it is about")
    words: Sequence[str] = option((), after="nobody", help="some")


class Whole(Middle, Other):
    """All of them."""


def names(cls: type[Options]) -> list[str]:
    return [one.name for one in declared_in(cls)]


def test_options_are_listed_own_first_then_those_of_the_bases() -> None:
    """Each where it was declared first; one that comes after another takes along what follows it; without that other it is last."""
    assert names(Lowest) == ["first", "last"]
    assert names(Middle) == ["third", "first", "inserted", "follows", "last"]
    assert names(Whole) == ["third", "first", "inserted", "follows", "last", "name", "words"]


def test_what_is_said_last_counts() -> None:
    """Default and help of a subclass, the type as the class has it; a name stands for the type that its module gives it."""
    found = {one.name: one for one in declared_in(Middle)}
    assert (found["last"].default, found["last"].said.help, found["last"].annotation) == (2, "otherwise", "int")
    assert found["inserted"].annotation == "typing.Literal['red', 'green']"
    assert found["follows"].annotation == "typing.Literal['red', 'green']"


def test_an_object_is_frozen_and_complete() -> None:
    """Names that there are not, and a lack, are mistakes of the programmer, as with a function."""
    made = Whole(name="x", last=3)
    assert (made.first, made.last, made.callback, made.words) == ("a", 3, None, ())
    with pytest.raises(FrozenInstanceError):
        made.last = 4  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del made.last
    with pytest.raises(TypeError, match=r"^Whole\(\) got an unexpected keyword argument 'lst'$"):
        Whole(name="x", lst=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Whole\(\) lacks the keyword argument 'name'$"):
        Whole()
    with pytest.raises(TypeError):
        Whole("x")  # type: ignore[call-arg]


def test_it_is_a_dataclass() -> None:
    """Compared, shown, copied, pickled and changed as one; only what is not as usual is shown."""
    made = Whole(name="x", last=3)
    assert made == Whole(name="x", last=3) != Whole(name="x")
    assert made != Middle(last=3)
    assert sorted(made.given()) == ["last", "name"]
    assert eval(repr(made)) == made
    assert replace(made, first="b") == Whole(name="x", last=3, first="b")
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    assert [one.name for one in fields(Lowest)] == ["first", "last"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


def test_help_shows_what_a_class_takes() -> None:
    """As of any class, though its fields are not the parameters of a function."""
    assert str(inspect.signature(Middle)) == (
        "(*, first: 'str' = 'a', last: 'int' = 2, third: 'bool' = False, inserted: 'Colour' = 'red', "
        "follows: 'Colour | None' = None, callback: 'Any' = None)"
    )
    assert "name: 'str'," in str(inspect.signature(Whole))
    assert str(inspect.signature(Options)) == "()"


OURS = [
    one
    for module in (batch, cmd, proc, host, tour)
    for one in vars(module).values()
    if isinstance(one, type) and issubclass(one, Options) and one.__module__ == module.__name__
]


def test_what_an_option_needs_is_an_option() -> None:
    """Of some class at least; a class has one of several."""
    every = {name for cls in OURS for name in fields_of(cls)}
    for cls in OURS:
        for name, field in fields_of(cls).items():
            needed = {one for said in field.metadata.values() for one in said.needs.split()}
            assert needed <= every, (cls, name)
    leases = [
        {one.name: one.said.needs for one in declared_in(cls)}["lease"]
        for cls in (batch.CommandOptions, batch.FunctionOptions)
    ]
    assert leases == ["broker cluster on on_each", "broker cluster"]


@pytest.mark.parametrize("cls", [one for one in OURS if one.__name__.endswith("Options")], ids=lambda cls: cls.__name__)
def test_what_ours_say_of_each_other_is_so(cls: type[Options]) -> None:
    """Options that one needs, excludes, or comes after, are there; each has a help, no letter is given twice."""
    found = {one.name: one.said for one in declared_in(cls)}
    others = {other for said in found.values() for other in (*said.excludes, *said.needs.split(), said.after) if other}
    assert others <= {*found}
    assert all(said.help for said in found.values())
    letters = [said.short for said in found.values() if said.short]
    assert len({*letters}) == len(letters)
