"""Inputs that a program has in a list, or makes one after another.

    item --columns_of, or `manyhands.work.function.encode`--> Given: the columns, and the item itself

Separate from `sources`, whose sources can describe themselves, so that a run can be resumed without the program.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from manyhands.core.arguments import argument_of, check_several, is_number
from manyhands.core.errors import InputError
from manyhands.core.job import Values
from manyhands.inputs.sources import Rows, Source, Spec
from manyhands.inputs.value_file import Place, Placed, kept_spec, write_all
from manyhands.posix.durable_files import Disk

_FEW: Final = 1000
_FEW_BYTES: Final = 1 << 16

Convert = Callable[[Any], Values]
"""Makes the columns of an input."""


class Given(Placed):
    """The columns of an input, with the object that they were made of."""

    item: Any

    @classmethod
    def of(cls, columns: Iterable[bytes], item: object, place: Place | None = None) -> Given:
        """``columns`` of ``item``."""
        made = cls(columns)
        made.item = item
        if place is not None:
            made.place = place
        return made


class AtHand:
    """Inputs in a list; a run of them can be resumed without the program. They are kept in run.json if they are few, else in a file of
    their own."""

    def __init__(self, items: Sequence[Any], columns: Sequence[str], convert: Convert) -> None:
        """Raises InputError for an item that cannot be converted."""
        self.items, self.columns = items, tuple(columns)
        try:
            self.rows = [convert(item) for item in items]
        except InputError:
            self.rows = list(_converted(items, convert))  # raises the same, and says which
        self.total: int | None = len(self.rows)
        widths = set(map(len, self.rows))
        self.width = widths.pop() if len(widths) == 1 else None
        self.places: dict[int, Place] = {}
        """Where those that are not small are stored, by their numbers from 1."""
        self._file = ""

    def __iter__(self) -> Iterator[Values]:
        places = self.places
        for number, (values, item) in enumerate(zip(self.rows, self.items, strict=True), 1):
            yield Given.of(values, item, places.get(number))

    @property
    def few(self) -> bool:
        """Whether they fit into run.json."""
        return len(self.rows) <= _FEW and sum(sum(map(len, values)) for values in self.rows) <= _FEW_BYTES

    def named(self, name: str) -> Spec:
        """What `spec` is from now on: they will be in the file ``name`` of the run's folder."""
        self._file = name
        return self.spec()

    def keep(self, folder: Path, disk: Disk, last: ExitStack, *, wait: bool = False) -> None:
        """Store them in that file. The disk writes much when ``last`` is left, or before this returns if it is to ``wait``. Raises OSError."""
        self.places = write_all(folder / self._file, disk, self.rows, last, wait=wait)

    def spec(self) -> Spec:
        """See `Source.spec`."""
        if not self.few:
            return kept_spec(self._file, len(self.rows), self.columns, self.width)
        return Rows(self.rows, self.columns).spec()


class Iterating:
    """Inputs that a program makes one after another; they can be read only once.

    With ``convert`` they have ``width`` columns. Without, they are anything that `source_of` accepts: all must be of the same kind as
    the first one, and ``columns`` and ``width`` are known when that has arrived.
    """

    total: int | None = None

    def __init__(self, items: Iterable[Any], width: int | None = None, convert: Convert | None = None) -> None:
        self._items, self.width, self._convert = items, width, convert
        self.columns: tuple[str, ...] = ()
        self.preferred: tuple[str, ...] = ()
        """The order of the columns, if the items are mappings with exactly these keys."""

    @property
    def shaped(self) -> bool:
        """Whether ``columns`` and ``width`` are known."""
        return self._convert is not None

    def __iter__(self) -> Iterator[Values]:
        items = iter(self._items)
        if self._convert is None:
            first = list(itertools.islice(items, 1))
            self.columns, self._convert = shape_of(first, self.preferred)
            self.width = len(self.columns) or (1 if self._convert is _single else None)
            items = itertools.chain(first, items)
        convert = self._convert
        for number, item in enumerate(items, 1):
            try:
                found = convert(item)
            except InputError as error:
                raise InputError(f"input {number}: {error}") from None
            yield Given.of(found, item)

    def spec(self) -> Spec:
        """See `Source.spec`; nothing can make these inputs again."""
        return {"kind": "iterator"}


def source_of(inputs: Source | Iterable[Any], convert: Convert | None = None) -> Source:
    """A source of a program's inputs; ``convert`` is for functions, for which an input is one column.

    For commands: texts, bytes, paths and numbers, or rows of these: sequences, mappings by column name, named tuples, dataclasses. All
    must be of the same kind as the first one. A list or tuple is stored as a whole (it can be resumed), anything else is read lazily.
    Raises WrongTypeError.
    """
    if hasattr(inputs, "spec"):
        return inputs  # type: ignore[return-value]  # it is a Source
    check_several("inputs", inputs)
    if not isinstance(inputs, list | tuple | range):
        return Iterating(inputs, None if convert is None else 1, convert)
    if convert:
        return AtHand(inputs, (), convert)
    return AtHand(inputs, *shape_of(inputs[:1]))


def shape_of(first: Sequence[Any], preferred: Sequence[str] = ()) -> tuple[tuple[str, ...], Convert]:
    """(the names of the columns, if any; how to get the columns of an input) from the first input, if there is one."""
    if not first or _is_one(first[0]):
        return (), _single
    item = first[0]
    if isinstance(item, Mapping):
        names = tuple(map(str, item))
        names = tuple(preferred) if sorted(preferred) == sorted(names) else names
        return names, lambda row: _named(row, names)
    if isinstance(item, tuple) and hasattr(item, "_fields"):  # a named tuple, as the rows of a data frame are
        return tuple(item._fields), _row
    if hasattr(item, "__dataclass_fields__"):
        from dataclasses import fields

        names = tuple(field.name for field in fields(item))
        return names, lambda row: tuple(argument_of(getattr(row, name)) for name in names)
    if hasattr(item, "__iter__"):
        return (), _row
    argument_of(item)  # raises the InputError
    return (), _single


def _single(item: object) -> Values:
    return (argument_of(item),)


def _row(row: Iterable[object]) -> Values:
    if _is_one(row):
        raise InputError(f"expected a row of columns, as the first one is, not {row!r:.60}")
    return tuple(map(argument_of, row))


def _named(row: Mapping[str, object], names: Sequence[str]) -> Values:
    try:
        return tuple(argument_of(row[name]) for name in names)
    except (LookupError, TypeError):
        raise InputError(f"expected columns {', '.join(names)}, as the first one has, not {row!r:.200}") from None


def _is_one(item: object) -> bool:
    return isinstance(item, str | bytes | os.PathLike) or is_number(item) or getattr(item, "ndim", None) == 0


def _converted(items: Iterable[Any], convert: Convert) -> Iterator[Values]:
    for number, item in enumerate(items, 1):
        try:
            yield convert(item)
        except InputError as error:
            raise InputError(f"input {number}: {error}") from None
