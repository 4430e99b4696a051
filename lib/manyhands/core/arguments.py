"""Checks a program's values where an iterable, or an argument of a command, is expected; others are refused with a one-line error.

Separate, because Python would iterate a text letter by letter, and because all callers must check in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from manyhands.core.errors import InputError, WrongTypeError


def is_number(value: object) -> bool:
    """Whether it is a number of any kind, such as a fraction."""
    if isinstance(value, int | float):
        return True
    from numbers import Number  # here: the other kinds are rare

    return isinstance(value, Number)


def check_several(name: str, given: object, what: str = "inputs") -> None:
    """Raise WrongTypeError, which is a TypeError, unless ``given`` is an iterable of ``what``.

    A text would be iterated letter by letter, a dict would give only its keys, a pandas table the names of its columns.
    """
    if isinstance(given, str | bytes | bytearray | memoryview):
        raise WrongTypeError(
            f"{name}: expected a list, or another iterable, of {what}, and this is one {type(given).__name__}: for one, give [{given!r:.60}]"
        )
    if isinstance(given, Mapping):
        raise WrongTypeError(
            f"{name}: a {type(given).__name__} would give its keys only: give list(d), d.values() or d.items()"
        )
    if hasattr(given, "itertuples"):
        raise WrongTypeError(
            f"{name}: a {type(given).__name__} would give the names of its columns: "
            "give df.to_dict('records'), or df.itertuples(index=False)"
        )
    if not hasattr(given, "__iter__") and not hasattr(given, "__getitem__"):
        raise WrongTypeError(f"{name}: expected a list, or another iterable, of {what}, not {given!r:.60}")


def argument_of(value: object) -> bytes:
    """One argument of a command. Raises InputError for anything but text, bytes, paths and numbers."""
    if type(value) is bytes:
        return value
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsencode(value)
    if is_number(value):
        return str(value).encode()
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # numpy's bool_, arrays of one
        return argument_of(value.item())
    raise InputError(f"a command is given text, bytes, paths or numbers, not {value!r:.60} ({type(value).__name__})")
