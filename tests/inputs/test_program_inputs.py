"""What a program has at hand becomes inputs: kept whole if it can be, else pulled only when it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from manyhands.inputs.program_inputs import AtHand, Iterating, source_of


def test_what_a_program_has_at_hand() -> None:
    """Strings, bytes, rows, mappings; lists can be told again, iterators are pulled lazily."""
    assert list(source_of(["a", b"b"])) == [(b"a",), (b"b",)]
    assert list(source_of([("a", "b")])) == [(b"a", b"b")]
    named = source_of([{"x": "1", "y": "2"}])
    assert named.columns == ("x", "y")
    assert isinstance(named, AtHand)
    pulled: list[int] = []

    def endless() -> object:
        for number in range(10**9):
            pulled.append(number)
            yield str(number)

    source = source_of(endless())  # type: ignore[arg-type]
    assert isinstance(source, Iterating)
    assert next(iter(source)) == (b"0",)
    assert len(pulled) == 1
    assert source_of(source) is source


def test_an_iterator_is_not_touched_before_it_is_iterated() -> None:
    """Its columns are known when its first item has come, whatever that is."""
    pulled: list[object] = []

    def rows() -> Iterator[object]:
        for row in ({"x": "1", "y": "2"}, {"y": "4", "x": "3"}):
            pulled.append(row)
            yield row

    source = source_of(rows())
    assert isinstance(source, Iterating)
    assert (pulled, source.shaped, source.columns) == ([], False, ())
    found = iter(source)
    assert next(found) == (b"1", b"2")
    assert (len(pulled), source.shaped, source.columns, source.width) == (1, True, ("x", "y"), 2)
    assert list(found) == [(b"3", b"4")]


class Host(NamedTuple):
    name: str
    port: int


def test_named_tuples_have_columns() -> None:
    """As the rows have that a data frame gives one after another."""
    for given in ([Host("a", 1), Host("b", 2)], iter([Host("a", 1), Host("b", 2)])):
        source = source_of(given)
        assert list(source) == [(b"a", b"1"), (b"b", b"2")]
        assert source.columns == ("name", "port")
