"""Reads files and streams of inputs: lines, comma separated values, JSON lines; lazily, and byte-exact except where noted.

`manyhands.inputs.sources` has the other sources, and opens all of them.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Final

from manyhands.core.errors import InputError, InputWarning
from manyhands.core.hints import given_as, switch_name
from manyhands.core.job import Values

Spec = dict[str, Any]
_BLOCK: Final = 1 << 16
_SECOND: Final = itemgetter(1)
_LONGEST_FIELD: Final = (1 << 31) - 1
"""The longest field of CSV, in bytes; the csv module's default of 131,072 is less than a function's argument may be."""


class Read(ABC):
    """The base of sources that read a file or a stream: opens it, and names it in errors."""

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

    @abstractmethod
    def pieces(self, file: BinaryIO) -> Iterator[object]:
        """One object for each input in ``file``, which holds the same bytes, in order to count them."""

    @property
    def called(self) -> str:
        return "standard input" if self.path == "-" else self.path

    def _unmarked(self, beginning: bytes) -> bytes:
        """The first bytes without a byte order mark. Raises InputError for the mark of UTF-16."""
        if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(
                f"{self.called} is UTF-16, not UTF-8: iconv -f UTF-16 -t UTF-8 makes a list of it that can be read"
            )
        return beginning.removeprefix(codecs.BOM_UTF8)


class Lines(Read):
    """One input per line, without its newline; empty lines are skipped, as by xargs(1). ``null``: inputs end with NUL instead, and
    nothing is skipped. Without ``comments``, lines of blanks and those that begin with ``#`` are skipped. ``separator``: a regular
    expression that splits each line into columns, as ``parallel --colsep``.

    A byte order mark at the beginning is removed. If the first line ends with CR LF, the list was made on another system, and the CR
    before each newline is removed (with an InputWarning); in any other list a CR is kept.
    """

    def __init__(
        self,
        path: str,
        *,
        null: bool = False,
        separator: str | None = None,
        comments: bool = True,
        stream: BinaryIO | None = None,
    ) -> None:
        self.null, self.separator, self.comments = null, separator, comments
        try:
            self._split = re.compile(os.fsencode(separator)).split if separator else None
        except re.error as error:
            raise InputError(f"{given_as('--colsep', repr(separator))} is not a regular expression: {error}") from None
        self.width = None if separator else 1
        super().__init__(path, stream)

    def __iter__(self) -> Iterator[Values]:
        with self._open() as file:
            pieces = self._until_nul(file) if self.null else self._lines(file, warn)
            if self._split:
                split = self._split
                yield from (tuple(split(piece)) for piece in pieces)
            else:
                yield from ((piece,) for piece in pieces)

    def pieces(self, file: BinaryIO) -> Iterator[object]:
        """See `Read.pieces`."""
        return self._until_nul(file) if self.null else self._lines(file, lambda _: None)

    def _lines(self, file: BinaryIO, say: Callable[[str], None]) -> Iterator[bytes]:
        lines = iter(file)
        first = self._unmarked(next(lines, b""))
        foreign, comments = first.endswith(b"\r\n"), self.comments
        if foreign:
            say(f"{self.called}: its lines end with CR LF; the CR is removed from the inputs")
        for number, line in enumerate(chain((first,), lines), 1):
            if b"\0" in line:
                raise InputError(
                    f"{self.called}, line {number}: holds a NUL byte; a list whose inputs end with NUL needs {switch_name('--null')}"
                )
            piece = line[:-2] if foreign and line.endswith(b"\r\n") else line.removesuffix(b"\n")
            if piece and (comments or (piece.strip() and not piece.lstrip().startswith(b"#"))):
                yield piece

    def _until_nul(self, file: BinaryIO) -> Iterator[bytes]:
        """The bytes before each NUL, as soon as it has arrived."""
        read = getattr(file, "read1", file.read)
        rest, any_nul = b"", False
        while block := read(_BLOCK):
            *pieces, rest = (rest + block).split(b"\0")
            any_nul = any_nul or bool(pieces)
            yield from pieces
        if not any_nul and b"\n" in rest:
            raise InputError(
                f"{self.called}: no input ends with NUL, but there are lines; leave out {switch_name('--null')}"
            )
        if rest:
            yield rest

    def spec(self) -> Spec:
        """See `Source.spec`."""
        spec = {"kind": "lines", "path": self.path, "null": self.null, "separator": self.separator}
        return spec if self.comments else spec | {"comments": False}


class Csv(Read):
    """Comma separated values (RFC 4180), or values with another ``delimiter``, whose first line names the columns.

    The delimiter is a TAB by default if the file's name ends with ``.tsv`` or ``.tab``."""

    def __init__(self, path: str, *, delimiter: str | None = None, stream: BinaryIO | None = None) -> None:
        self.delimiter = usual_delimiter(path) if delimiter is None else delimiter_of(delimiter)
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
        other = next((one for one in ";\t|" if one in header[0]), None)
        if self.width == 1 and other:
            named = "tab" if other == "\t" else repr(other)
            warn(
                f"{self.called}, line 1: one column, named {header[0]!r}; if {named} divides columns: {given_as('--delimiter', named)}"
            )

    def __iter__(self) -> Iterator[Values]:
        if self._rows is not None:
            yield from self._values(self._filled(self._rows))
            return
        with self._open() as file:
            yield from self._values(self.pieces(file))

    def pieces(self, file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
        """See `Read.pieces`."""
        rows = self._reader(file)
        next(rows, None)  # the names of the columns
        return self._filled(rows)

    def _filled(self, rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not blank lines, with their numbers."""
        return filter(_SECOND, enumerate(self._checked(rows, 2), 2))

    def _values(self, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Values]:
        for number, row in rows:
            if len(row) != self.width:
                raise InputError(
                    f"{self.called}, row {number}: {len(row)} column{'s' * (len(row) != 1)} where the first line names {self.width}"
                )
            yield tuple(field.encode("utf-8", "surrogateescape") for field in row)

    def _checked(self, rows: Iterator[list[str]], first: int) -> Iterator[list[str]]:
        try:
            yield from rows
        except csv.Error as error:
            raise InputError(f"{self.called}, after row {first}: not CSV ({error})") from None

    def _reader(self, file: BinaryIO) -> Iterator[list[str]]:
        unmarked = _Unclosed(file, self._unmarked)
        text = io.TextIOWrapper(unmarked, "utf-8", "surrogateescape", newline="")  # type: ignore[type-var]
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))  # of the whole process: never made smaller
        return csv.reader(text, strict=True, delimiter=self.delimiter)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {"kind": "csv", "path": self.path, "delimiter": self.delimiter}


class JsonLines(Read):
    """One JSON value per line. An object gives the columns ``names`` (without names, the whole line), an array gives columns by
    position, anything else is one value. Text is taken as it is, null as empty, the rest as JSON.
    ``whole``: the only column is the JSON text itself, as functions need it."""

    def __init__(
        self, path: str, names: Sequence[str] = (), *, whole: bool = False, stream: BinaryIO | None = None
    ) -> None:
        self.whole = whole
        self.columns = tuple(names)
        self.width = 1 if whole else len(self.columns) or None
        super().__init__(path, stream)
        if stream is None:  # read the first line now: a missing name should be reported before anything is run
            next(iter(self), None)

    def __iter__(self) -> Iterator[Values]:
        with self._open() as file:
            for number, line in self.pieces(file):
                yield self._values(line, number)

    def pieces(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """See `Read.pieces`."""
        for number, line in enumerate(file, 1):
            if number == 1:
                line = self._unmarked(line)
            if line and not line.isspace():
                yield number, line

    def _values(self, line: bytes, number: int) -> Values:
        try:
            found = json.loads(line)
        except ValueError as error:
            raise InputError(f"{self.called}, line {number}: not JSON ({error})") from None
        if self.whole:
            return (line.strip(),)
        if self.columns:
            missing = [name for name in self.columns if not isinstance(found, dict) or name not in found]
            if missing:
                there = ", ".join(found) if isinstance(found, dict) else "none, it is not an object"
                raise InputError(f"{self.called}, line {number}: there is no {missing[0]!r} (columns: {there})")
            return tuple(_text(found[name]) for name in self.columns)
        if isinstance(found, list):
            return tuple(map(_text, found))
        return (_text(found),)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        return {"kind": "jsonl", "path": self.path, "names": list(self.columns), "whole": self.whole}


def delimiter_of(text: str) -> str:
    """One character, or ``tab`` or ``\\t``. Raises InputError."""
    found = "\t" if text in ("tab", "\\t") else text
    if len(found) != 1 or found in '\r\n"':
        raise InputError(f"{given_as('--delimiter', repr(text))}: expected one character, such as ';', or tab")
    return found


def usual_delimiter(path: str) -> str:
    """The default delimiter of a file."""
    return "\t" if path.lower().endswith((".tsv", ".tab")) else ","


def warn(text: str) -> None:
    """Warn that inputs are not read byte for byte, or probably not as intended."""
    warnings.warn(text, InputWarning, stacklevel=3)


def _text(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return b"" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class _Unclosed(io.BufferedIOBase):
    """A binary file for a text wrapper that stays open when the wrapper is deleted; ``first`` gets the first bytes and returns
    those to use."""

    def __init__(self, file: BinaryIO, first: Callable[[bytes], bytes]) -> None:
        self._file = file
        self._read = getattr(file, "read1", file.read)
        self._first: Callable[[bytes], bytes] | None = first

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        data = bytes(self._read(size))
        if self._first is not None:
            while 0 < len(data) < 3 and (more := bytes(self._read(size))):  # a byte order mark may come in pieces
                data += more
            given, self._first = self._first(data), None
            return given or bytes(self._read(size))
        return data
