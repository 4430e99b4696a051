"""Converts what functions return and raise to bytes and back: JSON if that gives back exactly the same, else a pickle.

    3, "x", [1, None] --> JSON text          (1, 2), {3}, Point(1, 2), nan --> NUL, length, description, pickle

A pickle can run any code when it is read. So `from_bytes` is only for the program whose own run made the bytes, and for a resumed
run, which runs code of the run's folder anyway. Code that lists, shows or exports values calls `shown`: it reads JSON, or the
description that was made together with the pickle.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, Final, cast

Ours = Callable[[BaseException], bool]
"""Whether an exception was raised in the job from outside, in order to stop it."""

_LONG: Final = 1 << 63
_SEALED: Final = b"\0"  # no JSON text begins with it
_HEAD: Final = 5
_SCALARS: Final = frozenset({str, int, bool, type(None)})
_DESCRIBED: Final = 1 << 16
"""Bytes of a pickle up to which it is described by its repr; that might take long for a larger one."""
_LONGEST: Final = 400
"""Characters of a description."""
_TRIED: Final = 1 << 20
"""Bytes of a pickle up to which it is unpickled once where it is made, to check that it can be read."""
_TRAVELS: Final = 1 << 16
"""Bytes of a pickled exception; of a larger one only the text is kept."""

_ZERO: Final = ord("0")
_DIGITS: Final = 4000
"""Digits of a number that Python converts in any case (`sys.int_info.default_max_str_digits`)."""
_decode: Final = json.JSONDecoder().decode  # `json.loads` first detects the UTF encoding
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def fits_json(found: object) -> bool:
    """Whether JSON gives back exactly ``found``: the same types, not only equal values. Raises RecursionError for deep nesting."""
    kind = type(found)
    if kind in _SCALARS:
        return True
    if kind is float:
        return isfinite(cast("float", found))
    if kind is list:
        return _all_fit(cast("list[object]", found))
    if kind is not dict:
        return False
    named = cast("dict[object, object]", found)
    return set(map(type, named)) <= {str} and _all_fit(named.values())


def _all_fit(items: Iterable[object]) -> bool:
    """Whether `fits_json` is true for all items; in C for lists of texts and numbers."""
    kinds = set(map(type, items))
    if kinds <= _SCALARS:
        return True
    return all(map(isfinite, cast("Iterable[float]", items))) if kinds == {float} else all(map(fits_json, items))


def to_json(found: object) -> bytes:
    """A value as JSON, with tuples as lists and subclasses as their base types. Raises ValueError or TypeError for what JSON cannot
    hold, also for keys that are not text, which would come back as text."""
    _refuse_keys(found)
    text = _encode(found)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: JSON has an escape for it
        return json.dumps(found).encode()


def _refuse_keys(found: object) -> None:
    if isinstance(found, dict):
        for key, value in found.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r:.80} is not text")
            _refuse_keys(value)
    elif isinstance(found, list | tuple) and not set(map(type, found)) <= _SCALARS:
        for value in found:
            _refuse_keys(value)


def to_bytes(found: object, ours: Ours = lambda _: False) -> bytes:
    """A value as bytes. Raises what pickling ``found``, or unpickling it again, raises, and exceptions that are ``ours``."""
    kind = type(found)
    if found is None:  # what most functions return, in a tenth of the time
        return b"null"
    if kind is bool:
        return b"true" if found else b"false"
    if kind is int and -_LONG < cast("int", found) < _LONG:
        return b"%d" % cast("int", found)
    try:
        if fits_json(found):
            return _encode(found).encode()
    except (
        UnicodeEncodeError,
        ValueError,
        RecursionError,
    ):  # two surrogates would come back as one; a number of 5,000 digits
        pass
    import pickle  # here: most values are JSON, and every start imports this module

    data = pickled(found)
    if len(data) <= _TRIED and not _is_plain(found):
        pickle.loads(data)  # noqa: S301 - made in the line above
    return _sealed(_described(found, len(data), ours), data)


def exception_to_bytes(error: BaseException, ours: Ours = lambda _: False) -> bytes | None:
    """An exception as bytes; None if it cannot be pickled and unpickled. Raises exceptions that are ``ours``."""
    import pickle

    try:
        data = pickled(error)
        if len(data) > _TRAVELS or type(pickle.loads(data)) is not type(error):  # noqa: S301 - made in the line above
            return None
        return _sealed(type(error).__qualname__, data)
    except BaseException as raised:  # unpickling may raise anything; the exception's text is kept anyway
        if ours(raised):
            raise
        return None


def from_bytes(data: bytes) -> Any:
    """The inverse of `to_bytes` and `exception_to_bytes`. Only for bytes of one's own run; raises what unpickling raises."""
    if data.startswith(_SEALED):
        from manyhands.core.unpickling import unpickled

        return unpickled(_parts(data)[1])
    return from_json(data)


