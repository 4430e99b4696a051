"""What functions return travels as JSON where that is exact, else as a pickle that nobody reads who did not make it."""

from __future__ import annotations

import json
import math
import pickle
import sys
import threading
from collections import OrderedDict
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core import errors
from manyhands.core.serialization import (
    description,
    exception_to_bytes,
    fits_json,
    from_bytes,
    is_pickle,
    shown,
    to_bytes,
    to_json,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(PLAIN)
def test_every_value_comes_back_as_it_was(found: Any) -> None:
    """The same types, not only equal values; numbers that are none included."""
    assert repr(from_bytes(to_bytes(found))) == repr(found)


@given(PLAIN)
def test_what_fits_json_is_json(found: Any) -> None:
    """And nothing else is; what is shown of the rest is text, for which nothing was read."""
    data = to_bytes(found)
    value, text = shown(data)
    if text is None:
        assert repr(value) == repr(found)
    else:
        assert is_pickle(data)
        assert value is None
        assert json.dumps(text)


class Word(StrEnum):
    A = "a"


@pytest.mark.parametrize(
    "found",
    [
        (1,),
        {1: 2},
        math.nan,
        [math.inf],
        [1.0, -math.inf, "x"],
        True + 0j,
        Word.A,
        OrderedDict(a=1),
        {"a": (1,)},
        b"",
        [Word.A],
    ],
)
def test_what_json_would_change(found: Any) -> None:
    """Subclasses, tuples, keys, and numbers that JSON has no form for."""
    assert not fits_json(found)


@pytest.mark.parametrize("found", [10**5000, "\ud83d\ude00", {"x": ["\udc80"]}], ids=type)
def test_what_json_cannot_do_right(found: Any) -> None:
    """Thousands of digits, halves of characters."""
    assert from_bytes(to_bytes(found)) == found


def test_a_list_that_holds_itself() -> None:
    """A pickle can do that."""
    found: list[Any] = [1]
    found.append(found)
    back = from_bytes(to_bytes(found))
    assert back[1] is back


def test_a_class_of_a_session_travels_by_value() -> None:
    """As functions of a session do."""
    function = from_bytes(to_bytes(lambda x: x + 1))
    assert function(1) == 2
    with pytest.raises(TypeError, match="cannot pickle"):
        to_bytes(threading.Lock())


def test_json_refuses_what_it_would_change_in_silence() -> None:
    """Keys that would come back as text, at any depth; tuples and subclasses are what they look like."""
    assert to_json({"a": (1, Word.A)}) == b'{"a":[1,"a"]}'
    for found in ({2: 3}, [({"a": {None: 1}},)], math.nan, {1}):
        with pytest.raises((TypeError, ValueError)):
            to_json(found)


class Evil:
    """Does something when it is read."""

    def __reduce__(self) -> Any:
        return read.append, (1,)


read: list[int] = []


def test_whoever_shows_does_not_read() -> None:
    """The description was made where the value was; it is short."""
    data = to_bytes([Evil()] * 50 + ["x" * 10_000])
    read.clear()
    assert shown(data)[0] is None
    assert len(description(data)) <= 400
    assert read == []
    assert description(to_bytes(b"x" * 100_000)).startswith("<bytes, a pickle of 100,0")


class Mute:
    def __repr__(self) -> str:
        raise ZeroDivisionError


def test_what_cannot_be_shown_is_named() -> None:
    """Its class is known."""
    assert "Mute" in description(to_bytes((Mute(),)))


class Wants(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("wants two")


def test_exceptions_that_can_be_made_again_travel() -> None:
    """With what they carry; others, and those that are large, are told in words only."""
    error = KeyError("x")
    error.add_note("a note")
    data = exception_to_bytes(error)
    assert data is not None
    back = from_bytes(data)
    assert (repr(back), back.__notes__) == ("KeyError('x')", ["a note"])
    # where Dask is imported, tblib can make it again
    assert exception_to_bytes(Wants(1, 2)) is None or "tblib.pickling_support" in sys.modules
    assert exception_to_bytes(ValueError("x" * 100_000)) is None


def test_what_ends_a_job_is_not_swallowed() -> None:
    """A stop may come while a result is described, or an exception made ready."""

    class Stopped(BaseException):
        pass

    class Slow:
        def __repr__(self) -> str:
            raise Stopped

        def __reduce__(self) -> Any:
            return int, ()

    with pytest.raises(Stopped):
        to_bytes(Slow(), lambda error: isinstance(error, Stopped))


@pytest.mark.parametrize(
    "error",
    [
        errors.JobFailedError(3, "x", "why", "trace"),
        errors.JobTimeoutError(3, "x", "why"),
        errors.TemplateError("why", "a b", 1),
        errors.UsageError("why"),
        errors.WrongTypeError("why"),
    ],
)
def test_our_own_errors_can_be_pickled(error: Exception) -> None:
    """A job may raise one of them."""
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))
