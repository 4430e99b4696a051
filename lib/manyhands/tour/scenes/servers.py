"""Servers for scenes: each of one block alone, on a free port of 127.0.0.1, in a folder of its own, up when the block begins."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
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
    ending: signal.Signals = options.pop("ending", signal.SIGTERM)
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
        server.send_signal(ending)
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
        with served("fakeredis", serve_fake) as port:
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
def served(name: str, serve: Callable[..., None], *args: Any) -> Iterator[Any]:
    """A process in which ``serve(telling, *args)`` serves while the block lasts; gives what it tells first, such as its port."""
    hearing, telling = Pipe(duplex=False)
    server = Process(target=serve, args=(telling, *args), name=name)
    server.start()
    telling.close()
    try:
        yield hearing.recv()
    finally:
        server.terminate()
        server.join()
        hearing.close()


def serve_fake(telling: Connection) -> None:
    """fakeredis, until it is terminated; tells its port."""
    from fakeredis import TcpFakeServer

    server: Any = TcpFakeServer(("127.0.0.1", 0))
    server.daemon_threads = True
    telling.send(server.server_address[1])
    server.serve_forever()


@contextmanager
def rabbitmq_server() -> Iterator[int]:
    """A RabbitMQ server with an epmd (Erlang's register of names) of its own; gives the port.

    It is the package's own program: Debian's wrapper wants to be root, and changes the user.
    """
    with tempfile.TemporaryDirectory(prefix="rabbitmq-") as name:
        folder, port, epmd, distribution = Path(name), free_port(), free_port(), free_port()
        (folder / "enabled_plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
        env = rabbitmq_settings(folder, epmd) | {
            "RABBITMQ_NODENAME": f"tour{port}@localhost",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(distribution),
        }
        register = ["epmd", "-address", "127.0.0.1", "-port", str(epmd)]
        own = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        said = folder / "said"
        with (
            said.open("wb") as saying,
            serving(register, lambda _: listens(epmd), env=env),
            serving(
                [str(own) if own.exists() else own.name],
                lambda _: "completed with" in said.read_text("utf-8", "replace"),
                env=env,
                stdout=saying,
                cwd=folder,
                ending=signal.SIGKILL,  # nobody needs what it would write in the end, which takes ten seconds
            ),
        ):
            yield port


def rabbitmq_settings(folder: Path, epmd: int) -> dict[str, str]:
    """Everything in this folder, nothing but 127.0.0.1, and the Erlang machine itself instead of a shell that waits for it."""
    return {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def serve_kafka(telling: Connection, topic: str) -> None:
    """librdkafka's mock of a Kafka cluster: one broker, in the memory of this process, with one topic; tells its address."""
    from confluent_kafka import Producer

    host = Producer({"bootstrap.servers": "none:1", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = host.list_topics(topic, timeout=PATIENCE).brokers.values()
    telling.send(f"{broker.host}:{broker.port}")
    signal.pause()


@contextmanager
def nginx(behind: int, files: dict[str, str]) -> Iterator[int]:
    """nginx, which gives out ``files`` itself, and asks the server at the port ``behind`` for all else; gives its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        for path, text in files.items():
            Path(folder + path).write_text(text)
        places = "".join(f"{what}_temp_path {folder};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        Path(folder, "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; worker_processes 1; events {{}}\n"
            + "user root;\n" * (os.getuid() == 0)
            + f"http {{ access_log off; default_type text/plain; {places}\n"
            f"server {{ listen 127.0.0.1:{port}; root {folder};\n"
            + "".join(f"location = {path} {{}}\n" for path in files)
            + f"location / {{ proxy_pass http://127.0.0.1:{behind}; }} }} }}\n"
        )
        command = ["nginx", "-p", folder, "-c", f"{folder}/nginx.conf", "-e", "stderr"]
        with serving(command, lambda pid: has_noted(Path(folder, "pid"), pid) and listens(port)):
            yield port


def has_noted(note: Path, pid: int) -> bool:
    """Whether a server has written its number there, which it does when it has its port."""
    return note.exists() and note.read_text() == f"{pid}\n"
