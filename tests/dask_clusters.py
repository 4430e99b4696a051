"""Real Dask clusters for tests: a scheduler and workers on loopback, as ``cluster.up`` starts them; a plugin of pytest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lasting_processes import command_of
from manyhands.core.package_location import LIBRARY
from manyhands.posix import linux
from manyhands.work.cluster_address import Cluster

HERE = Path(__file__).parent


def has_scheduler(file: Path) -> bool:
    """Whether a scheduler file is there, and whole: Dask writes it piece by piece."""
    try:
        return "address" in json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return False


@dataclass
class DaskCluster:
    """A cluster that is this test's own, or shared by tests that kill nothing."""

    folder: Path
    workers: int = 1
    threads: int = 8
    address: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    """Variables that configure Dask."""

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "manyhands", *args]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, check=False, capture_output=True, text=True, timeout=100
        )

    def start(self) -> None:
        path = os.pathsep.join([LIBRARY, str(HERE)])
        self.environment = {**os.environ, "XDG_STATE_HOME": str(self.folder), "PYTHONPATH": path}
        self.environment |= {"DASK_TEMPORARY_DIRECTORY": str(self.folder), **self.settings}
        done = self.run("cluster.up", "--workers", str(self.workers), "--threads", str(self.threads))
        assert done.returncode == 0, done.stderr
        self.address = self.status()["scheduler"]

    def status(self) -> dict[str, Any]:
        done = self.run("cluster.status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def cluster(self, lease: float = 60.0) -> Cluster:
        return Cluster.of(self.address, lease=lease, insecure=False)

    @property
    def processes(self) -> dict[str, int]:
        """The pids of ``scheduler`` and ``workers``, which is the program with the nannies."""
        found = json.loads((self.folder / "manyhands" / "cluster" / "processes.json").read_text())
        return {one["what"]: one["pid"] for one in found}

    def worker_pids(self) -> list[int]:
        """The processes of the workers themselves, below their nannies."""
        below = linux.descendants([self.processes["workers"]])
        return [one.pid for one in below if "spawn_main" in command_of(one.pid)]

    def stop(self) -> None:
        self.run("cluster.down")


def running(workers: int, threads: int, **settings: str) -> Iterator[DaskCluster]:
    if not os.path.isdir("/proc/self"):
        pytest.skip("looks for processes in /proc")
    folder = Path(tempfile.mkdtemp(prefix="dask-"))
    cluster = DaskCluster(folder, workers, threads, settings=settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared_dask() -> Iterator[DaskCluster]:
    """One for many tests, none of which breaks it."""
    pytest.importorskip("distributed")
    yield from running(1, 8)


@pytest.fixture
def dask_cluster() -> Iterator[DaskCluster]:
    """One of this test alone, which may kill it: two workers with two threads each."""
    pytest.importorskip("distributed")
    yield from running(2, 2)


def certificate(folder: Path, name: str) -> dict[str, str]:
    """Dask's settings with a certificate that signs itself, which is its own authority."""
    pytest.importorskip("cryptography")
    from distributed.security import Security

    made = Security.temporary()
    paths = {"ca-file": folder / f"{name}-ca.pem", "cert": folder / f"{name}-cert.pem", "key": folder / f"{name}-key.pem"}
    paths["ca-file"].write_text(str(made.tls_ca_file))
    paths["cert"].write_text(str(made.tls_client_cert))
    paths["key"].write_text(str(made.tls_client_key))
    found = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(paths["ca-file"])}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        found[f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT"] = str(paths["cert"])
        found[f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY"] = str(paths["key"])
    return found
