"""Servers for scenes: each of one block alone, on a free port of 127.0.0.1, in a folder of its own, up when the block begins."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from typing import Any

PATIENCE = 60.0
"""Seconds that a server may take to answer, on a busy machine."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: list[str], answers: Callable[[int], bool], **options: Any) -> Iterator[int]:
    """Run a program that serves, from when ``answers(pid)`` is true until the block ends; gives its pid. Raises RuntimeError."""
    env = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"} | options.pop("env", {})
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=env, **(quiet | options))
    deadline = time.monotonic() + PATIENCE
    try:
        while not answers(server.pid):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer (exit status {server.poll()})")
            time.sleep(0.02)
        yield server.pid
    finally:
        server.terminate()
        server.wait()


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def client(port: int) -> Any:
    """A client of the Redis server there, for text; it waits as long as it is asked to (redis-py 8 gives up after 5 s by default)."""
    from redis import Redis

    return Redis(port=port, decode_responses=True, socket_timeout=None)


@contextmanager
def redis_server(kind: str) -> Iterator[int]:
    """A Redis server that keeps nothing on disk, or fakeredis, which is Python and answers in the same words; gives the port."""
    if kind == "fake":
        with fake_redis() as port:
            yield port
        return
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with serving(command, lambda pid: is_redis(port, pid)):
            yield port


def is_redis(port: int, pid: int) -> bool:
    """Whether this process answers there, and not one that was quicker to take the port."""
    from redis import ConnectionError

    with client(port) as asked:
        try:
            return bool(asked.info("server")["process_id"] == pid)
        except ConnectionError:
            return False


@contextmanager
def fake_redis() -> Iterator[int]:
    """fakeredis in a process of its own; gives the port."""
    hearing, telling = Pipe(duplex=False)
    server = Process(target=serve_fake, args=(telling,), name="fakeredis", daemon=True)
    server.start()
    try:
        yield hearing.recv()
    finally:
        server.terminate()
        server.join()
        hearing.close()
        telling.close()


def serve_fake(telling: Connection) -> None:
    """Serve until it is terminated."""
    from fakeredis import TcpFakeServer

    server: Any = TcpFakeServer(("127.0.0.1", 0))
    server.daemon_threads = True
    telling.send(server.server_address[1])
    server.serve_forever()
