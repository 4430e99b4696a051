"""``--background``: a run is carried out by a process of its own, which outlives this one, its terminal and its session.

    this process --fork--> child (setsid): makes the run, carries it out
         <--"the run has begun", or the child's end--

The child is made before anything is open, so what it holds is its own. Until the run has begun, its mistakes are this process's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from manyhands.core.events import Event, RunStarted
from manyhands.render.protocol import Renderer
from manyhands.storage.runs import Run, Store

MESSAGES = "messages"
"""The file in the folder of a run to which it writes what it would have said."""


class Detached:
    """What the child holds: ``began`` tells this process's parent that the run has begun."""

    def __init__(self, pipe: int) -> None:
        self._pipe, self._said = pipe, os.dup(2)
        self._messages: tuple[int, int] | None = None
        self.began = False

    def take_streams(self, run: Run, *, keep_stdin: bool) -> None:
        """Let go of the terminal: standard output goes nowhere, standard error to `MESSAGES`."""
        sys.stdout.flush()
        sys.stderr.flush()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        path = run.path / MESSAGES
        messages = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._messages = messages, os.fstat(messages).st_size
        for descriptor, file in ((0, null), (1, null), (2, messages)):
            if descriptor or not keep_stdin:
                os.dup2(file, descriptor)
        os.close(null)

    def tell(self, run: str) -> None:
        """The run has begun."""
        if not self.began:
            self.began = True
            os.write(self._pipe, json.dumps({"run": run, "pid": os.getpid()}).encode())
            os.close(self._pipe)

    def give_back(self) -> None:
        """It has not begun: what was said since is for the terminal, and so is what follows."""
        if self.began or self._messages is None:
            return
        sys.stderr.flush()
        messages, begin = self._messages
        os.dup2(self._said, 2)
        os.write(2, os.pread(messages, 1 << 16, begin))


def detach() -> Detached | tuple[dict[str, Any] | None, int]:
    """Fork: returns a `Detached` in the child, and in this process, when the child's run has begun or the child has ended,
    (the run and the child's pid, if it has begun; else the child's exit status)."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        os.close(reading)
        os.setsid()
        return Detached(writing)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            told = pipe.read()
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        raise
    if told:
        return json.loads(told), 0
    return None, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_background(carry_out: Callable[[Detached], int], store: Store, *, as_json: bool, quiet: bool) -> int:
    """Have the child call ``carry_out``, and say what its run is; returns the exit status of this process, or of the child."""
    found = detach()
    if isinstance(found, Detached):
        try:
            return carry_out(found)
        finally:
            found.give_back()
    told, status = found
    if told is None:
        return 128 - status if status < 0 else status
    run = store.find(told["run"])
    sys.stdout.write(json.dumps(told) + "\n" if as_json else f"{run.id}\n")
    sys.stdout.flush()
    if not quiet and not as_json:
        name = store.short(run)
        ways = (store.typed(f"batch.{verb}", name) for verb in ("watch", "wait", "stop"))
        sys.stderr.write(f"manyhands: run {name} goes on in the background: {', '.join(ways)}\n")
    return 0


class Telling:
    """A `Renderer` before another one, which tells when the run has begun."""

    def __init__(self, renderer: Renderer, detached: Detached) -> None:
        self._renderer, self._detached = renderer, detached
        self.running, self.pause, self.close = renderer.running, renderer.pause, renderer.close

    def event(self, event: Event) -> None:
        """Show what happened."""
        if isinstance(event, RunStarted) and event.total != 0:
            self._detached.tell(event.run)
        self._renderer.event(event)
