"""How the last execution of a run has ended, kept for those who ask later: ``batch.wait``, ``batch.watch``."""

from __future__ import annotations

from typing import Any

from manyhands.core.events import Summary
from manyhands.core.job import Status
from manyhands.storage.runs import Run


def how_it_ended(summary: Summary, run: Run) -> dict[str, Any]:
    """What run.json gets to say why an execution did not do everything, for `summary_of`; nothing if it has no reason, nor had one before."""
    why = {"stopped_by": summary.stopped_by, "halted": summary.halted, "early": summary.early}
    given = {name: value for name, value in why.items() if value}
    return {"ended": given} if given or run.record.get("ended") else {}


def summary_of(
    run: Run, counts: dict[Status, int], left: int, executions: list[tuple[float, float, bool]], wall: float
) -> Summary:
    """What a run came to, of which nobody carries out anything; ``wall``: its seconds, if no execution has noted them."""
    total, how = run.record.get("total"), run.record.get("ended") or {}
    complete = bool(executions) and executions[-1][2]
    return Summary(
        run.id,
        counts,
        left,
        unread=total is None and not complete,
        wall=executions[-1][1] if executions else wall,
        stopped_by=how.get("stopped_by"),
        halted=how.get("halted"),
        total=total,
        early=bool(how.get("early")),
    )
