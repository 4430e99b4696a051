"""Regular expressions that are compiled when they are first used: those of a start's modules took a tenth of it, and it uses few."""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Pattern:
    """A `re.Pattern` in the making: the first use of a method compiles it, and later ones find that method here."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)
        return found


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What `re.compile` gives, as far as its methods and attributes go."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))
