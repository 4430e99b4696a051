"""Several inputs in one job: each input in one group, none twice, and recorded groups stay as they were."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import InputError
from manyhands.core.job import Values
from manyhands.inputs.grouping import groups_of, in_groups, new_groups

pytestmark = pytest.mark.usefixtures("options_typed")

inputs = st.lists(st.one_of(st.none(), st.sampled_from([b"", b"a", b"b", b"c"])))


def flat(groups: list[Values | None]) -> list[bytes]:
    return list(chain.from_iterable(group for group in groups if group is not None))


@given(inputs, st.integers(1, 5))
def test_every_input_is_in_one_group(values: list[bytes | None], most: int) -> None:
    """In their order, all groups but the last are full, and a moment without input is passed on at once."""
    given_ = [value if value is None else (value,) for value in values]
    found = list(in_groups(given_, most))
    groups = [group for group in found if group is not None]
    assert flat(found) == [value for value in values if value is not None]
    assert all(len(group) == most for group in groups[:-1])
    assert all(0 < len(group) <= most for group in groups)
    assert found.count(None) == values.count(None)
    assert len(groups) == groups_of(len(flat(found)), most)


@given(
    st.lists(st.binary(max_size=2)), st.lists(st.binary(max_size=2)), st.integers(1, 5), st.integers(1, 5), st.randoms()
)
def test_recorded_groups_stay_as_they_were(
    first: list[bytes], new: list[bytes], most: int, later: int, chance: Random
) -> None:
    """Whatever is new, wherever it stands, and however large the groups are now: only what no group has had forms new ones."""
    recorded = [group for group in in_groups([(value,) for value in first], most) if group is not None]
    again = first + new
    chance.shuffle(again)
    found = flat(list(new_groups([(value,) for value in again], later, recorded)))
    assert Counter(found) == Counter(new)


def test_only_inputs_of_one_column_can_be_grouped() -> None:
    """Which of their columns an argument would be nobody could say."""
    with pytest.raises(InputError, match="--max-args is for inputs of one column, and this one has 2"):
        list(in_groups([(b"a",), (b"b", b"c")], 2))


def test_how_many_jobs_there_will_be() -> None:
    """As far as the inputs have been counted."""
    assert [groups_of(n, 3) for n in (0, 1, 3, 4)] == [0, 1, 1, 2]
    assert groups_of(None, 3) is None
    assert groups_of(7, None) == 7
