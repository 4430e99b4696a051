"""Inputs that a program has at hand, or makes one after another.

Separate from `inputs`, whose sources can describe themselves, so that a run can be taken up again without the program.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from manyhands.inputs import Args, Rows, Source, Spec
from manyhands.job import Values


class Iterating:
    """Inputs that a program makes one after another; they can be read only once.

    ``items`` are rows, or, with ``width`` None, whatever `source_of` takes: what the first one is, all must be. ``columns`` and
    ``width`` are known when the first one has come.
    """

    total: int | None = None

    def __init__(self, items: Iterable[Any], columns: Sequence[str] = (), width: int | None = None) -> None:
        self._items, self.columns, self.width = items, tuple(columns), width
        self._shaped = width is not None
        self.preferred: tuple[str, ...] = ()
        """The order of the columns, if the items are mappings that have just these."""

    @property
    def shaped(self) -> bool:
        """Whether ``columns`` and ``width`` are known."""
        return self._shaped

    def __iter__(self) -> Iterator[Values]:
        iterator = iter(self._items)
        rows: Iterable[Sequence[str | bytes]] = iterator
        if not self._shaped:
            first = list(itertools.islice(iterator, 1))
            rows = self._rows(first, itertools.chain(first, iterator))
        for row in rows:
            yield tuple(os.fsencode(value) for value in row)

    def _rows(self, first: list[Any], items: Iterable[Any]) -> Iterable[Sequence[str | bytes]]:
        """Rows from items that are all like the first one."""
        self._shaped = True
        if first and isinstance(first[0], Mapping):
            columns = tuple(first[0])
            self.columns = columns = self.preferred if sorted(self.preferred) == sorted(columns) else columns
            self.width = len(columns)
            return ([row[name] for name in columns] for row in items)
        if first and isinstance(first[0], str | bytes):
            self.width = 1
            return ((one,) for one in items)
        return items

    def spec(self) -> Spec:
        """See `Source.spec`; nothing can make these inputs again."""
        return {"kind": "iterator"}


def source_of(inputs: Source | Iterable[str | bytes | Sequence[str | bytes] | Mapping[str, str]]) -> Source:
    """A source of what a program has at hand: strings or bytes, sequences of them, or mappings by column name.

    What the first one is, all must be. A list or tuple is kept whole (it can be resumed), anything else is pulled lazily.
    """
    if hasattr(inputs, "spec"):
        return inputs  # type: ignore[return-value]  # it is a Source
    if not isinstance(inputs, list | tuple):
        return Iterating(inputs)
    if inputs and isinstance(inputs[0], Mapping):
        columns = tuple(inputs[0])
        return Rows(([row[name] for name in columns] for row in inputs), columns)
    if inputs and not isinstance(inputs[0], str | bytes):
        return Rows(inputs)
    return Args(inputs)
