"""What a scene has at hand: to say what happens, to mark how long something takes, to scale its times.

    tell("dries {dish}", dish=3)          an event, with its time, process, thread and task
    with doing("dries {dish}", dish=3):   a beginning and an end: a bar of the timeline
    time.sleep(scaled(0.5))               seconds, as --scale wants them

A scene plays in a process of its own, apart from the one that watches (`manyhands.tour.showing`). Called elsewhere, it prints what
it tells.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_ADDRESS: Final = "MH_TOUR_SOCKET"
_SCALE: Final = "MH_TOUR_SCALE"
_Socket: Final = socket.socket  # as it is before anybody patches it
_monotonic: Final = time.monotonic
_sleep: Final = time.sleep


EXTRA: Final = frozenset(
    [
        "gevent",
        "eventlet",
        "twisted",
        "dns",
        "redis",
        "fakeredis",
        "pika",
        "zmq",
        "confluent_kafka",
        "celery",
        "rq",
        "rpyc",
        "distributed",
        "tornado",
        "gunicorn",
    ]
)
"""Packages that the extra ``tour`` brings."""
PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Where programs are: an ordinary user's own PATH leaves out servers."""


class NotPossible(Exception):
    """This cannot be shown here, for a reason that the message gives."""


def scaled(seconds: float) -> float:
    """So many seconds at ``--scale 1``."""
    return seconds * float(os.environ.get(_SCALE, "1"))


def tell(text: str, **data: Any) -> None:
    """Say what happens now. ``text`` names the fields of ``data``; the verdict finds the event by how ``text`` begins."""
    _send("tell", text, data)


@contextmanager
def doing(text: str, **data: Any) -> Iterator[None]:
    """Say that something begins, and when it ends."""
    _send("begin", text, data)
    try:
        yield
    finally:
        _send("end", text, data)


def _send(kind: str, text: str, data: dict[str, Any]) -> None:
    event = {
        "kind": kind,
        "at": _monotonic(),
        "pid": os.getpid(),
        "process": _process(),
        "thread": _thread(),
        "task": _task(),
        "text": text,
        "data": data,
    }
    address = os.environ.get(_ADDRESS)
    if address is None:
        if kind != "end":
            print(f"{event['pid']} {event['process']}", text.format(**data), flush=True)  # noqa: T201 - nobody watches
        return
    record = json.dumps(event).encode()
    while True:
        try:
            _channel(address).send(record)
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # macOS says so where Linux waits, while nobody reads
                raise
            _sleep(0.001)


_channels: dict[int, socket.socket] = {}


def _channel(address: str) -> socket.socket:
    """Our end of the way to who watches; a process that was forked opens its own."""
    pid = os.getpid()
    found = _channels.get(pid)
    if found is None:
        found = _Socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        found.connect(address)
        _channels[pid] = found
    return found


def _process() -> str:
    multiprocessing = sys.modules.get("multiprocessing.process")
    return multiprocessing.current_process().name if multiprocessing else "MainProcess"


def _thread() -> str:
    name = threading.current_thread().name
    return name if threading.current_thread() is not threading.main_thread() else "MainThread"


def _task() -> str | None:
    """The asyncio task, or the greenlet, that is speaking."""
    if (asyncio := sys.modules.get("asyncio")) and asyncio._get_running_loop():
        task = asyncio.current_task()
        return task.get_name() if task else None
    for library in ("gevent", "eventlet"):
        if library in sys.modules:
            import greenlet

            current = greenlet.getcurrent()
            return getattr(current, "name", None) or (
                f"greenlet-{current.minimal_ident}" if hasattr(current, "minimal_ident") else None
            )
    return None


def play(name: str, options: dict[str, Any]) -> None:
    """Play one scene in this process. Raises NotPossible, and whatever the scene raises."""
    from manyhands.tour.contents import SCENES

    scene = SCENES[name]
    if method := options.pop("start_method", None):
        import multiprocessing

        multiprocessing.set_start_method(method)
    function = scene.function(broken=options.pop("broken", False))
    function(**options)


def needs(package: str) -> str:
    """What to say where a package of the extra is not installed."""
    from manyhands.core.extras import install_line

    return f"it needs {package}, which is not installed: {install_line('tour')}"


def main() -> None:
    """``python -m manyhands.tour NAME OPTIONS``: play it, and say what is left of it."""
    name, options = sys.argv[1:]
    try:
        play(name, json.loads(options))
    except NotPossible as why:
        return _send("impossible", str(why).replace("{", "{{").replace("}", "}}"), {})
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        return _send("impossible", needs(error.name), {})
    left = [one.name for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    return _send("over", "the scene is over", {"threads": left})
