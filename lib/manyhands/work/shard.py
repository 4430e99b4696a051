"""A part of a run: which of how many, and which jobs it has. The parts of one run are merged by what is noted here.

The share of a part follows from the inputs alone, so every machine reckons the same one. Jobs have the numbers that they have in the
whole list, so no two parts have a job in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from manyhands.core.errors import JournalError, UsageError
from manyhands.core.hints import given_as, option_name
from manyhands.core.patterns import pattern
from manyhands.core.records import dataclass, values_of

MOST: Final = 10_000
_WRITTEN: Final = pattern(r"([0-9]{1,5})/([0-9]{1,5})")
_VARIABLES: Final = (
    ("CI_NODE_INDEX", "CI_NODE_TOTAL"),
    ("SYSTEM_JOBPOSITIONINPHASE", "SYSTEM_TOTALJOBSINPHASE"),
)
"""Where GitLab (``parallel:``) and Azure (``parallel:``) say which of several equal jobs this one is, from 1."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``index``, from 1, of ``count``."""

    index: int
    count: int
    total: int = 0
    """Jobs of all parts together."""
    inputs: str = ""
    """A digest of all inputs, in their order."""
    times: str | None = None
    """The SHA-256 of the file of recorded times; None if every job counts the same."""
    numbers: str = ""
    """The jobs of this part, as ``1 4-6 9``; empty if each gets the next one in turn."""

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str, environ: Mapping[str, str]) -> Shard:
        """``2/4``, or ``auto``: what the CI system says. Raises UsageError."""
        given = text
        if text == "auto":
            given = next((f"{environ[k]}/{environ[n]}" for k, n in _VARIABLES if environ.get(k) and environ.get(n)), "")
            if not given:
                raise UsageError(
                    f"{given_as('--shard', 'auto')}: {' and '.join(_VARIABLES[0])} are not set; give K/N, such as 2/4"
                )
        found = _WRITTEN.fullmatch(given)
        if not found or not 1 <= int(found[1]) <= int(found[2]) <= MOST:
            raise UsageError(
                f"{given_as('--shard', repr(given))}: expected K/N, part K of N, such as 2/4, with K from 1 to N"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def jobs(self) -> Iterable[int]:
        """The numbers of its jobs, in their order."""
        return numbers_of(self.numbers) if self.numbers or not self.total else self._in_turn

    @property
    def _in_turn(self) -> range:
        return range(self.index, self.total + 1, self.count) if not self.times else range(0)

    def to_json(self) -> dict[str, Any]:
        """What run.json keeps."""
        return values_of(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Shard:
        """The inverse. Raises JournalError, TypeError."""
        found = cls(**record)
        kinds = ((found.index, int), (found.count, int), (found.total, int), (found.inputs, str), (found.numbers, str))
        right = all(type(value) is kind for value, kind in kinds) and isinstance(found.times, str | None)
        if not right or not 1 <= found.index <= found.count <= MOST or not 0 <= found.total < 1 << 48:
            raise JournalError(f"it is part {record!r:.80}")
        return found

    def difference(self, before: Shard) -> str | None:
        """Why a run of the part ``before`` is no run of this one, as the end of a sentence; None if it is."""
        if (self.index, self.count) != (before.index, before.count):
            return f"is shard {before}, this is {self}"
        if (self.inputs, self.total) != (before.inputs, before.total):
            return "was divided from other inputs"
        if self.times != before.times:
            return f"was divided by another file of {option_name('--times')}"
        return None


def text_of(numbers: Iterable[int]) -> str:
    """Ascending numbers as ``1 4-6 9``."""
    parts: list[str] = []
    first = last = -1
    for number in chain(numbers, (-1,)):
        if number == last + 1 and first >= 0:
            last = number
            continue
        if first >= 0:
            parts.append(f"{first}" if first == last else f"{first}-{last}")
        first = last = number
    return " ".join(parts)


def numbers_of(text: str) -> Iterator[int]:
    """The inverse. Raises ValueError."""
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
