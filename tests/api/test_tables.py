"""Tables and series as pandas has them, for programs: refused as the inputs, kept as results. Stand-ins, because both are
recognised by their shape, not by their name, and pandas is a large package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import functions
from manyhands import WrongTypeError, map_batch, run_batch
from manyhands.inputs.program_inputs import source_of


class Row(NamedTuple):
    """As ``df.itertuples(index=False)`` gives them."""

    host: str
    port: int


class Table:
    """As pandas.DataFrame: iterated, it gives the names of its columns; its truth and its comparison are no bools."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[str]:
        return iter(Row._fields)

    def itertuples(self, index: bool = True) -> Iterator[Row]:
        """The rows."""
        return iter(self.rows)

    def __bool__(self) -> bool:
        raise ValueError("The truth value of a DataFrame is ambiguous.")

    def __eq__(self, other: object) -> Any:
        return Table(self.rows)

    __hash__ = None  # type: ignore[assignment]


TABLE: Any = Table([Row("a", 1), Row("b", 2)])


def table_of(count: int) -> Table:
    """A result."""
    return Table([Row("x", count)])


@pytest.mark.parametrize(
    "call",
    [
        lambda: run_batch("ping {host}", TABLE),
        lambda: run_batch(functions.double, TABLE),
        lambda: map_batch(functions.double, TABLE),
        lambda: run_batch("echo", ["a"], then=TABLE),
        lambda: run_batch(functions.double, [1], initargs=TABLE),
    ],
)
def test_a_table_as_the_inputs_is_refused_in_one_line(call: Callable[[], Any]) -> None:
    """It would give the names of its columns; the line says what gives its rows."""
    with pytest.raises(WrongTypeError) as told:
        call()
    assert "a Table would give the names of its columns: give df.to_dict('records'), or df.itertuples" in str(told.value)
    assert "\n" not in str(told.value)


def test_its_rows_are_inputs() -> None:
    """With the columns by name."""
    source = source_of(TABLE.itertuples(index=False))
    assert list(map(tuple, source)) == [(b"a", b"1"), (b"b", b"2")]
    assert source.columns == ("host", "port")


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_what_has_no_truth_is_a_result_like_others(backend: str, tmp_path: Any, nothing_left: None) -> None:
    """Nobody asks for its truth, or compares it; it comes back as it was returned."""
    with run_batch(table_of, [3, 4], backend=backend, ordered=True, jobs=2, state_dir=tmp_path) as run:
        found = [outcome.value for outcome in run]
    assert [(type(one), one.rows) for one in found] == [(Table, [Row("x", 3)]), (Table, [Row("x", 4)])]
    if backend == "processes":
        assert [one.rows for one in map_batch(table_of, [3], jobs=1)] == [[Row("x", 3)]]


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_a_table_is_an_input_like_others(backend: str, tmp_path: Any, nothing_left: None) -> None:
    """As one of several."""
    with run_batch(rows_of, [TABLE, TABLE], backend=backend, jobs=1, state_dir=tmp_path) as run:
        assert [outcome.value for outcome in run] == [2, 2]


def rows_of(table: Table) -> int:
    """How many rows it has."""
    return len(table.rows)
