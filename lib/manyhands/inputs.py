"""Where inputs come from: argument lists, lines, files found by pattern, CSV, JSON lines, and products of these.

A source is iterated lazily and gives each input as a tuple of byte strings, its columns, byte-exact. What is wrong with it
is said when it is made (InputError), as far as that can be known before reading it all. Every source can describe itself
(`spec`) so that a run can be taken up again with the same inputs (`open_source`).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Protocol

from manyhands.errors import InputError
from manyhands.globbing import matching
from manyhands.job import Values
from manyhands.jsonable import keep_bytes, kept_bytes
from manyhands.readers import Csv, JsonLines, Lines, Spec, delimiter_of

__all__ = [
    "Args", "Csv", "Glob", "JsonLines", "Lines", "Product", "Rows", "Source", "Spec", "delimiter_of", "open_source",
]  # fmt: skip


class Source(Protocol):
    """Some inputs. ``columns`` are their names (none: ``()``), ``width`` and ``total`` their numbers, when known."""

    columns: tuple[str, ...]
    width: int | None
    total: int | None

    def __iter__(self) -> Iterator[Values]: ...

    def spec(self) -> Spec:
        """What `open_source` makes this source of again; plain JSON."""
        ...


class Args:
    """Inputs that were given one by one, with exact borders."""

    columns: tuple[str, ...] = ()
    width: int | None = 1

    def __init__(self, values: Iterable[str | bytes], *, name: str | None = None) -> None:
        self.values = [os.fsencode(value) for value in values]
        self.columns = (name,) if name else ()
        self.total: int | None = len(self.values)

    def __iter__(self) -> Iterator[Values]:
        return ((value,) for value in self.values)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {"kind": "args", "values": [os.fsdecode(value) for value in self.values], "name": (*self.columns, None)[0]}

    @classmethod
    def each(cls, text: str) -> Args:
        """Values from ``target=a,b,c``, or ``a,b,c`` without a name. Raises InputError."""
        name, equals, listed = text.partition("=")
        if equals and not re.fullmatch(r"[A-Za-z_][\w -]*", name):
            raise InputError(f"--each {text!r}: {name!r} cannot be the name of a column")
        return cls((listed if equals else text).split(","), name=name if equals else None)


class Rows:
    """Inputs that were given one by one, with several columns each."""

    total: int | None

    def __init__(self, rows: Iterable[Sequence[str | bytes]], columns: Sequence[str] = ()) -> None:
        self.rows = [tuple(os.fsencode(value) for value in row) for row in rows]
        self.columns = tuple(columns)
        self.total = len(self.rows)
        widths = {len(row) for row in self.rows}
        self.width = widths.pop() if len(widths) == 1 else None

    def __iter__(self) -> Iterator[Values]:
        return iter(self.rows)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {
            "kind": "rows", "columns": list(self.columns),
            "rows": [[keep_bytes(value) for value in row] for row in self.rows],
        }  # fmt: skip

    @classmethod
    def of(cls, spec: Spec) -> Rows:
        """The inverse of `spec`."""
        return cls([[kept_bytes(kept) for kept in row] for row in spec["rows"]], spec["columns"])


class Glob:
    """Paths found by patterns (``**`` for any depth, not through links), sorted within each, hidden ones left out as the shell
    does."""

    columns: tuple[str, ...] = ()
    width: int | None = 1

    def __init__(self, patterns: Sequence[str], *, folder: str = ".", may_miss: bool = False) -> None:
        self.patterns, self.folder = list(patterns), os.path.abspath(folder)
        self.found: list[bytes] = []
        for pattern in self.patterns:
            matches = matching(os.fsencode(pattern), os.fsencode(self.folder))
            if not matches and not may_miss:
                raise InputError(f"--glob {pattern!r}: no file matches")
            self.found += matches
        self.total: int | None = len(self.found)

    def __iter__(self) -> Iterator[Values]:
        return ((path,) for path in self.found)

    def spec(self) -> Spec:
        """See `Source.spec`; the patterns are matched anew: new files are found, and those that have gone are not missed."""
        return {"kind": "glob", "patterns": self.patterns, "folder": self.folder}


class Product:
    """Every combination of several sources, columns side by side; the first varies slowest, as with several ``:::``."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = list(sources)
        named = [source.columns for source in self.sources]
        names = list(itertools.chain.from_iterable(named))
        if len(set(names)) < len(names):
            raise InputError(f"two sources name the same column: {', '.join(names)}")
        self.columns = tuple(names) if all(named) else ()
        widths = [source.width for source in self.sources]
        self.width = sum(width or 0 for width in widths) if all(widths) else None
        totals = [source.total for source in self.sources]
        self.total: int | None = None
        if None not in totals:
            self.total = 1
            for total in totals:
                self.total *= total or 0

    def __iter__(self) -> Iterator[Values]:
        return self._combine(self.sources)

    def _combine(self, sources: Sequence[Source]) -> Iterator[Values]:
        if not sources:
            yield ()
            return
        for head in sources[0]:
            for tail in self._combine(sources[1:]):
                yield head + tail

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {"kind": "product", "sources": [source.spec() for source in self.sources]}


def open_source(spec: Spec, *, stream: BinaryIO | None = None) -> Source:
    """The source that ``spec`` describes; ``stream`` is read instead of its path. Raises InputError."""
    kinds: dict[str, Callable[[], Source]] = {
        "args": lambda: Args(spec["values"], name=spec.get("name")),
        "rows": lambda: Rows.of(spec),
        "glob": lambda: Glob(spec["patterns"], folder=spec["folder"], may_miss=True),
        "lines": lambda: Lines(spec["path"], null=spec["null"], separator=spec["separator"], stream=stream),
        "csv": lambda: Csv(spec["path"], delimiter=spec.get("delimiter", ","), stream=stream),
        "jsonl": lambda: JsonLines(spec["path"], spec["names"], whole=spec.get("whole", False), stream=stream),
        "product": lambda: Product([open_source(part) for part in spec["sources"]]),
    }
    return kinds[spec["kind"]]()
