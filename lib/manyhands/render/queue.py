"""A queue in words: what ``queue.status`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from manyhands.backends.queue.inspection import ConsumerStatus, RunStatus
from manyhands.render.table import table


def status_lines(consumers: Sequence[ConsumerStatus], runs: Sequence[RunStatus]) -> Iterator[str]:
    """A table of consumers, and one of runs."""
    if consumers:
        rows = [(one.name, one.slots, sum(one.running.values()), _state(one), _allowed(one)) for one in consumers]
        yield from table(("consumer", "slots", "running", "state", "allows"), rows, right=("slots", "running"))
    else:
        yield "no consumers"
    yield ""
    if runs:
        cells = [(one.name, one.waiting, one.running, "paused" if one.paused else "active") for one in runs]
        yield from table(("run", "waiting", "running", "state"), cells, right=("waiting", "running"))
    else:
        yield "no runs"


def _state(one: ConsumerStatus) -> str:
    return "draining" if one.draining else "busy" if sum(one.running.values()) >= one.slots else "free"


def _allowed(one: ConsumerStatus) -> str:
    return ", ".join([*(["commands"] if one.commands else []), *one.functions])


def consumer_record(one: ConsumerStatus) -> dict[str, Any]:
    """A consumer for programs."""
    return {
        "kind": "consumer",
        "name": one.name,
        "host": one.host,
        "pid": one.pid,
        "slots": one.slots,
        "running": dict(one.running),
        "draining": one.draining,
        "commands": one.commands,
        "functions": [*one.functions],
    }


def run_record(one: RunStatus) -> dict[str, Any]:
    """A run for programs."""
    return {"kind": "run", "name": one.name, "waiting": one.waiting, "running": one.running, "paused": one.paused}
