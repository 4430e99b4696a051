"""In which order jobs begin, where that is not the order of the inputs: at random, or the longest first.

Whoever begins with the longest jobs ends with short ones, so that no single job keeps everybody waiting at the end: never more
than 4/3 of the best possible time (R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969). How long a job takes is
what the journals of earlier runs of the same work say; what they do not know is taken for an average one.
"""

from __future__ import annotations

import random
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
"""Earlier runs of the same work that are asked, the newest first."""


def arrange(jobs: Sequence[Job], order: Order, walls: Mapping[bytes, float]) -> Sequence[Job]:
    """``jobs`` in the order in which they shall begin; ``walls``: seconds by key, where they are known."""
    if order == "random":
        return random.sample(jobs, len(jobs))
    if order == "longest" and walls:
        from statistics import median  # and fractions, and decimal: a worker would wait for them, too

        usual = median(walls.values())
        return sorted(jobs, key=lambda job: walls.get(job.key, usual), reverse=True)
    return jobs


def walls_of(plan: Plan, runs: Iterable[Run]) -> dict[bytes, float]:
    """How long each input took, by key, in the newest of ``runs`` (the newest first) that did the same work and knows it."""
    walls: dict[bytes, float] = {}
    for run in islice((run for run in runs if _same(plan, run)), _RUNS):
        try:
            with closing(run.journal()) as journal:
                for key, wall in journal.walls():
                    walls.setdefault(key, wall)
        except (ManyhandsError, OSError):  # damaged, or removed meanwhile: one source of advice less
            continue
    return walls


def _same(plan: Plan, run: Run) -> bool:
    """Whether a run did what ``plan`` asks for; secrets of its environment do not matter for that."""
    try:
        return plan.same_work(Plan.from_json(run.asked, dict.fromkeys(run.asked["environment"], "")))
    except (ManyhandsError, KeyError, TypeError):
        return False
