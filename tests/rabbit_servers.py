"""A real RabbitMQ for tests: on ports of 127.0.0.1, in a folder of its own, one for all tests that ask for it; a plugin of pytest.

The package's own program is run, because Debian's wrapper wants to be root and changes the user. epmd, Erlang's register of names, is
ours, too: on a port of its own, and ended with the rest.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certificates import certificate
from redis_servers import free_port

_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_PLUGINS = "[]."
_PORTS = ("port", "epmd", "tls")


@dataclass
class RabbitServer:
    """A server, perhaps started by another process."""

    folder: Path
    port: int
    epmd: int
    tls: int

    @property
    def url(self) -> str:
        return f"amqp://127.0.0.1:{self.port}/"

    @property
    def tls_url(self) -> str:
        return f"amqps://127.0.0.1:{self.tls}/"

    @property
    def authority(self) -> Path:
        """The certificate that vouches for `tls_url`."""
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        return self.folder / "server.pem"

    def environment(self) -> dict[str, str]:
        r = self.folder
        return {
            "HOME": str(r / "home"),
            "PATH": os.environ["PATH"],
            "RABBITMQ_NODENAME": f"tests{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(r / "mnesia"),
            "RABBITMQ_LOG_BASE": str(r / "log"),
            "RABBITMQ_PID_FILE": str(r / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(r / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(r / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(r / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        }

    def start(self) -> None:
        for name in ("home", "mnesia", "log"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "enabled_plugins").write_text(_PLUGINS)
        # how long a message may stay without an acknowledgement, and how often RabbitMQ looks: a moment, for a test
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n{self._of_tls()}")
        (self.folder / "advanced.config").write_text(
            "[{rabbit, [{consumer_timeout, 5000}, {channel_tick_interval, 1000}]}]."
        )
        with (self.folder / "out").open("wb") as out:
            subprocess.Popen(  # not a child of the test that asks first: tests look at what is left of their children
                ["setsid", "--fork", str(_PROGRAM)], env=self.environment(), stdout=out, stderr=out, cwd=self.folder
            ).wait()
        deadline = time.monotonic() + 100
        while "completed with" not in (said := (self.folder / "out").read_text("utf-8", "replace")):
            assert time.monotonic() < deadline and "pid terminated" not in said, said
            time.sleep(0.05)

    def _of_tls(self) -> str:
        if shutil.which("openssl") is None:
            return ""
        cert, key = certificate(self.folder)
        return (
            f"listeners.ssl.1 = 127.0.0.1:{self.tls}\nssl_options.cacertfile = {cert}\nssl_options.certfile = {cert}\n"
            f"ssl_options.keyfile = {key}\nssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"
        )

    def stop(self) -> None:
        """End it, and its epmd; nobody needs what it would write in the end."""
        for pid in self.pids():
            with suppress(ProcessLookupError):  # it has ended with its parent
                os.kill(pid, signal.SIGKILL)
        subprocess.run(
            ["epmd", "-port", str(self.epmd), "-kill"],
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while self.pids():
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """Its processes: all have its folder in their environment."""
        wanted = f"RABBITMQ_MNESIA_BASE={self.folder}/mnesia".encode()
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                ours = wanted in Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
                if ours and Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    found.append(int(name))
            except OSError:
                continue
        return found


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """One for all tests, in every worker of xdist: the first that asks starts it, the last that ends stops it."""
    if not _PROGRAM.exists() or shutil.which("epmd") is None:
        pytest.skip("rabbitmq-server is not installed")
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "rabbit"
    with _users(shared) as users:
        if not users:
            users["folder"] = tempfile.mkdtemp(prefix="rabbit-")
            users.update((one, free_port()) for one in _PORTS)
            started = RabbitServer(Path(users["folder"]), *(users[one] for one in _PORTS))
            try:
                started.start()
            except BaseException:
                started.stop()
                shutil.rmtree(started.folder)
                users.clear()
                raise
        users["count"] = users.get("count", 0) + 1
        server = RabbitServer(Path(users["folder"]), *(users[one] for one in _PORTS))
    try:
        yield server
    finally:
        with _users(shared) as users:
            users["count"] -= 1
            if not users["count"]:
                users.clear()
                server.stop()
                shutil.rmtree(server.folder)


@contextmanager
def _users(path: Path) -> Iterator[dict[str, Any]]:
    """What all workers know of the server; one of them at a time."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or "{}")
        try:
            yield known
        finally:
            file.truncate(0)
            file.write(json.dumps(known))
