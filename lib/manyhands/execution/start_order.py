"""The order in which jobs begin, if it is not that of the inputs: random, or the longest first.

If the longest jobs begin first, short ones come last, and no single job runs on alone at the end: the run takes never more than
4/3 of the best possible time (R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969). The journals of earlier runs of the
same work say how long a job takes; a job that they do not know counts as an average one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Job
from manyhands.options.choices import Order
from manyhands.storage.runs import Run
from manyhands.work.plan import Plan

_RUNS: Final = 10
"""How many earlier runs of the same work are read, the newest first."""


def arrange(jobs: Sequence[Job], order: Order, walls: Mapping[bytes, float]) -> Sequence[Job]:
    """``jobs`` in the order in which they should begin; ``walls``: seconds by key, where they are known."""
    if order == "random":
        import random

        return random.sample(jobs, len(jobs))
    if order == "longest" and walls:
        from statistics import median  # imported here: it needs fractions and decimal, which would slow every start

        usual = median(walls.values())
        return sorted(jobs, key=lambda job: walls.get(job.key, usual), reverse=True)
    return jobs


def walls_of(plan: Plan, runs: Iterable[Run]) -> dict[bytes, float]:
    """Seconds that each input took, by key, in the newest of ``runs`` (given newest first) that did the same work."""
    walls: dict[bytes, float] = {}
    for run in islice((run for run in runs if _same(plan, run)), _RUNS):
        try:
            with closing(run.journal()) as journal:
                for key, wall in journal.walls():
                    walls.setdefault(key, wall)
        except (ManyhandsError, OSError):  # damaged, or removed meanwhile: do without it
            continue
    return walls


def _same(plan: Plan, run: Run) -> bool:
    """Whether a run did the same work as ``plan``; the values of its environment do not matter for that."""
    try:
        return plan.same_work(Plan.from_json(run.record, dict.fromkeys(run.record["environment"], "")))
    except (ManyhandsError, KeyError, TypeError):
        return False
