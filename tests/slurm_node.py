"""A real Slurm of one node for tests: munged, slurmctld and slurmd, with a configuration, a folder and ports of their own on 127.0.0.1; a
plugin of pytest."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import wait_for
from lasting_processes import command_of
from redis_servers import free_port

CPUS = 2
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
_PATH = f"{os.environ['PATH']}:/usr/sbin"


@dataclass(frozen=True)
class SlurmNode:
    """Jobs of one core run at once, as many as there are ``CPUS``."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes the programs of Slurm use this one, and dask-jobqueue ask for jobs that it can run."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "DASK_JOBQUEUE__SLURM__CORES": "1",
            "DASK_JOBQUEUE__SLURM__MEMORY": "200MB",
            "DASK_JOBQUEUE__SLURM__SCHEDULER_OPTIONS": '{"host": "127.0.0.1"}',
        }

    def run(self, *command: str) -> str:
        """What a program of Slurm prints."""
        given = {**os.environ, **self.environment}
        return subprocess.run(command, env=given, check=True, capture_output=True, text=True).stdout

    def jobs(self, *options: str) -> list[str]:
        """The numbers of the jobs in the queue."""
        return self.run("squeue", "-h", "-o", "%i", *options).split()

    def start(self) -> None:
        """Start the three, each of which leaves our family."""
        key = self.folder / "munge" / "key"
        key.parent.mkdir(mode=0o700)
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"socket": "socket", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "seed"}
        self._start(
            "munged", "-f", f"--key-file={key}", *(f"--{option}={key.parent / name}" for option, name in files.items())
        )
        self._configure()
        for name in ("slurmctld", "slurmd"):
            self._start(name, "-f", str(self.folder / "slurm.conf"))
        wait_for(lambda: "idle" in self.run("sinfo", "-h", "-o", "%T"), 60)

    def _start(self, name: str, *args: str) -> None:
        program = shutil.which(name, path=_PATH)
        subprocess.run([str(program), *args], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def _configure(self) -> None:
        where, host, user = self.folder, socket.gethostname().partition(".")[0], pwd.getpwuid(os.getuid()).pw_name
        for name in ("state", "spool"):
            (where / name).mkdir()
        (where / "slurm.conf").write_text(
            f"ClusterName=tests\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={free_port()}\nSlurmdPort={free_port()}\n"
            f"SlurmUser={user}\nSlurmdUser={user}\nAuthType=auth/munge\nAuthInfo=socket={where}/munge/socket\n"
            f"StateSaveLocation={where}/state\nSlurmdSpoolDir={where}/spool\n"
            f"SlurmctldPidFile={where}/slurmctld.pid\nSlurmdPidFile={where}/slurmd.pid\n"
            f"SlurmctldLogFile={where}/slurmctld.log\nSlurmdLogFile={where}/slurmd.log\n"
            "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n"
            "AccountingStorageType=accounting_storage/none\nSwitchType=switch/none\nMpiDefault=none\nKillWait=5\n"
            "SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nReturnToService=2\nSlurmdParameters=config_overrides\n"
            f"NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory=1000 State=UNKNOWN\n"
            "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        )

    def stop(self) -> None:
        """End the jobs, and then the three."""
        with suppress(OSError, subprocess.CalledProcessError):
            self.run("scancel", f"--user={os.getuid()}")
            wait_for(lambda: not self.jobs())
        for name in ("slurmd", "slurmctld", "munge/munged"):
            with suppress(FileNotFoundError, ValueError, ProcessLookupError):
                pid = int((self.folder / f"{name}.pid").read_text())
                if str(self.folder) in command_of(pid):
                    os.kill(pid, signal.SIGTERM)
                    wait_for(lambda pid=pid: not command_of(pid))  # type: ignore[misc]


@pytest.fixture(scope="session")
def slurm_node() -> Iterator[SlurmNode]:
    """One for all tests."""
    if missing := [one for one in _PROGRAMS if shutil.which(one, path=_PATH) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    node = SlurmNode(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(node.folder)
