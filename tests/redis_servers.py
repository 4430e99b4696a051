"""Real Redis servers for tests: on a unix socket and a port of 127.0.0.1, nothing on disk; a plugin of pytest."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lasting_processes import LASTING, command_of
from manyhands.backends.queue.redis_connection import client
from manyhands.work.broker_url import BrokerUrl


@dataclass
class RedisServer:
    """A server that is this test's own, or shared by tests that each have a database of their own."""

    folder: Path
    port: int
    db: int = 0
    more: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/{self.db}"

    @property
    def parsed(self) -> BrokerUrl:
        return BrokerUrl.parse(self.url, {})

    def client(self) -> Any:
        return client(self.parsed)

    def names(self) -> list[str]:
        with self.client() as redis:
            return sorted(one.decode() for one in redis.keys("*"))

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        # of a session of its own, and not a child of the test: tests look at what is left of their children
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self.folder), "--daemonize", "yes", "--pidfile", str(self.pidfile)]
        command += ["--unixsocket", str(self.folder / "socket"), "--logfile", str(self.folder / "log"), *self.more]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @property
    def pidfile(self) -> Path:
        return self.folder / "pid"

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0 and self.pidfile.exists()

    def signal(self, number: int) -> None:
        pid = int(self.pidfile.read_text())
        if "redis-server" in command_of(pid):
            os.kill(pid, number)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        pid = int(self.pidfile.read_text())
        self.signal(signal.SIGKILL)
        while "redis-server" in command_of(pid):
            time.sleep(0.01)
        self.pidfile.unlink()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One for many tests, none of which breaks it."""
    with running() as server:
        yield server


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """One of this test alone, which may kill it."""
    with running() as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> Iterator[RedisServer]:
    """A database that is empty, and has to be in the end, but for what consumers leave that were killed."""
    with shared_redis.client() as redis:
        redis.flushdb()
    yield shared_redis


@contextmanager
def running(*more: str) -> Iterator[RedisServer]:
    """A server with ``more`` settings, of this block alone."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("looks for processes in /proc")
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder, free_port(), more=more)
    try:
        server.start()
        yield server
    finally:
        if server.pidfile.exists():
            server.kill()
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Kind:
    """A backend with a queue, and its broker, if that is not the Redis server."""

    name: str
    amqp: str | None = None

    def given(self, server: RedisServer) -> dict[str, str]:
        """For `run_batch`, beside ``backend``."""
        return {"broker": self.amqp, "store": server.url} if self.amqp else {"broker": server.url}

    def options(self, server: RedisServer) -> list[str]:
        """For tasks."""
        return ["--backend", self.name, *(f"--{name}={value}" for name, value in self.given(server).items())]

    def settings(self, server: RedisServer) -> dict[str, Any]:
        """For a backend."""
        if self.amqp is None:
            return {"broker": server.parsed}
        return {"broker": BrokerUrl.parse(self.amqp, {}, celery=True), "store": server.parsed}


class Consumer:
    """``queue.work`` as a process."""

    def __init__(
        self,
        server: RedisServer,
        environment: dict[str, str],
        *args: str,
        cwd: Path,
        prefix: Sequence[str] = (),
        broker: str | None = None,
        kind: Kind | None = None,
    ) -> None:
        """``prefix``: what runs the command; ``broker``: the server's address there, if it is another one."""
        where = ["--broker", broker] if broker else (kind or Kind("redis")).options(server)
        command = [*prefix, sys.executable, "-m", "manyhands", "queue.work", *where, *args]
        self.log = cwd / f"consumer-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> str:
        """Its name, when it is ready."""
        deadline = time.monotonic() + 30
        while ": consumer " not in self.said or "\n" not in self.said:
            assert time.monotonic() < deadline, self.said
            assert self.process.poll() is None, self.said
            time.sleep(0.01)
        return self.said.partition(": consumer ")[2].split()[0]

    def end(self) -> int:
        """Ask it once to end, when it holds nothing; its exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            time.sleep(0.05)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class SharedConsumers:
    """Consumers for many tests, none of which ends them: a start takes a second, with Celery and RQ. Those that are started in different
    ways have databases of their own, which nobody empties."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._databases: dict[tuple[str, ...], int] = {}
        self._started: dict[tuple[Kind, tuple[str, ...]], Consumer] = {}

    def ready(self, kind: Kind, environment: dict[str, str], *args: str) -> RedisServer:
        """Have one that was started with these ``args``; its server."""
        server = replace(self._server, db=self._databases.setdefault(args, len(self._databases) + 1))
        one = self._started.get((kind, args))
        if one is None or one.process.poll() is not None:
            one = Consumer(server, environment, *args, cwd=self._folder, kind=kind)
            self._started[kind, args] = one
            LASTING.add(one.process.pid)
        one.wait_until_ready()
        return server

    def close(self) -> None:
        """End them all."""
        for one in self._started.values():
            one.close()


@pytest.fixture(scope="session")
def shared_consumers(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedConsumers]:
    """See `SharedConsumers`."""
    with closing(SharedConsumers(shared_redis, tmp_path_factory.mktemp("consumers"))) as found:
        yield found
