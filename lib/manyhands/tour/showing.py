"""Plays a scene in a process of its own, watches it, and says whether what it is about has been seen.

    Tree --starts--> python -m manyhands.tour --events, one datagram each--> told(), and at the end the scene's verdict

Whatever the scene starts belongs to the tree: when it is over nothing of it may still run; what does is ended and reported.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from shutil import which
from sysconfig import get_path
from typing import Any, Final, Literal, NamedTuple

from manyhands.commands.command_tree import Tree
from manyhands.core.package_location import LIBRARY
from manyhands.core.safe_text import harmless
from manyhands.posix import linux
from manyhands.posix.cpu_wait import Crowding, is_crowded
from manyhands.posix.signals import Watched
from manyhands.tour.contents import PROGRAMS, Scene
from manyhands.tour.scene_tools import PATH, needs
from manyhands.tour.seen import Event, NotSeen, Seen

SEEN: Final = 0
NOT_SEEN: Final = 1
NOT_POSSIBLE: Final = 3
_LIMIT: Final = 300.0
"""Seconds that a scene may take at scale 1, and at least half of that at any: a scene that hangs is ended."""
_SETTLING: Final = 3.0
"""Seconds that servers of multiprocessing have to notice that their program has ended."""


class Performance(NamedTuple):
    """How a scene went. ``status``: 0 seen, 1 not seen, 3 not possible here or now; ``verdict`` says it in a sentence. ``reason`` of
    a 3: something is missing, or the machine was too busy to tell."""

    status: int
    verdict: str
    seen: Seen
    stopped_by: int | None = None
    reason: Literal["missing", "busy"] | None = None


def why_not(scene: Scene, options: Mapping[str, Any]) -> str | None:
    """What the scene needs, played with these options, and this machine has not, in words."""
    for need in needed(scene, options):
        if need == "fork":
            if not hasattr(os, "fork"):
                return "this system has no fork"
        elif need in PROGRAMS:
            if which(need, path=PATH) is None:
                return f"{need} is not installed; on Debian: apt install {PROGRAMS[need]}"
        elif find_spec(need) is None:
            return needs(need)
    return None


def needed(scene: Scene, options: Mapping[str, Any]) -> list[str]:
    """Packages and programs that the scene needs, played with these options."""
    chosen = [scene.needs_by.get(value, ()) for value in options.values() if isinstance(value, str)]
    return list(dict.fromkeys([*scene.needs, *chain.from_iterable(chosen)]))


def perform(
    scene: Scene, options: Mapping[str, Any], told: Callable[[Event], None], *, animated: bool = False
) -> Performance:
    """Play it with these options, and give ``told`` each event as it comes; ``animated``: it may draw on our terminal."""
    if why := why_not(scene, options):
        return Performance(NOT_POSSIBLE, why, Seen([], options), reason="missing")
    audience = _Audience(scene, options, told, animated=animated)
    with audience:
        audience.watch()
    return audience.judge()


class _Audience:
    """Watches one scene."""

    def __init__(
        self, scene: Scene, options: Mapping[str, Any], told: Callable[[Event], None], *, animated: bool
    ) -> None:
        self._animated = animated and sys.stdout.isatty()
        self._scene, self._options, self._told = scene, dict(options), told
        self._scale = float(self._options.pop("scale", 1.0))
        self._broken = bool(self._options.get("broken"))
        self._events: list[Event] = []
        self._first: float | None = None
        self._impossible: str | None = None
        self._over: Mapping[str, Any] | None = None
        self._problem: str | None = None
        self._complaint = ""

    def __enter__(self) -> _Audience:
        stack = self._stack = ExitStack()
        self._crowding = Crowding()
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manyhands-tour-")))
        (self._folder / "tmp").mkdir()
        (self._folder / "work").mkdir()
        self._inbox = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._inbox.bind(str(self._folder / "stage"))
        self._inbox.setblocking(False)
        self._tree = stack.enter_context(Tree(grace=1.0, adopts=linux.become_subreaper()))
        stack.enter_context(Watched(self._tree.stop, self._tree.wake, talkative=False))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def watch(self) -> None:
        """Start it, take in what it tells, and end what still runs after it."""
        with (self._folder / "complaints").open("w+b") as complaints:
            self._start(complaints.fileno())
            deadline = time.monotonic() + max(_LIMIT * self._scale, _LIMIT / 2)
            while self._tree.step(deadline, [self._inbox.fileno()]):
                self._receive()
                if time.monotonic() >= deadline and not self._tree.stopping:
                    self._problem = "it did not end in time"
                    self._tree.terminate()
            self._receive()
            (end,) = self._tree.wait()
            if not self._tree.stopped_by:
                self._settle(end.returncode)
            complaints.seek(0)
            self._complaint = complaints.read(1 << 16).decode("utf-8", "replace").strip()

    def judge(self) -> Performance:
        """The verdict, from the events alone."""
        others = self._crowding.measured()
        seen = Seen(self._events, self._options, busy=is_crowded(others))
        if self._tree.stopped_by:
            return Performance(NOT_SEEN, "it was interrupted", seen, self._tree.stopped_by)
        if self._impossible:
            return Performance(NOT_POSSIBLE, self._impossible, seen, reason="missing")
        if self._problem or (self._complaint and not self._broken):
            return Performance(NOT_SEEN, "; ".join(filter(None, [self._problem, self._said()])), seen)
        try:
            verdict: str = self._scene.function(broken=self._broken, seen=True)(seen)
        except NotSeen as why:
            if seen.busy:
                busy = f"the machine was busy (other programs used {others:.0%} of it): {why}"
                return Performance(NOT_POSSIBLE, busy, seen, reason="busy")
            return Performance(NOT_SEEN, str(why), seen)
        return Performance(SEEN, verdict, seen)

    def _start(self, complaints: int) -> None:
        argv = [sys.executable, "-P", "-m", "manyhands.tour", self._scene.name, json.dumps(self._options)]
        ours = (
            None if get_path("purelib") == LIBRARY else LIBRARY
        )  # what is installed must not stand before Python's own modules
        path = os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))
        environment = self._tree.environment() | {
            "PYTHONPATH": path,
            "TMPDIR": str(self._folder / "tmp"),
            "MH_TOUR_SOCKET": str(self._folder / "stage"),
            "MH_TOUR_SCALE": str(self._scale),
            "PYTHONUNBUFFERED": "1",
        }
        onto = None if self._animated else complaints  # nothing but an animation prints by itself
        process = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=onto,
            stderr=complaints,
            start_new_session=True,
            cwd=self._folder / "work" if self._scene.folder else None,
        )
        process.returncode = 0  # the tree collects it
        self._tree.add(argv, process.pid)

    def _receive(self) -> None:
        """Take in what has come."""
        with suppress(BlockingIOError):
            while True:
                given = json.loads(self._inbox.recv(1 << 20))
                self._first = given["at"] if self._first is None else self._first
                given["at"] -= self._first
                event = Event(**given)
                if event.kind == "impossible":
                    self._impossible = event.said
                elif event.kind == "over":
                    self._over = event.data
                else:
                    self._events.append(event)
                    self._told(event)

    def _settle(self, status: int) -> None:
        """Find what still runs, and end it."""
        deadline = time.monotonic() + _SETTLING
        while (left := self._tree.members()) and time.monotonic() < deadline:
            if self._broken:
                break
            time.sleep(0.01)
        if left:
            self._tree.terminate()
            self._tree.wait()
        if self._broken or self._problem:
            return
        files = [one.name for one in (self._folder / "tmp").iterdir()]
        threads = (self._over or {}).get("threads")
        if status or (self._over is None and not self._impossible):
            self._problem = f"it ended with exit status {status}"
        elif left or files or threads:
            self._problem = f"it has left behind {len(left)} processes, the threads {threads}, the files {files}"

    def _said(self) -> str:
        """The last line of what it complained; all of it is shown where there is room."""
        last = self._complaint.splitlines()[-1:]
        return harmless(f"it said: {last[0]}") if last else ""
