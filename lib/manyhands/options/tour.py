"""What can be said of all scenes of the tour together; what one scene takes is in `manyhands.tour.contents`."""

from __future__ import annotations

from typing import Literal

from manyhands.options.common import Json, Picture
from manyhands.options.declaration import option


class TopicOptions(Json):
    """What ``tour.list`` takes."""

    topic: str | None = option(
        None,
        help="processes, pools, talking, sharing, examples, brokers, threads, coroutines, events or remote (default: all)",
    )


class AllScenesOptions(TopicOptions):
    """What ``tour.all`` takes."""

    start_method: Literal["fork", "spawn", "forkserver"] = option(
        "fork", after="topic", help="how processes are made: fork, spawn or forkserver (default: fork)"
    )
    scale: float = option(0.2, help="multiply all waiting by this (default: 0.2)")


class CompareWaysOptions(Json, Picture):
    """What ``tour.compare`` takes."""

    work: Literal["cpu", "io"] = option("cpu", help="cpu: it computes; io: it waits (default: cpu)")
    sample: int = option(
        100, metavar="COUNT", help="so many jobs of about 10 ms, on each backend and at each width (default: 100)"
    )
