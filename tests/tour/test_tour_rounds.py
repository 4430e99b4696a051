"""All scenes of the tour beside two busy loops; see `tour_rounds`."""

from __future__ import annotations

import pytest

from manyhands.tour.contents import SCENES
from tour_rounds import rounds


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_none_is_said_not_to_be_seen() -> None:
    """In one round, on a machine as busy as it may be: some may say that it was too busy, none that it has failed."""
    found, wrong = rounds(1)
    assert wrong == []
    assert set(found) == set(SCENES)
