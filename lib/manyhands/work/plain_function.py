"""What can be said of a plain function without `inspect`, which takes as long to import as a worker process to start: most functions are plain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final, TypeGuard

from manyhands.core.patterns import pattern

_COROUTINE: Final = 0x80
"""The flag of a function that was written with ``async def`` (inspect.CO_COROUTINE)."""
_MORE: Final = 0x04 | 0x08
"""The flags of one with ``*args`` or ``**more`` (inspect.CO_VARARGS, CO_VARKEYWORDS)."""

_PARAMETERS: Final = pattern(r"\(\$\w+((?:, \w+)*)(?:, /)?\)")
"""The signature of a function in C whose parameters are all positional, without defaults: ``($module, x, /)``."""


def _is_plain(function: Callable[..., Any]) -> TypeGuard[FunctionType]:
    """Whether nothing has been said of it beside its code: no decorator has wrapped or marked it."""
    return isinstance(function, FunctionType) and not vars(function)


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """As `inspect.iscoroutinefunction`."""
    if _is_plain(function):
        return bool(function.__code__.co_flags & _COROUTINE)
    if isinstance(function, BuiltinFunctionType):
        return False
    import inspect

    return inspect.iscoroutinefunction(function)


def certainly_takes(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether it can be called with these arguments; False also if only `inspect.signature` knows."""
    if kwargs:
        return False
    if isinstance(function, BuiltinFunctionType):
        found = _PARAMETERS.fullmatch(getattr(function, "__text_signature__", None) or "")
        return found is not None and found[1].count(",") == len(args)
    if not _is_plain(function):
        return False
    code, defaults = function.__code__, function.__defaults__ or ()
    if code.co_flags & _MORE or code.co_kwonlyargcount:
        return False
    return code.co_argcount - len(defaults) <= len(args) <= code.co_argcount
