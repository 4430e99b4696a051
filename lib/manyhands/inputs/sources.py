"""The sources of inputs: argument lists, lines, files found by pattern, CSV, JSON lines, and products of these.

A source is iterated lazily and gives each input as a tuple of byte strings, its columns, byte-exact. Errors are raised when it is
made (InputError), as far as they can be found without reading all of it. Every source can describe itself (`spec`), so that a run
can be resumed with the same inputs (`open_source`).
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Protocol

from manyhands.core.arguments import argument_of, check_several
from manyhands.core.encoding import keep_bytes, kept_bytes
from manyhands.core.errors import InputError
from manyhands.core.hints import given_as, option_name
from manyhands.core.job import Values
from manyhands.inputs.file_patterns import matching
from manyhands.inputs.readers import Csv, JsonLines, Lines, Spec, delimiter_of, usual_delimiter, warn

__all__ = [
    "Args",
    "Csv",
    "Glob",
    "JsonLines",
    "Lines",
    "Product",
    "Rows",
    "Source",
    "Spec",
    "Zip",
    "delimiter_of",
    "open_source",
    "streamed_part",
    "usual_delimiter",
]


class Source(Protocol):
    """Some inputs. ``columns``: the names of the columns (none: ``()``); ``width``: their number, ``total``: that of the inputs, if known."""

    columns: tuple[str, ...]
    width: int | None
    total: int | None

    def __iter__(self) -> Iterator[Values]: ...

    def spec(self) -> Spec:
        """What this source is made of again when a run is continued; plain JSON."""
        ...


class Args:
    """Inputs that were given one by one, so nothing is split."""

    columns: tuple[str, ...] = ()
    width: int | None = 1

    def __init__(self, values: Iterable[str | bytes], *, name: str | None = None) -> None:
        check_several("Args", values)
        self.values = [argument_of(value) for value in values]
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
            raise InputError(f"{given_as('--each', repr(text))}: {name!r} cannot be the name of a column")
        return cls((listed if equals else text).split(","), name=name if equals else None)


class Rows:
    """Inputs that were given one by one, with several columns each."""

    total: int | None

    def __init__(self, rows: Iterable[Sequence[str | bytes]], columns: Sequence[str] = ()) -> None:
        check_several("Rows", rows, "rows")
        self.rows = [tuple(map(argument_of, row)) for row in rows]
        self.columns = tuple(columns)
        self.total = len(self.rows)
        widths = {len(row) for row in self.rows}
        self.width = widths.pop() if len(widths) == 1 else None

    def __iter__(self) -> Iterator[Values]:
        return iter(self.rows)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {
            "kind": "rows",
            "columns": list(self.columns),
            "rows": [[keep_bytes(value) for value in row] for row in self.rows],
        }

    @classmethod
    def of(cls, spec: Spec) -> Rows:
        """The inverse of `spec`."""
        return cls([[kept_bytes(kept) for kept in row] for row in spec["rows"]], spec["columns"])


class Glob:
    """Paths found by patterns (``**`` for any depth, not through links), sorted within each pattern, without hidden ones, as in a
    shell."""

    columns: tuple[str, ...] = ()
    width: int | None = 1

    def __init__(self, patterns: Sequence[str], *, folder: str = ".", may_miss: bool = False) -> None:
        check_several("Glob", patterns, "patterns")
        self.patterns, self.folder = list(patterns), os.path.abspath(folder)
        self.found: list[bytes] = []
        for pattern in self.patterns:
            matches = matching(os.fsencode(pattern), os.fsencode(self.folder))
            if not matches and not may_miss:
                raise InputError(f"{given_as('--glob', repr(pattern))}: no file matches")
            if not may_miss and self._means_another(pattern, matches):
                warn(
                    f"{given_as('--glob', repr(pattern))} matches other files than the one of just this name; that is {glob.escape(pattern)!r}"
                )
            self.found += matches
        self.total: int | None = len(self.found)

    def _means_another(self, pattern: str, matches: list[bytes]) -> bool:
        """Whether there is a file whose name is the pattern itself, which the pattern does not match."""
        there = glob.has_magic(pattern) and os.path.lexists(os.path.join(self.folder, pattern))
        return there and os.fsencode(pattern) not in matches

    def __iter__(self) -> Iterator[Values]:
        return ((path,) for path in self.found)

    def spec(self) -> Spec:
        """See `Source.spec`; the patterns are matched again: new files are found, and missing ones are no error."""
        return {"kind": "glob", "patterns": self.patterns, "folder": self.folder}


class Product:
    """Every combination of several sources, columns side by side; the first varies slowest, as with several ``:::``. It is read only once."""

    def __init__(self, sources: Sequence[Source]) -> None:
        check_several("Product", sources, "sources")
        self.sources = list(sources)
        self.columns, self.width = _side_by_side(self.sources)
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


class Zip:
    """The n-th input of each of several sources together, columns side by side, as with ``:::+``. The sources must be equally long:
    this is checked first if they can be read twice, else at the end of the shortest (InputError)."""

    def __init__(self, sources: Sequence[Source], *, streamed: bool = False) -> None:
        self.sources = list(sources)
        self.columns, self.width = _side_by_side(self.sources)
        self.total: int | None = None
        if not streamed:
            totals = [sum(1 for _ in source) if source.total is None else source.total for source in self.sources]
            if len(set(totals)) > 1:
                raise InputError(
                    f"{option_name('--zip')}: the sources are not equally long: they have {', '.join(map(str, totals))} inputs"
                )
            self.total = totals[0]

    def __iter__(self) -> Iterator[Values]:
        for number, rows in enumerate(itertools.zip_longest(*self.sources)):
            if None in rows:
                missing = ", ".join(str(place) for place, row in enumerate(rows, 1) if row is None)
                raise InputError(
                    f"{option_name('--zip')}: source {missing} has ended after {number} inputs, and others have more"
                )
            yield tuple(itertools.chain.from_iterable(rows))

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {"kind": "zip", "sources": [source.spec() for source in self.sources]}


def _side_by_side(sources: Sequence[Source]) -> tuple[tuple[str, ...], int | None]:
    """(the names of the columns, if all have names; their number, if it is known)."""
    names = list(itertools.chain.from_iterable(source.columns for source in sources))
    if len(set(names)) < len(names):
        raise InputError(f"two sources name the same column: {', '.join(names)}")
    widths = [source.width for source in sources]
    columns = tuple(names) if all(source.columns for source in sources) else ()
    return columns, sum(width or 0 for width in widths) if all(widths) else None


def streamed_part(spec: Spec) -> Spec:
    """The source that is read from a stream: a part of a `Zip`, the first of a `Product`, or the whole source."""
    part = next((part for part in spec.get("sources", ()) if part.get("streamed")), None)
    return spec if part is None else streamed_part(part)


def _parts(spec: Spec, stream: BinaryIO | None) -> list[Source]:
    return [open_source(part, stream=stream if part.get("streamed") else None) for part in spec["sources"]]


def _zip(spec: Spec, stream: BinaryIO | None) -> Zip:
    return Zip(_parts(spec, stream), streamed=any(part.get("streamed") for part in spec["sources"]))


def open_source(spec: Spec, *, stream: BinaryIO | None = None) -> Source:
    """The source that ``spec`` describes; ``stream`` is read instead of its path. Raises InputError."""
    kinds: dict[str, Callable[[], Source]] = {
        "args": lambda: Args(spec["values"], name=spec.get("name")),
        "rows": lambda: Rows.of(spec),
        "glob": lambda: Glob(spec["patterns"], folder=spec["folder"], may_miss=True),
        "lines": lambda: Lines(
            spec["path"],
            null=spec["null"],
            separator=spec["separator"],
            comments=spec.get("comments", True),
            stream=stream,
        ),
        "csv": lambda: Csv(spec["path"], delimiter=spec.get("delimiter", ","), stream=stream),
        "jsonl": lambda: JsonLines(spec["path"], spec["names"], whole=spec.get("whole", False), stream=stream),
        "zip": lambda: _zip(spec, stream),
        "product": lambda: Product(_parts(spec, stream)),
    }
    return kinds[spec["kind"]]()
