"""Real hosts for tests: an sshd on a port of 127.0.0.1 for each, with keys and a configuration of their own; a plugin of pytest."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SshHosts:
    """``names``: hosts that ``ssh`` reaches; ``gone``: one that refuses."""

    folder: Path
    ssh: str
    names: tuple[str, ...]
    gone: str = "gone"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def make_keys(folder: Path) -> None:
    """A key for the hosts, and one for us."""
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it there (privilege separation)


def write_sshd_config(folder: Path, name: str, address: str, port: int) -> Path:
    """The configuration of the sshd of a host; where it is."""
    config = folder / f"{name}.conf"
    config.write_text(
        f"Port {port}\nListenAddress {address}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/id.pub\n"
        f"PidFile {folder}/{name}.pid\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nMaxStartups 100\n"
        f"SetEnv HOME={folder} PATH={os.defpath}\n"  # not the start-up files of whoever runs the tests
    )
    return config


@pytest.fixture(scope="session")
def ssh_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHosts]:
    """Two hosts for all tests."""
    with running_hosts(tmp_path_factory.mktemp("ssh")) as hosts:
        yield hosts


@contextmanager
def running_hosts(folder: Path) -> Iterator[SshHosts]:
    """Two hosts, ``h1`` and ``h2``, which are this machine, and the user of the tests on it; ``folder`` is for what they need."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None:
        pytest.skip("sshd is not installed")
    make_keys(folder)
    ports = {name: _free_port() for name in ("h1", "h2")}
    for name, port in ports.items():
        config = write_sshd_config(folder, name, "127.0.0.1", port)
        log = folder / f"{name}.log"
        # it leaves our family by itself: tests look at what is left of theirs
        subprocess.run([sshd, "-f", str(config), "-E", str(log)], stdin=subprocess.DEVNULL, check=True)
    ours = folder / "config"
    ours.write_text(
        "".join(f"Host {name}\n  Port {port}\n" for name, port in ports.items())
        + f"Host gone\n  Port {_free_port()}\nHost *\n  HostName 127.0.0.1\n  IdentityFile {folder}/id\n"
        f"  IdentitiesOnly yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile {folder}/known\n  LogLevel ERROR\n"
    )
    try:
        for port in ports.values():
            while not _answers(port):
                time.sleep(0.01)
        yield SshHosts(folder, f"ssh -F {ours}", tuple(ports))
    finally:
        for name in ports:
            with suppress(OSError, ValueError):
                pid = int((folder / f"{name}.pid").read_text())
                if f"{folder}/{name}.conf".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGTERM)
