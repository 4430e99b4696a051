"""A record behaves as the dataclass that is written in the same way, and is made faster."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, ClassVar

import pytest

from manyhands.core import records

KINDS: list[dict[str, bool]] = [
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
    {"frozen": True},
    {"slots": True},
    {},
]


@records.dataclass(frozen=True, slots=True)
class Kept:
    """A record that is pickled."""

    number: int
    text: str = ""


def pair(module: Any, field: Callable[..., Any], **options: bool) -> tuple[type[Any], type[Any]]:
    """A class and one that inherits from it, made by ``module``."""

    @module.dataclass(**options)
    class Base:
        """A base."""

        first: int
        second: str = "b"
        shared: ClassVar[int] = 7

        def twice(self) -> int:
            """Twice the first."""
            return 2 * self.first

    @module.dataclass(**options)
    class Lower(Base):
        """With more."""

        second: str = "c"
        made: list[int] = field(default_factory=list)
        aside: int = field(default=0, compare=False)

        def __post_init__(self) -> None:
            if self.first < 0:
                raise ValueError("negative")

    return Base, Lower


@pytest.fixture(params=KINDS, ids=str)
def both(request: pytest.FixtureRequest) -> tuple[type[Any], type[Any]]:
    """The lower class as a record and as a dataclass."""
    ours, theirs = pair(records, records.field, **request.param), pair(dataclasses, dataclasses.field, **request.param)
    return ours[1], theirs[1]


def outcome(do: Callable[[], Any]) -> object:
    """What it returns, or the kind and the text of what it raises."""
    try:
        return do()
    except Exception as error:
        return type(error), str(error)


def same(both: tuple[type[Any], type[Any]], do: Callable[[type[Any]], object]) -> object:
    """What ``do`` gives for both classes, which must not differ."""
    ours, theirs = (outcome(lambda cls=cls: do(cls)) for cls in both)  # type: ignore[misc]
    assert ours == theirs
    return ours


def test_it_is_made_and_shown_as_a_dataclass_is(both: tuple[type[Any], type[Any]]) -> None:
    """With the same parameters, defaults, representation, and errors for what does not fit."""
    assert str(same(both, lambda cls: repr(cls(first=1)))).endswith(".Lower(first=1, second='c', made=[], aside=0)")
    for arguments, named in (
        ((), {}),
        ((1, 2, 3, 4, 5), {}),
        ((1,), {"first": 1}),
        ((), {"first": 1, "x": 2}),
        ((-1,), {}),
    ):
        same(both, lambda cls, arguments=arguments, named=named: repr(cls(*arguments, **named)))  # type: ignore[misc]
    same(both, lambda cls: str(inspect.signature(cls)))
    same(both, lambda cls: typing.get_type_hints(cls.__init__))
    same(both, lambda cls: cls.__match_args__)
    assert same(both, lambda cls: (cls(first=4).twice(), cls.shared, cls(first=1).made is cls(first=1).made)) == (
        8,
        7,
        False,
    )


def test_it_is_compared_as_a_dataclass_is(both: tuple[type[Any], type[Any]]) -> None:
    """By the fields that are compared, with objects of the same class only; what is frozen and comparable has a hash."""
    assert same(both, lambda cls: cls(first=1) == cls(first=1, aside=5)) is True
    assert same(both, lambda cls: cls(first=1) == cls(first=2)) is False
    assert same(both, lambda cls: (cls(first=1) == 1, cls(first=1).__eq__(1))) == (False, NotImplemented)
    assert both[0](first=1) != both[1](first=1)
    same(both, lambda cls: hash(cls(first=1, made=())) == hash(cls(first=1, made=(), aside=3)))
    same(both, lambda cls: hash(cls(first=1)))


def test_it_is_changed_as_a_dataclass_is(both: tuple[type[Any], type[Any]]) -> None:
    """Or refuses to be, if it is frozen; `replace` of either module makes another one."""

    def set_it(cls: type[Any]) -> object:
        one = cls(first=1)
        one.first = 3
        return one.first

    def delete_it(cls: type[Any]) -> object:
        one = cls(first=1)
        del one.first
        return hasattr(one, "first")

    for change in (set_it, delete_it):
        same(both, change)
    assert same(both, lambda cls: repr(dataclasses.replace(cls(first=1), second="x")))
    ours = both[0](first=1, aside=4)
    assert records.replace(ours, second="x") == dataclasses.replace(ours, second="x") == both[0](first=1, second="x")
    assert records.replace(ours, second="x").aside == 4


def test_it_is_taken_for_a_dataclass(both: tuple[type[Any], type[Any]]) -> None:
    """By what lists its fields, makes a dictionary of it, copies it, or declares a dataclass below it."""
    same(both, lambda cls: dataclasses.asdict(cls(first=1, made=[2])))
    same(both, lambda cls: [(one.name, one.type, one.compare, one.kw_only) for one in dataclasses.fields(cls)])
    same(both, lambda cls: hasattr(cls(first=1), "__dict__"))
    made: type[Any] = both[0]
    assert dataclasses.is_dataclass(both[0])
    one = made(first=1, made=[2])
    assert copy.copy(one) == copy.deepcopy(one) == one


def test_a_dataclass_may_be_declared_below_it() -> None:
    """By a program, with more fields."""

    @dataclasses.dataclass(frozen=True)
    class Below(Kept):
        more: int = 1

    assert repr(Below(3, more=2)).endswith("Below(number=3, text='', more=2)")


def test_its_pickles_are_those_of_a_dataclass(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a run that an earlier version has recorded can be read."""
    ours = pickle.dumps(Kept(3, "x"))
    assert pickle.loads(ours) == Kept(3, "x")
    same_again = dataclasses.make_dataclass("Kept", [("number", int), ("text", str, "")], frozen=True, slots=True)
    same_again.__module__, same_again.__qualname__ = Kept.__module__, Kept.__qualname__
    monkeypatch.setattr(sys.modules[__name__], "Kept", same_again)
    assert pickle.dumps(same_again(3, "x")) == ours


def test_two_threads_may_make_the_first_ones() -> None:
    """The method that is made by the first call is there for both."""
    for _ in range(50):
        cls, _lower = pair(records, records.field, frozen=True, slots=True)
        together = Barrier(2)
        made: list[Any] = []

        def make(cls: type[Any] = cls, together: Barrier = together, made: list[Any] = made) -> None:
            together.wait()
            made.append(cls(5))

        threads = [Thread(target=make) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [cls(5), cls(5)]


def test_neither_dataclasses_nor_inspect_is_loaded(tmp_path: Path, environment: dict[str, str]) -> None:
    """That is what it is for."""
    script = (
        "import sys; from manyhands.core.limits import Backoff; Backoff(); Backoff() == Backoff(); hash(Backoff()); repr(Backoff());"
        "print(*{'dataclasses', 'inspect'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"
