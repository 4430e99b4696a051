"""Commands in messages: what the user can type as it stands, beginning with the name by which our program was called.

At the bottom, because every floor gives such advice and only the command line knows how it was called.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import ClassVar

Words = Callable[[], Sequence[str]]


class _Called:
    """How to call the program; the command line puts in its own way."""

    words: ClassVar[Words] = lambda: ("manyhands",)


def call_it(words: Words) -> None:
    """From now on begin every command with ``words()``, which is asked when the first is needed."""
    _Called.words = words


def typed_as_here(text: str) -> str:
    """``text``, which may begin with ``manyhands``, with the name by which the program was called."""
    rest = text.removeprefix("manyhands ")
    return f"{typed()} {rest}" if rest != text else text


def typed(*words: str, state_dir: str | None = None) -> str:
    """``scripts/run batch.resume 7f3a --state-dir 'my runs'``: the program and ``words``, quoted for a shell, with ``state_dir`` as
    it was given."""
    place = ("--state-dir", state_dir) if state_dir else ()
    return shlex.join([*_Called.words(), *words, *place])
