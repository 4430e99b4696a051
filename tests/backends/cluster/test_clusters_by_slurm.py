"""``--cluster slurm:JOBS`` on a real Slurm of one node."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import Cli, messages, wait_for, with_tag
from dask_clusters import certificate
from slurm_node import SlurmNode

pytestmark = pytest.mark.sampled
TO = ["--backend", "dask", "--cluster", "slurm:2"]
BATCH = [sys.executable, "-m", "manyhands", "batch", *TO, "--insecure"]


@pytest.fixture
def node(slurm_node: SlurmNode, environment: dict[str, str], tmp_path: Path) -> SlurmNode:
    """The node; programs use it."""
    pytest.importorskip("distributed")
    if find_spec("dask_jobqueue") is None:  # to import it would take Ctrl-C over, for all tests of this process
        pytest.skip("dask-jobqueue is not installed")
    logs = {"DASK_JOBQUEUE__SLURM__LOG_DIRECTORY": str(tmp_path), "DASK_TEMPORARY_DIRECTORY": str(tmp_path)}
    environment |= slurm_node.environment | logs
    return slurm_node


def test_functions_and_nothing_is_left(node: SlurmNode, cli: Cli, tmp_path: Path) -> None:
    """The jobs of Slurm end with the batch."""
    done = cli("batch.call", "math:sqrt", "--type", "int", *TO, "--insecure", "--", "1", "4", "9", "16")
    assert (done.returncode, done.stdout) == (0, "1.0\n2.0\n3.0\n4.0\n"), done.stderr
    assert messages(done.stderr)[0].startswith("manyhands: the cluster's dashboard: http://127.0.0.1:")
    assert "distributed" not in done.stderr
    wait_for(lambda: not node.jobs())
    wait_for(lambda: not with_tag(f"DASK_TEMPORARY_DIRECTORY={tmp_path}"))


def test_commands_with_tls(node: SlurmNode, cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """The certificates of Dask's configuration are those of all."""
    environment |= certificate(tmp_path, "right") | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    done = cli("batch", "echo {}", *TO, "--", "a", "b")
    assert (done.returncode, done.stdout) == (0, "a\nb\n"), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_batch_that_is_ended(node: SlurmNode, number: int, environment: dict[str, str], tmp_path: Path) -> None:
    """By Ctrl-C, or by -9: both its jobs and those of Slurm end."""
    command = [*BATCH, "sleep {}", "--run-id", "ends", "--", "600", "601"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: len(with_tag("MH_RUN=ends")) >= 2, 100)
            assert len(node.jobs("-t", "running")) == 2
        finally:
            process.send_signal(number)
    assert process.returncode == -number
    wait_for(lambda: not with_tag("MH_RUN=ends"))
    wait_for(lambda: not node.jobs(), 100)


def test_a_job_of_slurm_that_has_ended_is_followed_by_another(
    node: SlurmNode, environment: dict[str, str], tmp_path: Path
) -> None:
    """As when its time is up: what ran in it is lost, and tried again."""
    (tmp_path / "job").write_text("echo $1 >> ledger; until [ -e gate ]; do sleep 0.05; done; echo $1")
    command = [*BATCH, "bash job {}", "--retries", "3", "--workdir", str(tmp_path), "--", "1", "2"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        ledger = tmp_path / "ledger"
        wait_for(lambda: ledger.exists() and len(ledger.read_text().split()) == 2, 100)
        first = node.jobs()
        node.run("scancel", first[0])
        wait_for(lambda: len({*node.jobs("-t", "running")} - {*first}) == 1, 100)
        wait_for(lambda: len(ledger.read_text().split()) == 3, 100)
        (tmp_path / "gate").touch()
        out, _ = process.communicate()
    assert (process.returncode, out.split()) == (0, [b"1", b"2"])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"DASK_JOBQUEUE__SLURM__QUEUE": "nowhere"}, "invalid partition specified: nowhere"),
        ({"DASK_JOBQUEUE__SLURM__CORES": "None"}, "set jobqueue.slurm.cores in Dask's configuration"),
        ({"PATH": str(Path(sys.executable).parent)}, "No such file or directory: 'sbatch'"),
    ],
)
def test_what_slurm_does_not_take(
    node: SlurmNode, settings: dict[str, str], text: str, cli: Cli, environment: dict[str, str]
) -> None:
    """One line, and no job is left."""
    environment |= settings
    done = cli("batch", "true", *TO, "--insecure", "--", "a")
    assert (done.returncode in (1, 2), done.stdout, len(messages(done.stderr))) == (True, "", 1), done.stderr
    assert text in done.stderr
    assert node.jobs() == []
