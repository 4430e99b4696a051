"""All inputs are divided: completely, in the same way on every machine, and by recorded times well."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.job import Values
from manyhands.inputs.program_inputs import Given, source_of
from manyhands.inputs.recorded_times import RecordedTimes
from manyhands.inputs.sharing import divide, parts_of
from manyhands.inputs.sources import Args, Rows

WALLS = st.lists(st.integers(0, 1000).map(float), max_size=7)


def loads(walls: list[float], count: int) -> list[float]:
    """What each part takes."""
    found = [0.0] * count
    for wall, part in zip(walls, parts_of(walls, count), strict=True):
        found[part] += wall
    return found


@given(WALLS, st.integers(1, 4))
def test_never_more_than_four_thirds_of_the_best(walls: list[float], count: int) -> None:
    """Compared with the best of all divisions."""
    best = min(
        max(sum(w for w, p in zip(walls, way, strict=True) if p == part) for part in range(count))
        for way in product(range(count), repeat=len(walls))
    )
    assert max(loads(walls, count)) <= 4 / 3 * best + 1e-9


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(1, 12))
def test_many_jobs(walls: list[float], count: int) -> None:
    """No part takes longer than an equal share and the longest job; and 4/3 of an equal share, where no job is longer than a third of it."""
    longest, equal = max(walls), sum(walls) / count
    took = max(loads(walls, count))
    assert took <= (equal + longest * (1 - 1 / count)) * (1 + 1e-9)
    if longest <= equal / 3:
        assert took <= 4 / 3 * equal * (1 + 1e-9)


def test_equal_ones_go_to_the_first() -> None:
    """So that every machine reckons the same."""
    assert parts_of([1.0] * 5, 2) == [0, 1, 0, 1, 0]
    assert parts_of([1, 1, 1, 9, 1], 2) == [1, 1, 1, 0, 1]


def times(**seconds: float) -> RecordedTimes:
    return RecordedTimes({name.encode(): wall for name, wall in seconds.items()}, "digest")


@given(st.lists(st.sampled_from("abc")), st.integers(1, 5), st.booleans(), st.sampled_from([None, 1, 2, 3]))
def test_every_job_is_in_one_part(inputs: list[str], count: int, by_time: bool, group: int | None) -> None:
    """Also inputs that come more than once, and groups, which are the same as without parts; the digest is that of all inputs."""
    recorded = times(a=5, b=1) if by_time else None
    parts = [divide(Args(inputs), k, count, group=group, times=recorded) for k in range(1, count + 1)]
    assert len({(part.total, part.inputs) for part in parts}) == 1
    size = group or 1
    whole = [inputs[at : at + size] for at in range(0, len(inputs), size)]
    found: dict[int, list[str]] = {}
    for part in parts:
        flat = [values[0].decode() for values in part.share]
        for place, number in enumerate(part.numbers):
            assert number not in found
            found[number] = flat[place * size : (place + 1) * size]
    assert [found[number] for number in sorted(found)] == whole
    assert sorted(found) == list(range(1, len(whole) + 1))


@pytest.mark.parametrize(
    "other", [Args(["a", "c"]), Args(["b", "a"]), Args(["ab"]), Rows([["a", "b"]]), Args(["a", "b"], name="x")]
)
def test_other_inputs_have_another_digest(other: Args | Rows) -> None:
    """Their values, order, borders and columns count."""
    assert divide(other, 1, 1).inputs != divide(Args(["a", "b"]), 1, 1).inputs
    assert divide(Args(["a", "b"]), 1, 1, group=2).inputs != divide(Args(["a", "b"]), 1, 1).inputs


def test_the_items_of_a_program_stay_with_their_inputs() -> None:
    """From a list and from an iterator, and in groups."""
    items = [1, 2, 3, 4, 5]
    for given_items in (items, iter(items)):
        share = divide(source_of(given_items), 2, 2).share
        assert [values.item for values in share if isinstance(values, Given)] == [2, 4]
    grouped = divide(source_of(items), 1, 2, group=2).share
    assert [values.item for values in grouped if isinstance(values, Given)] == [1, 2, 5]


def test_unknown_jobs_count_as_usual_ones() -> None:
    """As the median of the known; if none is known, all are equal."""

    def of(*names: str) -> list[Values]:
        return [(name.encode(),) for name in names]

    assert times(a=5, b=1, c=9).walls(of("a", "x", "b", "c")) == [5, 5, 1, 9]
    assert times().walls(of("a", "b")) == [1, 1]


def test_a_hundred_thousand_inputs() -> None:
    """By turns and by times: the parts together are all, and none has more than its share by one job."""
    inputs = [f"f{number}" for number in range(100_000)]
    recorded = RecordedTimes({name.encode(): 1.0 + number % 7 for number, name in enumerate(inputs)}, "d")
    for by in (None, recorded):
        parts = [divide(Args(inputs), k, 3, times=by) for k in (1, 2, 3)]
        assert sum(len(part.numbers) for part in parts) == 100_000 == len(set().union(*(part.numbers for part in parts)))
        walls = [sum((by or recorded).walls(part.share)) for part in parts]
        assert by is None or max(walls) - min(walls) <= 7
