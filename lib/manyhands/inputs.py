"""Where inputs come from: argument lists, lines, files found by pattern, CSV, JSON lines, and products of these.

A source is iterated lazily and gives each input as a tuple of byte strings, its columns, byte-exact. What is wrong with it
is said when it is made (InputError), as far as that can be known before reading it all. Every source can describe itself
(`spec`) so that a run can be taken up again with the same inputs (`open_source`).
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from manyhands.errors import InputError
from manyhands.globbing import matching
from manyhands.job import Values
from manyhands.jsonable import keep_bytes, kept_bytes

Spec = dict[str, Any]
_BLOCK: Final = 1 << 16


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


class Iterating:
    """Inputs that a program makes one after another; they can be read only once."""

    total: int | None = None

    def __init__(
        self, rows: Iterable[Sequence[str | bytes]], columns: Sequence[str] = (), width: int | None = None
    ) -> None:
        self._rows, self.columns, self.width = rows, tuple(columns), width

    def __iter__(self) -> Iterator[Values]:
        return (tuple(os.fsencode(value) for value in row) for row in self._rows)

    def spec(self) -> Spec:
        """See `Source.spec`; nothing can make these inputs again."""
        return {"kind": "iterator"}


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


class _File:
    """What sources that read a file or a stream share: how it is opened, and what it is called in errors."""

    columns: tuple[str, ...] = ()
    width: int | None = None
    total: int | None = None

    def __init__(self, path: str, stream: BinaryIO | None) -> None:
        self.path, self._stream = path, stream
        if stream is None:
            with self._open():
                pass

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        if self._stream is not None:
            yield self._stream
            return
        try:
            with Path(self.path).open("rb") as file:
                yield file
        except FileNotFoundError:
            raise InputError(f"no such file: {self.path}") from None
        except IsADirectoryError:
            raise InputError(f"{self.path} is a folder, not a file of inputs") from None
        except PermissionError:
            raise InputError(f"no permission to read {self.path}") from None

    @property
    def called(self) -> str:
        return "standard input" if self.path == "-" else self.path


class Lines(_File):
    """One input a line, without its newline; empty lines are left out, as by xargs(1). ``null``: ended by NUL instead, and
    nothing is left out. ``separator``: a regular expression that splits each into columns, as ``parallel --colsep``."""

    def __init__(
        self, path: str, *, null: bool = False, separator: str | None = None, stream: BinaryIO | None = None
    ) -> None:
        self.null, self.separator = null, separator
        try:
            self._split = re.compile(os.fsencode(separator)).split if separator else None
        except re.error as error:
            raise InputError(f"--colsep {separator!r} is not a regular expression: {error}") from None
        self.width = None if separator else 1
        super().__init__(path, stream)

    def __iter__(self) -> Iterator[Values]:
        with self._open() as file:
            pieces = _until_nul(file) if self.null else (line.removesuffix(b"\n") for line in file if line != b"\n")
            if self._split:
                split = self._split
                yield from (tuple(split(piece)) for piece in pieces)
            else:
                yield from ((piece,) for piece in pieces)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {"kind": "lines", "path": self.path, "null": self.null, "separator": self.separator}


class Csv(_File):
    """Comma separated values (RFC 4180) whose first line names the columns."""

    def __init__(self, path: str, *, stream: BinaryIO | None = None) -> None:
        super().__init__(path, stream)
        self._rows: Iterator[list[str]] | None = None
        if stream is not None:
            self._rows = self._reader(stream)
            header = next(self._checked(self._rows, 1), None)
        else:
            with self._open() as file:
                header = next(self._checked(self._reader(file), 1), None)
        if not header:
            raise InputError(f"{self.called} is empty: the first line must name the columns")
        if "" in header or len(set(header)) < len(header):
            raise InputError(
                f"{self.called}, line 1: every column needs a name of its own, not {', '.join(map(repr, header))}"
            )
        self.columns, self.width = tuple(header), len(header)

    def __iter__(self) -> Iterator[Values]:
        if self._rows is not None:
            yield from self._values(self._rows)
            return
        with self._open() as file:
            rows = self._reader(file)
            next(rows)
            yield from self._values(rows)

    def _values(self, rows: Iterator[list[str]]) -> Iterator[Values]:
        for number, row in enumerate(self._checked(rows, 2), 2):
            if not row:
                continue
            if len(row) != self.width:
                raise InputError(
                    f"{self.called}, row {number}: {len(row)} columns where the first line names {self.width}"
                )
            yield tuple(field.encode("utf-8", "surrogateescape") for field in row)

    def _checked(self, rows: Iterator[list[str]], first: int) -> Iterator[list[str]]:
        try:
            yield from rows
        except csv.Error as error:
            raise InputError(f"{self.called}, after row {first}: not CSV ({error})") from None

    @staticmethod
    def _reader(file: BinaryIO) -> Iterator[list[str]]:
        text = io.TextIOWrapper(_Unclosed(file), "utf-8-sig", "surrogateescape", newline="")  # type: ignore[type-var]
        return csv.reader(text, strict=True)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {"kind": "csv", "path": self.path}


class JsonLines(_File):
    """One JSON value a line. Of an object the columns ``names`` are taken (all of the line if there are none), an array is
    columns by position, anything else is one value. Text is taken as it is, null as nothing, the rest as JSON.
    ``whole``: the one column is the JSON text itself, as functions want it."""

    def __init__(
        self, path: str, names: Sequence[str] = (), *, whole: bool = False, stream: BinaryIO | None = None
    ) -> None:
        self.whole = whole
        self.columns = tuple(names)
        self.width = 1 if whole else len(self.columns) or None
        super().__init__(path, stream)
        if stream is None:  # a look at the first line: a name that is not there should be told before anything is run
            next(iter(self), None)

    def __iter__(self) -> Iterator[Values]:
        with self._open() as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield self._values(line, number)

    def _values(self, line: bytes, number: int) -> Values:
        try:
            found = json.loads(line)
        except ValueError as error:
            raise InputError(f"{self.called}, line {number}: not JSON ({error})") from None
        if self.whole:
            return (line.strip(),)
        if self.columns:
            lacking = [name for name in self.columns if not isinstance(found, dict) or name not in found]
            if lacking:
                there = ", ".join(found) if isinstance(found, dict) else "none, it is no object"
                raise InputError(f"{self.called}, line {number}: there is no {lacking[0]!r} (columns: {there})")
            return tuple(_text(found[name]) for name in self.columns)
        if isinstance(found, list):
            return tuple(map(_text, found))
        return (_text(found),)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {"kind": "jsonl", "path": self.path, "names": list(self.columns), "whole": self.whole}


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


def source_of(inputs: Source | Iterable[str | bytes | Sequence[str | bytes] | Mapping[str, str]]) -> Source:
    """A source of what a program has at hand: strings or bytes, sequences of them, or mappings by column name.

    What the first one is, all must be. A list or tuple is kept whole (it can be resumed), anything else is pulled lazily.
    """
    if hasattr(inputs, "spec"):
        return inputs  # type: ignore[return-value]  # it is a Source
    iterator = iter(inputs)
    first = list(itertools.islice(iterator, 1))
    everything: Iterable[Any] = itertools.chain(first, iterator)
    kept = isinstance(inputs, list | tuple)
    if first and isinstance(first[0], Mapping):
        columns = tuple(first[0])
        rows = ([row[name] for name in columns] for row in everything)
        return Rows(rows, columns) if kept else Iterating(rows, columns, len(columns))
    if first and not isinstance(first[0], str | bytes):
        return Rows(everything) if kept else Iterating(everything)
    return Args(everything) if kept else Iterating(((one,) for one in everything), width=1)


def open_source(spec: Spec, *, stream: BinaryIO | None = None) -> Source:
    """The source that ``spec`` describes; ``stream`` is read instead of its path. Raises InputError."""
    kinds: dict[str, Callable[[], Source]] = {
        "args": lambda: Args(spec["values"], name=spec.get("name")),
        "rows": lambda: Rows.of(spec),
        "glob": lambda: Glob(spec["patterns"], folder=spec["folder"], may_miss=True),
        "lines": lambda: Lines(spec["path"], null=spec["null"], separator=spec["separator"], stream=stream),
        "csv": lambda: Csv(spec["path"], stream=stream),
        "jsonl": lambda: JsonLines(spec["path"], spec["names"], whole=spec.get("whole", False), stream=stream),
        "product": lambda: Product([open_source(part) for part in spec["sources"]]),
    }
    return kinds[spec["kind"]]()


def _until_nul(file: BinaryIO) -> Iterator[bytes]:
    """What stands before each NUL, as soon as it has come."""
    read = getattr(file, "read1", file.read)
    rest = b""
    while block := read(_BLOCK):
        *pieces, rest = (rest + block).split(b"\0")
        yield from pieces
    if rest:
        yield rest


def _text(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return b"" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class _Unclosed(io.BufferedIOBase):
    """A binary file as a text wrapper wants it, but which stays open when the wrapper goes away."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._read = getattr(file, "read1", file.read)

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        return bytes(self._read(size))
