"""What is said of a function without `inspect` is what that says."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable
from typing import Any

import pytest

from manyhands.work.plain_function import certainly_takes, is_coroutine_function


def none() -> None: ...
def one(a: int) -> None: ...
def two(a: int, b: int = 2) -> None: ...
def at_place(a: int, /, b: int) -> None: ...
def by_name(a: int, *, b: int) -> None: ...
def more(*args: int) -> None: ...
def named(**kwargs: int) -> None: ...
async def later(a: int) -> None: ...
async def much_later(a: int) -> Any:
    yield a


@functools.wraps(one)
def wrapped(*args: int) -> None: ...


@functools.wraps(later)
def not_async(a: int) -> None: ...


class Thing:
    """With all kinds of methods."""

    def method(self, a: int) -> None: ...

    @staticmethod
    def static(a: int) -> None: ...

    async def later(self) -> None: ...

    def __call__(self, a: int) -> None: ...


FUNCTIONS: list[Callable[..., Any]] = [
    none,
    one,
    two,
    at_place,
    by_name,
    more,
    named,
    later,
    much_later,
    wrapped,
    not_async,
    Thing().method,
    Thing.static,
    Thing().later,
    Thing(),
    Thing,
    print,
    int,
    functools.partial(two, 1),
    functools.partial(later, 1),
    lambda a: a,
    functools.cache(one),
    math.sqrt,
    math.pow,
    math.log,
    abs,
    pow,
    "text".upper,
    [].append,
    dict.fromkeys,
    os.getpid,
]
GIVEN: list[tuple[tuple[int, ...], dict[str, int]]] = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, 3), {}),
    ((1,), {"b": 2}),
    ((), {"a": 1}),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=[str(number) for number in range(len(FUNCTIONS))])
def test_whether_it_is_a_coroutine_function(function: Callable[..., Any]) -> None:
    """Wrapped, bound, or of another kind, too."""
    assert is_coroutine_function(function) is inspect.iscoroutinefunction(function)


@pytest.mark.parametrize("function", FUNCTIONS, ids=[str(number) for number in range(len(FUNCTIONS))])
def test_what_certainly_fits_fits(function: Callable[..., Any]) -> None:
    """It is never said of arguments that do not; and it is said of the usual ones."""
    for args, kwargs in GIVEN:
        try:
            inspect.signature(function).bind(*args, **kwargs)
            fits = True
        except (TypeError, ValueError):
            fits = False
        assert fits or not certainly_takes(function, args, kwargs)
    if function in (one, later):
        assert certainly_takes(function, (1,), {})
    assert not certainly_takes(one, (), {})
    assert certainly_takes(two, (1,), {})
    assert certainly_takes(two, (1, 2), {})
    assert certainly_takes(math.sqrt, (1,), {})
    assert certainly_takes(os.getpid, (), {})
