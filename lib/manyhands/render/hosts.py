"""How many jobs each host has done and runs, and these counts as lines of a display: empty for a run on this machine alone.

A host has its place from its first job on, so that the eye finds it again; if there is no room for all, those with failures come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from manyhands.core.records import dataclass
from manyhands.core.safe_text import cells, one_line

_GAP = 3
_WIDEST = 24
"""Columns of a name at most."""
_LEGEND = "ok/failed/running"


@dataclass(slots=True)
class HostCounts:
    """The jobs of one host; ``failed``: also the attempts that were lost there, or are tried again."""

    name: str
    ok: int = 0
    failed: int = 0
    running: int = 0

    def words(self) -> str:
        """``12 ok, 1 failed, 4 running``; zeros are left out."""
        parts = ((self.ok, "ok"), (self.failed, "failed"), (self.running, "running"))
        return ", ".join(f"{number:,} {word}" for number, word in parts if number) or "nothing yet"

    def short(self) -> str:
        """``12/1/4``."""
        return f"{self.ok:,}/{self.failed:,}/{self.running:,}"


class Hosts:
    """The counts of all hosts that have been given a job."""

    def __init__(self) -> None:
        self._hosts: dict[str, HostCounts] = {}

    def __bool__(self) -> bool:
        return bool(self._hosts)

    def of(self, name: str) -> HostCounts:
        """The counts of a host, to be changed."""
        return self._hosts.get(name) or self._hosts.setdefault(name, HostCounts(name))

    def lines(self, width: int, most: int) -> list[str]:
        """At most ``most`` lines of at most ``width`` columns: in words if all hosts fit so, else in numbers with a legend, and with one
        line for the hosts that do not fit."""
        every = [*self._hosts.values()]
        wide = min(_WIDEST, max((cells(one.name) for one in every), default=0))
        words = _columns([f"{_name(one, wide)}  {one.words()}" for one in every], width)
        if len(words) <= most:
            return words
        room = max(1, most - 2)
        title = one_line(f"{_LEGEND} of {len(every):,} hosts:", width)
        numbers = [f"{_name(one, wide)}  {one.short()}" for one in every]
        per_line = _per_line(numbers, width)
        if len(every) <= per_line * (room + 1):
            return [title, *_columns(numbers, width)]
        ranked = sorted(every, key=lambda one: not one.failed)  # stable: each group keeps its order
        shown, rest = ranked[: per_line * room], ranked[per_line * room :]
        kept = {one.name for one in shown}
        lines = _columns([text for one, text in zip(every, numbers, strict=True) if one.name in kept], width)
        return [title, *lines, one_line(f"... and {len(rest):,} more hosts: {_sum(rest).words()}", width)]


def _name(one: HostCounts, wide: int) -> str:
    name = one_line(one.name, wide)
    return name + " " * (wide - cells(name))


def _sum(hosts: Sequence[HostCounts]) -> HostCounts:
    return HostCounts(
        "", sum(one.ok for one in hosts), sum(one.failed for one in hosts), sum(one.running for one in hosts)
    )


def _per_line(texts: Sequence[str], width: int) -> int:
    return max(1, (width + _GAP) // (max(map(cells, texts), default=1) + _GAP))


def _columns(texts: Sequence[str], width: int) -> list[str]:
    """The texts in columns of one width, row by row."""
    return [*_rows(texts, _per_line(texts, width), max(map(cells, texts), default=0), width)]


def _rows(texts: Sequence[str], per_line: int, wide: int, width: int) -> Iterator[str]:
    for at in range(0, len(texts), per_line):
        row = [text + " " * (wide - cells(text)) for text in texts[at : at + per_line]]
        yield one_line((" " * _GAP).join(row).rstrip(), width)
