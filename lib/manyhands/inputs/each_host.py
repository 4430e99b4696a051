"""Each input once for every host: the host is the last column, named ``host`` if the others have names.

    a, b  --on_each--> (a, web1), (a, web2), (b, web1), (b, web2)

So it is a part of a job's identity, and of what is kept of it. Separate from `sources`, because a program's inputs keep their items.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from manyhands.core.errors import UsageError
from manyhands.core.hints import option_name
from manyhands.core.job import Values
from manyhands.inputs.program_inputs import AtHand, Given, Iterating
from manyhands.inputs.sources import Args, Product, Source, Spec

COLUMN: Final = "host"
"""The name of the last column."""


def hosts_alone(hosts: Sequence[str]) -> Args:
    """The inputs of a command that has no others: once for every host."""
    return Args(hosts, name=COLUMN)


def spec_on_each(spec: Spec, hosts: Sequence[str], *, streamed: bool) -> Spec:
    """What describes the inputs of ``spec``, each for every host; ``streamed``: they are read from a stream."""
    return {"kind": "product", "sources": [spec | {"streamed": True} if streamed else spec, hosts_alone(hosts).spec()]}


def on_each(source: Source, hosts: Sequence[str]) -> Source:
    """The inputs of ``source``, each for every host. Raises UsageError if they have a column ``host`` of their own."""
    if COLUMN in source.columns:
        raise UsageError(
            f"{option_name('--on-each')}: the inputs have a column {COLUMN!r} of their own: give it another name"
        )
    if isinstance(source, AtHand):
        return _AtHandOnEach(source, hosts)
    if isinstance(source, Iterating):
        return _IteratingOnEach(source, hosts)
    return Product([source, hosts_alone(hosts)])


class _AtHandOnEach(AtHand):
    """A list, each item for every host."""

    def __init__(self, source: AtHand, hosts: Sequence[str]) -> None:
        names = [os.fsencode(host) for host in hosts]
        columns = (*source.columns, COLUMN) if source.columns else ()
        super().__init__((), columns, tuple)
        self.items = [*chain.from_iterable([item] * len(names) for item in source.items)]
        self.rows = [(*values, name) for values in source.rows for name in names]
        self.total = len(self.rows)
        self.width = None if source.width is None else source.width + 1


class _IteratingOnEach(Iterating):
    """What a program makes one after another, each for every host."""

    def __init__(self, source: Iterating, hosts: Sequence[str]) -> None:
        super().__init__(())
        self._source, self._names = source, [os.fsencode(host) for host in hosts]

    def __iter__(self) -> Iterator[Values]:
        self._source.preferred = self.preferred[:-1]
        for values in self._source:
            self.columns = (*self._source.columns, COLUMN) if self._source.columns else ()
            self.width = None if self._source.width is None else self._source.width + 1
            item = values.item if isinstance(values, Given) else None
            for name in self._names:
                yield Given.of((*values, name), item)
