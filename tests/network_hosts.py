"""Hosts whose network can fail: an sshd in a network namespace for each, behind a cable of its own; a plugin of pytest.

    batch --ssh--> 10.213.N.1 ===cable=== 10.213.N.2 sshd

All share the files and the processes of this machine, so that tests see what runs there, and what it has written.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ssh_hosts import make_keys, write_sshd_config


@dataclass(frozen=True)
class NetworkHost:
    """A host in the network ``namespace``, at the other end of ``cable``; ``ours`` is our address there."""

    name: str
    namespace: str
    cable: str
    address: str
    ours: str

    @property
    def run(self) -> list[str]:
        """What runs a command there."""
        return ["ip", "netns", "exec", self.namespace]

    def pids(self) -> list[int]:
        """What runs there."""
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]

    def cut(self) -> None:
        """From now on no packet passes, in either direction; connections are not told."""
        _ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        """Packets pass again."""
        _ip("link", "set", self.cable, "up")


@dataclass(frozen=True)
class NetworkHosts:
    """``ssh`` reaches the hosts by their names, ``n1`` and ``n2``; keys are in ``folder``."""

    folder: Path
    ssh: str
    n1: NetworkHost
    n2: NetworkHost


@pytest.fixture(scope="session")
def _network_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkHosts]:
    if _sshd() is None:
        pytest.skip("sshd is not installed")
    folder = tmp_path_factory.mktemp("network")
    with ExitStack() as stack:
        hosts = [_made(f"n{number}", number, stack) for number in (1, 2)]
        _join(*hosts)
        make_keys(folder)
        ours = folder / "config"
        ours.write_text(
            "".join(f"Host {one.name}\n  HostName {one.address}\n" for one in hosts)
            + f"Host *\n  Port 22\n  IdentityFile {folder}/id\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
            f"  UserKnownHostsFile {folder}/known\n  LogLevel ERROR\n"
        )
        for one in hosts:
            start_sshd(one, write_sshd_config(folder, one.name, one.address, 22))
        yield NetworkHosts(folder, f"ssh -F {ours}", *hosts)


def _sshd() -> str | None:
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


def start_sshd(host: NetworkHost, config: Path) -> None:
    """Start one there, which ends with the namespace."""
    command = [str(_sshd()), "-f", str(config), "-E", str(config.with_suffix(".log"))]
    subprocess.run([*host.run, *command], stdin=subprocess.DEVNULL, check=True)


@pytest.fixture
def network_hosts(_network_hosts: NetworkHosts) -> Iterator[NetworkHosts]:
    """Two hosts; what a test has cut is mended afterwards."""
    yield _network_hosts
    for one in (_network_hosts.n1, _network_hosts.n2):
        one.mend()


def _made(name: str, number: int, stack: ExitStack) -> NetworkHost:
    """A namespace that is gone when ``stack`` is closed, with all that runs in it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    net = f"10.213.{int(worker) * 2 + number}"
    host = NetworkHost(name, f"manyhands-{os.getpid()}-{name}", f"mh{os.getpid()}{name}", f"{net}.2", f"{net}.1")
    try:
        _ip("netns", "add", host.namespace)
        stack.callback(_end, host)
        _ip("link", "add", host.cable, "type", "veth", "peer", "name", "there", "netns", host.namespace)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not make network namespaces here")
    _ip("addr", "add", f"{host.ours}/30", "dev", host.cable)
    _ip("-n", host.namespace, "addr", "add", f"{host.address}/30", "dev", "there")
    for one in (["link", "set", "lo", "up"], ["link", "set", "there", "up"]):
        _ip("-n", host.namespace, *one)
    host.mend()
    _ip("-n", host.namespace, "route", "add", "default", "via", host.ours)  # to all our addresses
    return host


def _join(n1: NetworkHost, n2: NetworkHost) -> None:
    """A cable between the two, which stays whatever happens to ours."""
    _ip("-n", n1.namespace, "link", "add", "between", "type", "veth", "peer", "name", "between", "netns", n2.namespace)
    for here, there in ((n1, n2), (n2, n1)):
        _ip("-n", here.namespace, "link", "set", "between", "up")
        _ip("-n", here.namespace, "route", "add", there.address, "dev", "between", "src", here.address)


def _end(host: NetworkHost) -> None:
    """Kill all that runs in the namespace, and remove it."""
    deadline = time.monotonic() + 10
    while pids := host.pids():
        assert time.monotonic() < deadline
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    _ip("netns", "del", host.namespace)


def _ip(*args: str) -> str:
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout
