"""Trying again, and looking again: how often, how long, until what."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest

from manyhands.commands.command_tree import Completed, Tree
from manyhands.commands.pipeline import PipelineResult
from manyhands.commands.retry import Look, retry, watch
from manyhands.core.errors import UsageError
from manyhands.core.limits import Backoff, RetryOn


def ended(status: int, printed: bytes = b"", number: int | None = None) -> PipelineResult:
    return PipelineResult((Completed(("x",), 1, None if number else status, number),), 0.0, printed)


@pytest.fixture
def tree() -> Iterator[Tree]:
    with Tree() as made:
        yield made


def test_it_is_tried_until_it_succeeds(tree: Tree) -> None:
    """Waits double; after the last there is none."""
    results = iter([ended(1), ended(2), ended(0), ended(9)])
    tries = list(retry(lambda: next(results), tree, times=5, backoff=0.01))
    assert [(one.number, one.result.returncode, one.wait) for one in tries] == [(1, 1, 0.01), (2, 2, 0.02), (3, 0, None)]


def test_it_is_tried_so_often_at_most(tree: Tree) -> None:
    """The last result is the last word."""
    tries = list(retry(lambda: ended(7), tree, times=3, backoff=0))
    assert [(one.number, one.wait) for one in tries] == [(1, 0.0), (2, 0.0), (3, None)]
    with pytest.raises(UsageError, match="--times 0"):
        next(retry(lambda: ended(0), tree, times=0))


def test_only_what_is_named_is_tried_again(tree: Tree) -> None:
    """Another failure is the last word."""
    results = iter([ended(75), ended(0, number=11), ended(1), ended(0)])
    rule = RetryOn.parse("75,SIGSEGV")
    tries = list(retry(lambda: next(results), tree, times=5, backoff=Backoff(0), retry_on=rule))
    assert [one.result.returncode for one in tries] == [75, 139, 1]


def test_ctrl_c_is_not_tried_again(tree: Tree) -> None:
    """A command that SIGINT ended was meant to end, and so are we."""
    assert len(list(retry(lambda: ended(0, number=2), tree, times=5, backoff=0))) == 1


def test_a_stop_ends_the_wait(tree: Tree) -> None:
    """At once."""
    began = time.monotonic()
    tries = retry(lambda: ended(1), tree, times=5, backoff=60)
    assert next(tries).wait == 60
    threading.Timer(0.05, tree.stop).start()
    assert list(tries) == []
    assert time.monotonic() - began < 30


def looks(tree: Tree, *results: PipelineResult, **options: object) -> list[Look]:
    left = iter(results)
    return list(watch(lambda _: next(left), tree, every=0.0, **options))  # type: ignore[arg-type]


def test_until_it_changes(tree: Tree) -> None:
    """Against the first look."""
    found = looks(tree, ended(0, b"a"), ended(0, b"a"), ended(0, b"b"), ended(0, b"c"), until="change")
    assert [(one.output, one.changed, one.met) for one in found] == [
        (b"a", False, False),
        (b"a", False, False),
        (b"b", True, True),
    ]


def test_until_it_succeeds(tree: Tree) -> None:
    """Whatever it prints."""
    assert [one.met for one in looks(tree, ended(1), ended(1, b"x"), ended(0), until="success")] == [False, False, True]


def test_until_it_prints(tree: Tree) -> None:
    """A pattern, also in bytes that are no text."""
    found = looks(tree, ended(1, b"not yet"), ended(1, b"\xff ready"), until=re.compile(b"^. ready"))
    assert [one.met for one in found] == [False, True]


def test_so_often_or_so_long_at_most(tree: Tree) -> None:
    """Each look is told what is left of the time."""
    assert len(looks(tree, ended(1), ended(1), ended(1), times=2)) == 2
    told: list[float | None] = []

    def once(left: float | None) -> PipelineResult:
        told.append(left)
        return ended(1)

    found = list(watch(once, tree, every=0.05, until="success", timeout=0.2))
    assert 2 <= len(found) <= 5
    assert all(left is not None and 0 < left <= 0.2 for left in told)
    assert not found[-1].met


def test_looks_keep_their_pace(tree: Tree) -> None:
    """From start to start, however long each takes."""
    moments = []

    def once(_: float | None) -> PipelineResult:
        moments.append(time.monotonic())
        time.sleep(0.05)
        return ended(0)

    list(watch(once, tree, every=0.1, times=3))
    assert moments[2] - moments[0] >= 0.2
