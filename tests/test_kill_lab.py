"""Killed with -9 at random points, over every option that holds state; see `kill_lab`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kill_lab import Ledger, Trial, described, try_out

pytestmark = [
    pytest.mark.sampled,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="what outlives a killed coordinator is found on Linux"),
]


SEEDS = [*range(1, 9), 107, 117, 119, 1007, 1022]
"""The first few, and some that have found a retry recorded twice, and quick results done again by the dozen."""


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_or_repeated_beyond_the_promise_and_nothing_lives_on(seed: int) -> None:
    """Some twenty kills; the seed of a failure repeats its trial: ``python tests/kill_lab.py --kills 1 --seed N``."""
    trial, _, faults = try_out(seed, patience=20)  # the promise is a second, which a busy machine cannot keep
    assert faults == [], described(trial)


ELSEWHERE = [
    ("ssh", 1),
    ("ssh", 2),
    ("redis", 1),
    ("redis", 2),
    ("redis", 4),
    ("celery", 2),
    ("celery", 3),
    ("rq", 2),
    ("rq", 5),
]


@pytest.mark.parametrize(("elsewhere", "seed"), ELSEWHERE)
def test_nor_on_other_machines(elsewhere: str, seed: int) -> None:
    """The same, with ``--backend ssh`` and so on; consumers of a queue go on after a kill, and every third one takes a consumer, too."""
    trial, _, faults = try_out(seed, elsewhere, patience=20)
    assert faults == [], described(trial)


def test_a_seed_stands_for_one_trial() -> None:
    """Also in another process: that is how a failure is seen again."""
    assert Trial.of(7) == Trial.of(7)
    assert Trial.of(7, "redis") == Trial.of(7, "redis") != Trial.of(7)
    assert len({described(Trial.of(seed)) for seed in range(50)}) == 50


def test_the_ledger_tells_two_copies_at_once(tmp_path: Path) -> None:
    """A copy that ends although a later one has begun; one that was killed has no end."""
    (tmp_path / "ledger").write_text(
        "begin 1 a 10\nbegin 1 a 11\nend 1 a 11 ok\nbegin 1 b 12\nbegin 1 b 13\nend 1 b 12 ok\nend 1 b 13 ok\n"
    )
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.overlaps() == ["b at stage 1"]
    assert (ledger.began()["1", "a"], ledger.ended_well()["1", "b"]) == (2, 2)