def from_json(data: bytes) -> Any:
    """A value from JSON in UTF-8. Raises ValueError."""
    if data.isdigit() and len(data) < _DIGITS and (data[0] != _ZERO or len(data) == 1):
        return int(data)
    return _decode(data.decode())


def is_pickle(data: bytes) -> bool:
    """Whether only `from_bytes` can read it."""
    return data.startswith(_SEALED)


def description(data: bytes) -> str:
    """The description of a pickle, which was made together with it; nothing is unpickled."""
    return _parts(data)[0].decode("utf-8", "replace")


def shown(data: bytes | None) -> tuple[Any, str | None]:
    """(the value, None) for JSON, (None, a description) for a pickle: for programs that did not make it. Nothing is unpickled."""
    if data is None:
        return None, None
    return (None, description(data)) if is_pickle(data) else (_decode(data.decode()), None)


def _parts(data: bytes) -> tuple[bytes, bytes]:
    end = _HEAD + int.from_bytes(data[1:_HEAD], "little")
    return data[_HEAD:end], data[end:]


def _sealed(text: str, data: bytes) -> bytes:
    said = text.encode("utf-8", "backslashreplace")
    return b"".join((_SEALED, len(said).to_bytes(_HEAD - 1, "little"), said, data))


def pickled(found: object) -> bytes:
    """A pickle: functions and classes by name if possible, else by value, as is needed in a session or a notebook."""
    import pickle

    try:
        return pickle.dumps(found, protocol=5)
    except Exception as error:  # a __reduce__ may raise anything
        by_value = _cloudpickle()
        if by_value is None or isinstance(error, RecursionError):
            raise
        try:
            return by_value(found)
        except Exception:  # the first reason is the better one
            raise error from None


def _cloudpickle() -> Callable[[object], bytes] | None:
    try:
        import cloudpickle
    except ImportError:
        return None
    return cast("Callable[[object], bytes]", cloudpickle.dumps)


def _is_plain(found: object) -> bool:
    """Whether it is flat and of Python's own types, so that it can certainly be unpickled."""
    kind = type(found)
    if kind in (tuple, list, set, frozenset):
        return set(map(type, cast("Iterable[object]", found))) <= _SCALARS | {float, bytes}
    return kind in (float, bytes, int, str, complex, bytearray)


class _Repr(reprlib.Repr):
    """Shows only the beginning of large values."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 20
        self.maxstring = self.maxother = self.maxlong = _LONGEST


def _described(found: object, size: int, ours: Ours) -> str:
    """Its repr, as far as possible. Raises exceptions that are ``ours``."""
    kind = type(found)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if size > _DESCRIBED:
        return f"<{name}, a pickle of {size:,} bytes>"
    try:
        return _Repr().repr(found)[:_LONGEST]
    except BaseException as error:  # a __repr__ may raise anything
        if ours(error):
            raise
        return f"<{name}>"
