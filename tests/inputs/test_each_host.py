"""Each input for every host: a column more, and everything else as it was."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from manyhands.core.errors import UsageError
from manyhands.inputs.each_host import hosts_alone, on_each, spec_on_each
from manyhands.inputs.program_inputs import Given, source_of
from manyhands.inputs.sources import Args, Rows, open_source, streamed_part

HOSTS = ["web1", "ops@db1"]


def test_each_input_for_every_host() -> None:
    """The first input on all hosts, then the second; as many as both together."""
    source = on_each(Args(["a", "b"]), HOSTS)
    assert [*source] == [(b"a", b"web1"), (b"a", b"ops@db1"), (b"b", b"web1"), (b"b", b"ops@db1")]
    assert (source.total, source.width, source.columns) == (4, 2, ())


def test_named_columns_get_a_name_more() -> None:
    """``host``; inputs that have one of their own are refused."""
    assert on_each(Rows([["1", "2"]], ["x", "y"]), HOSTS).columns == ("x", "y", "host")
    assert hosts_alone(HOSTS).columns == ("host",)
    with pytest.raises(UsageError, match="have a column 'host' of their own"):
        on_each(Args(["a"], name="host"), HOSTS)


@pytest.mark.parametrize("many", [3, 2000])
def test_a_list_keeps_its_items(many: int) -> None:
    """Few or many, each job has the very object."""
    items = [{"x": number} for number in range(many)]
    source = on_each(source_of(items), HOSTS)
    found = [*source]
    assert all(isinstance(one, Given) and one.item is items[place // 2] for place, one in enumerate(found))
    assert found[1] == (b"0", b"ops@db1")
    assert (source.total, source.columns, source.width) == (2 * many, ("x", "host"), 2)


def test_an_iterator_is_pulled_one_by_one() -> None:
    """Its columns are known with its first item."""
    pulled: list[int] = []

    def items() -> Iterator[dict[str, int]]:
        for number in range(9):
            pulled.append(number)
            yield {"x": number}

    values = iter(source := on_each(source_of(items()), HOSTS))
    assert [next(values), next(values)] == [(b"0", b"web1"), (b"0", b"ops@db1")]
    assert (source.columns, source.width, pulled) == (("x", "host"), 2, [0])


def test_it_is_made_again_from_its_description() -> None:
    """Of a stream, too, also if that is one of several linked sources."""
    lines = {"kind": "lines", "path": "-", "null": False, "separator": None}
    spec = spec_on_each(lines, HOSTS, streamed=True)
    assert streamed_part(spec)["kind"] == "lines"
    assert [*open_source(spec, stream=io.BytesIO(b"a\nb\n"))] == [*on_each(Args(["a", "b"]), HOSTS)]
    both = {"kind": "zip", "sources": [lines | {"streamed": True}, Args(["1", "2"]).spec()]}
    linked = spec_on_each(both, HOSTS[:1], streamed=True)
    assert streamed_part(linked)["path"] == "-"
    assert [*open_source(linked, stream=io.BytesIO(b"a\nb\n"))] == [(b"a", b"1", b"web1"), (b"b", b"2", b"web1")]
    assert [*open_source(spec_on_each(Args(["a"]).spec(), HOSTS, streamed=False))] == [
        (b"a", b"web1"),
        (b"a", b"ops@db1"),
    ]
