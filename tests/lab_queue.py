"""What a trial of the kill lab needs beside the coordinator if it goes through a queue: a broker, and consumers that can be killed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from redis_servers import Consumer, Kind, running

_LEASE = "2"


class LabQueue:
    """A Redis server, and ``consumers`` with ``slots`` each; a context."""

    def __init__(self, backend: str, folder: Path, environment: dict[str, str], consumers: int, slots: int) -> None:
        self._kind, self._folder, self._environment = Kind(backend), folder, environment
        self._wanted, self._slots = consumers, slots
        self._stack = ExitStack()
        self._consumers: list[Consumer] = []

    def __enter__(self) -> LabQueue:
        self._server = self._stack.enter_context(running())
        for _ in range(self._wanted):
            self._start()
        for one in self._consumers:
            one.wait_until_ready()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for one in self._consumers:
            one.close()
        self._stack.close()

    @property
    def options(self) -> list[str]:
        """For the batch."""
        return [*self._kind.options(self._server)[2:], "--lease", _LEASE]

    def _start(self) -> None:
        more = ["--slots", str(self._slots), "--lease", _LEASE, "--allow-commands", "--allow", "kill_jobs:*"]
        self._consumers.append(Consumer(self._server, self._environment, *more, cwd=self._folder, kind=self._kind))

    def kill_one(self) -> None:
        """Kill the consumer that is there longest, and start another."""
        dead = self._consumers.pop(0)
        dead.process.kill()
        dead.close()
        self._start()
