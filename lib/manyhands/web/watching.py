"""The topics that there are: the list of runs, the machine, and each run that somebody looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from manyhands.storage.runs import Run, Store
from manyhands.web.follower import Follower
from manyhands.web.machine import Machine
from manyhands.web.run_list import RunList
from manyhands.web.topics import Topic

_RUN: Final = 0.5
_LIST: Final = 1.0
_MACHINE: Final = 2.0
"""Seconds between two looks."""
THREADS: Final = 4


class Watching:
    """All that is watched. Its methods are for the event loop, except where it says so."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="manyhands-web")
        self._followers: dict[str, tuple[Follower, threading.Lock]] = {}
        self._topics: dict[str, Topic] = {}
        self._mutex = threading.Lock()
        self.runs = RunList(store, self._looked_at)
        self._listed = b""
        self._machine = Machine()

    def follower(self, run: Run) -> Follower:
        """The follower of a run, made if there is none."""
        return self._shared(run)[0]

    def _shared(self, run: Run) -> tuple[Follower, threading.Lock]:
        with self._mutex:
            found = self._followers.get(run.id)
            if found is None or found[0].run.created != run.created:  # removed, and made again under the same name
                found = self._followers[run.id] = Follower(self.store, run), threading.Lock()
            return found

    def _looked_at(self, run: Run) -> Follower:
        """For the list, in a thread: a follower that has looked now, or is doing so for others."""
        follower, lock = self._shared(run)
        if lock.acquire(blocking=False):
            try:
                follower.catch_up()
            finally:
                lock.release()
        return follower

    def numbers(self, run: Run, states: frozenset[str], after: int, most: int) -> list[int]:
        """See `Picture.numbers`; in a thread, because a run that nobody watches is read now."""
        follower, lock = self._shared(run)
        if not follower.looked:
            with lock:
                follower.catch_up()
        return follower.picture.numbers(states, after, most)

    def run(self, run: Run) -> Topic:
        """What there is to say of a run."""
        follower, lock = self._shared(run)
        first = True

        def look() -> Mapping[str, bytes]:
            nonlocal first
            with lock:
                found = follower.look(everything=first)
            first = False
            return found

        def closed() -> None:
            if self._followers.get(run.id, (None,))[0] is follower and not follower.busy:
                self._followers.pop(run.id)

        return self._topic(f"run {run.id} {run.created}", look, _RUN, closed)

    def list(self) -> Topic:
        """What there is to say of all runs."""

        def look() -> Mapping[str, bytes]:
            found = self.runs.look()
            if found == self._listed:
                return {}
            self._listed = found
            return {"runs": found}

        def closed() -> None:
            self._listed = b""

        return self._topic("list", look, _LIST, closed)

    def machine(self) -> Topic:
        """How busy this machine is."""
        return self._topic("machine", lambda: {"machine": self._machine.look()}, _MACHINE, lambda: None)

    def _topic(
        self, name: str, look: Callable[[], Mapping[str, bytes]], pause: float, closed: Callable[[], None]
    ) -> Topic:
        found = self._topics.get(name)
        if found is None:

            def forget() -> None:
                self._topics.pop(name, None)
                closed()

            found = self._topics[name] = Topic(look, pause, self.threads, forget)
        return found

    def hurry(self) -> None:
        """Look at everything at once."""
        for topic in self._topics.values():
            topic.hurry()

    def close(self) -> None:
        """End all that looks."""
        for topic in [*self._topics.values()]:
            topic.close()
        self.threads.shutdown(wait=False, cancel_futures=True)
