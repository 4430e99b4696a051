"""What all ways of washing up have in common: the dishes, who works, and what is done to a dish; by processes, threads or greenlets.

Apart from `dishes` and `dishes_ways`, which both use it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from multiprocessing import JoinableQueue, Process
from typing import Any

from manyhands.tour.scene_tools import doing, scaled

NAMES = ("the salad", "the bread", "the entree", "the dessert")
"""What the first four dishes are called; the others have numbers."""
STEPS = {"wash": "washes {name}", "dry": "dries {name}", "put": "puts {name} away"}
"""What is done to a dish, in this order."""
WHO = {"wash": "washer", "dry": "dryer", "put": "stacker"}


def name_of(dish: int) -> str:
    """In words."""
    return NAMES[dish - 1] if dish <= len(NAMES) else f"dish {dish}"


def rack_of(via: str, size: int) -> Any:
    """A queue that holds ``size`` dishes, or any number if that is 0."""
    if via == "gevent":
        from gevent.queue import JoinableQueue as Rack

        return Rack(size or None)
    return JoinableQueue(size) if via == "process" else queue.Queue(size)


def start(via: str, name: str, function: Callable[..., None], *arguments: Any) -> Any:
    """Somebody of this name, who works beside the others, and can be joined."""
    if via == "gevent":
        import gevent

        greenlet = gevent.spawn(function, *arguments)
        greenlet.name = name
        return greenlet
    kind: Any = Process if via == "process" else threading.Thread
    hand = kind(target=function, args=arguments, name=name)
    hand.start()
    return hand


def rest(via: str, seconds: float) -> None:
    """Let the others go on."""
    if via == "gevent":
        import gevent

        gevent.sleep(scaled(seconds))
    else:
        time.sleep(scaled(seconds))


def do(via: str, step: str, dish: int, seconds: float) -> None:
    """One step with one dish."""
    with doing(STEPS[step], name=name_of(dish), dish=dish):
        rest(via, seconds)
