"""What quick starts need of `contextlib`, `signal`, `socket` and `typing`, without the rest of these modules.

A batch waits until its launchers have been imported, and each of them stays in memory: these four, and what they import (re, enum,
functools, selectors), were two thirds of both. `signal` and `socket` are the modules in C below those of these names: the same
functions, the same numbers, only not as enums, and no socket is a context manager. `typing.NamedTuple` also compiles the annotation
of every field, which is half of its price. A type checker sees the usual ones.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it

if TYPE_CHECKING:
    import signal as signal
    import socket as socket
    from contextlib import suppress as suppress
    from typing import Any as Any
    from typing import Final as Final
    from typing import NamedTuple as NamedTuple
    from typing import TypeAlias as TypeAlias
else:
    import _signal as signal
    import _socket as socket

    Any = Final = TypeAlias = object  # for annotations, which nothing evaluates

    class suppress:
        """A context that these exceptions end without being raised from it."""

        def __init__(self, *kinds: type[BaseException]) -> None:
            self._kinds = kinds

        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
            return kind is not None and issubclass(kind, self._kinds)

    class _Making(type):
        """Makes what the body of a class declares a named tuple."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            from collections import namedtuple

            fields = body["__annotations__"]
            defaults = [body[field] for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            made.__new__.__annotations__ = fields
            for key, value in body.items():
                if key not in fields and key != "__module__":
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Making):
        """A class below this one is a tuple with the fields that it declares."""


make = tuple.__new__
"""``make(Kind, values)``: a named tuple from all of its values, in a third of the time of `_make`, which also counts them."""

__all__ = ["TYPE_CHECKING", "Any", "Final", "NamedTuple", "TypeAlias", "make", "signal", "socket", "suppress"]
