"""What a trial of the kill lab needs beside the coordinator: a queue's broker with consumers that can be killed, or hosts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from redis_servers import Consumer, Kind, running
from ssh_hosts import running_hosts

QUEUES = ("redis", "celery", "rq")
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


class LabHosts:
    """Two hosts with ``slots`` each, whose jobs get ``environment``; a context."""

    def __init__(self, folder: Path, environment: Mapping[str, str], slots: int) -> None:
        self._folder, self._slots = folder / "ssh", slots
        self._given = [f"--env={name}={value}" for name, value in environment.items()]
        self._stack = ExitStack()

    def __enter__(self) -> LabHosts:
        self._folder.mkdir()
        self._hosts = self._stack.enter_context(running_hosts(self._folder))
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()

    @property
    def options(self) -> list[str]:
        """For the batch."""
        on = ",".join(f"{name}:{self._slots}" for name in self._hosts.names)
        return ["--on", on, "--ssh", self._hosts.ssh, *self._given]
