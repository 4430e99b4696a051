"""Runs a command repeatedly: until it succeeds (`retry`), or to watch its result (`watch`).

Both yield what has happened and decide what comes next; the caller shows it. What runs each time is any function, here called
``once``, that runs commands on the ``tree`` and returns how they ended.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from signal import SIGINT
from typing import Literal

from manyhands.commands.command_tree import Tree
from manyhands.commands.pipeline import PipelineResult
from manyhands.core.errors import UsageError
from manyhands.core.limits import Backoff, RetryOn
from manyhands.core.records import dataclass
from manyhands.core.terminal_escapes import plain

Until = Literal["change", "success"] | re.Pattern[bytes] | None
"""What a `watch` waits for: the output differs from the first one, the status is 0, or the output, as people see it, matches."""


@dataclass(frozen=True, slots=True)
class Try:
    """One of several tries, counted from 1. ``wait``: seconds until the next; None after the last."""

    number: int
    result: PipelineResult
    wait: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """One of several looks, counted from 1, at ``at`` seconds since the epoch. ``changed``: since the look before; ``met``:
    what was waited for has come."""

    number: int
    at: float
    result: PipelineResult
    output: bytes
    changed: bool
    met: bool


def retry(
    once: Callable[[], PipelineResult],
    tree: Tree,
    *,
    times: int = 5,
    backoff: Backoff | float = 1.0,
    retry_on: RetryOn | None = None,
) -> Iterator[Try]:
    """Try ``times`` times at most, until it succeeds; between two tries wait as ``backoff`` says (seconds: the
    first wait, doubled for each further one).

    Only after ends that ``retry_on`` names, if it is given.
    A command that a signal from the terminal has ended (Ctrl-C) is not tried again, nor after a call of ``tree.stop``.
    Raises UsageError for fewer than one try.
    """
    if times < 1:
        raise UsageError(f"--times {times}: expected 1 or more")
    waits = backoff if isinstance(backoff, Backoff) else Backoff(backoff)
    for number in range(1, times + 1):
        result = once()
        over = result.ok or number == times or tree.stopped_by is not None or was_interrupted(result)
        over = over or not (retry_on is None or _covered(result, retry_on))
        wait = None if over else waits.wait(number)
        yield Try(number, result, wait)
        if wait is None or not tree.pause(wait):
            return


def watch(
    once: Callable[[float | None], PipelineResult],
    tree: Tree,
    *,
    every: float = 2.0,
    until: Until = None,
    times: int | None = None,
    timeout: float | None = None,
) -> Iterator[Look]:
    """Run it every ``every`` seconds, counted from start to start, until the result is ``until``, at most ``times`` times and for
    ``timeout`` seconds; ``once`` gets the seconds that are left. ``met`` of the last look says whether ``until`` was met."""
    first: bytes | None = None
    before: bytes | None = None
    number, due = 0, time.monotonic()
    deadline = math.inf if timeout is None else due + timeout
    while (times is None or number < times) and (left := deadline - time.monotonic()) > 0:
        number += 1
        at = time.time()
        result = once(left if timeout is not None else None)
        if tree.stopped_by is not None or was_interrupted(result):
            return
        output = (result.stdout or b"") + (result.stderr or b"")
        first = output if first is None else first
        changed = before is not None and output != before
        look = Look(number, at, result, output, changed, _met(until, result, output, first))
        yield look
        before = output
        due = max(due + every, time.monotonic())
        if look.met or number == times or not tree.pause(min(due, deadline) - time.monotonic()):
            return


def _met(until: Until, result: PipelineResult, output: bytes, first: bytes) -> bool:
    """Whether the look is what was waited for; ``first``: the output of the first look."""
    if isinstance(until, re.Pattern):
        return bool(until.search(_as_seen(output)))
    return output != first if until == "change" else result.ok if until == "success" else False


def _as_seen(output: bytes) -> bytes:
    """The output as people see it: without the control sequences of terminals, which may stand in the middle of a word."""
    return plain(output.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _covered(result: PipelineResult, rule: RetryOn) -> bool:
    """Whether one of the commands that failed ended as ``rule`` says."""
    failed = [stage for place, stage in enumerate(result.stages) if not result.is_fine(place)]
    return any(
        rule.covers("timeout" if one.timed_out else "failed", one.exit, one.signal, None)
        for one in failed
        if one.timed_out or one.error is None
    )


def was_interrupted(result: PipelineResult) -> bool:
    """Whether Ctrl-C has ended one of the commands; it was intended for us, too."""
    return any(stage.signal == SIGINT for stage in result.stages)
