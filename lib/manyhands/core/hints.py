"""Commands and options in messages: as the user can type them, with the name by which our program was called, or as a program
writes them.

At the bottom, because all packages give such advice, and only the command line knows how it was called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final

Words = Callable[[], Sequence[str]]


class _Called:
    """How to call the program; the command line puts in its own way."""

    words: ClassVar[Words] = lambda: ("manyhands",)
    options_typed: ClassVar[bool] = False
    only_task: ClassVar[str] = ""
    """The task that is not typed, because the program has no other."""


def call_it(words: Words) -> None:
    """Begin every command with ``words()`` from now on, which is called when it is first needed."""
    _Called.words = words


def stand_alone(task: str) -> None:
    """Leave out ``task`` from all commands: the program has no other."""
    _Called.only_task = task


_CALLS: Final = {"--glob": "Glob", "--zip": "Zip", "--each": "Args.each"}
_OTHERS: Final = {"--colsep": "separator", "--disk": "disks"}
"""Keyword arguments of programs whose names differ from the option's."""


@contextmanager
def typed_options() -> Iterator[None]:
    """Meanwhile write options as they are typed, because a task is carried out. Otherwise a program calls us."""
    before, _Called.options_typed = _Called.options_typed, True
    try:
        yield
    finally:
        _Called.options_typed = before


def option_name(flag: str) -> str:
    """``--run-id``, or for a program ``run_id``."""
    if _Called.options_typed:
        return flag
    return _CALLS.get(flag) or _OTHERS.get(flag) or flag.removeprefix("--").replace("-", "_")


def given_as(flag: str, value: object) -> str:
    """``--run-id 7f3a``, or for a program ``run_id=7f3a``."""
    name = option_name(flag)
    if not _Called.options_typed and flag in _CALLS:
        return f"{name}({value})"
    return f"{name} {value}" if _Called.options_typed or not name.isidentifier() else f"{name}={value}"


def switch_name(flag: str) -> str:
    """``--shell``, or for a program ``shell=True``."""
    return flag if _Called.options_typed else given_as(flag, True)


def typed_as_here(text: str) -> str:
    """``text``, which may begin with ``manyhands``, with the name by which the program was called."""
    rest = text.removeprefix("manyhands ")
    return f"{typed()} {rest}" if rest != text else text


def typed(*words: str, state_dir: str | None = None) -> str:
    """``scripts/run batch.resume 7f3a --state-dir 'my runs'``: the program and ``words``, quoted for a shell, with ``state_dir`` as
    it was given."""
    import shlex  # here: most runs have no advice to give

    place = ("--state-dir", state_dir) if state_dir else ()
    return shlex.join([*_Called.words(), *(word for word in words if word != _Called.only_task), *place])
