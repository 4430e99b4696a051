"""Runs without a name that ended wholly well go after a while; nothing else ever does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli
from manyhands import run_batch
from manyhands.core.errors import UsageError
from manyhands.storage.expiry import expire, parse_keep
from manyhands.storage.runs import Store

pytestmark = pytest.mark.usefixtures("options_typed")

DAY = 86400.0


def made_old(store: Store) -> None:
    """As if all that is there had been written a year ago."""
    for run in store.all():
        os.utime(run.path / "journal.db", (time.time() - 365 * DAY,) * 2)


def test_only_runs_that_nobody_will_look_for_go(tmp_path: Path) -> None:
    """Not those with a name, with a failure, with something left, nor those that are young; and not twice a day."""
    store = Store(tmp_path)
    options: dict[str, Any] = {"state_dir": tmp_path, "jobs": 1}
    good = run_batch("true {}", ["a"], **options)
    staged = run_batch("true {}", ["a"], then=["true {}"], **options)
    named = run_batch("true {}", ["a"], run_id="deadbeef", **options)
    failed = run_batch("test {} = b", ["a"], **options)
    left = run_batch("test {} = b", ["a", "b"], halt="now,fail=1", **options)
    for one in (good, staged, named, failed, left):
        list(one)
    made_old(store)
    young = run_batch("true {}", ["a"], keep="forever", **options)
    list(young)
    assert expire(store, 90 * DAY, time.time()) is None  # the runs above have had today's look
    said = expire(store, 90 * DAY, time.time() + 2 * DAY)
    assert said == "removed 2 runs without a name that ended well more than 90 days ago (--keep forever keeps them)"
    assert {run.id for run in store.all()} == {one.run_id for one in (named, failed, left, young)}


def test_how_long_is_said_at_the_border() -> None:
    """A duration, or for ever."""
    assert (parse_keep("90d"), parse_keep("forever"), parse_keep(5)) == (90 * DAY, None, 5.0)
    with pytest.raises(UsageError, match="--keep 'long': expected"):
        parse_keep("long")


def test_a_line_says_so(cli: Cli, own_state: Path) -> None:
    """At the beginning of the next run."""
    list(run_batch("true {}", ["a"]))
    made_old(Store(own_state))
    (own_state / "expired").unlink(missing_ok=True)
    done = cli("batch", "true {}", "--keep", "30d", "--", "b")
    assert "manyhands: removed 1 run without a name that ended well more than 30 days ago" in done.stderr
    assert len(Store(own_state).all()) == 1
