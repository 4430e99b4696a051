"""``--backend dask`` and the ``cluster`` tasks, as a user types them, with real clusters."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Cli, messages, name_of, wait_for, with_tag
from dask_clusters import DaskCluster
from manyhands.posix import linux

HERE = Path(__file__).parents[1]
pytestmark = pytest.mark.sampled


def test_a_cluster_of_this_machine(dask_cluster: DaskCluster) -> None:
    """It is up until it is ended; only its user can read where it is, and nothing listens beyond loopback."""
    found = dask_cluster.status()
    assert [one["threads"] for one in found["workers"]] == [2, 2]
    assert found["scheduler"].startswith("tcp://127.0.0.1:")
    assert dask_cluster.run("cluster.dashboard").stdout == f"{found['dashboard']}\n"
    assert found["dashboard"].startswith("http://127.0.0.1:")
    shown = dask_cluster.run("cluster.status").stdout
    assert found["scheduler"] in shown
    assert "threads  running" in shown
    folder = dask_cluster.folder / "manyhands" / "cluster"
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in ("scheduler.json", "processes.json")} == {0o600}
    again = dask_cluster.run("cluster.up")
    assert (again.returncode, again.stdout) == (2, "")
    assert "there is a cluster already" in again.stderr
    done = dask_cluster.run("batch", "echo {}", "--backend", "dask", "--cluster", "up", "--", "a", "b")
    assert (done.returncode, done.stdout) == (0, "a\nb\n")
    assert f"the cluster's dashboard: {found['dashboard']}" in done.stderr
    done = dask_cluster.run(
        "batch", "echo {}", "--backend", "dask", "--cluster", str(folder / "scheduler.json"), "--", "c"
    )
    assert (done.returncode, done.stdout) == (0, "c\n")
    processes = [one.pid for one in linux.descendants(dask_cluster.processes.values())]
    assert dask_cluster.run("cluster.down").stdout == "the cluster was ended\n"
    assert not [pid for pid in processes if not linux.has_ended(pid)]
    assert not folder.exists()
    for task in ("cluster.down", "cluster.status", "cluster.dashboard"):
        done = dask_cluster.run(task)
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no cluster" in done.stderr


def test_pids_are_checked_before_they_are_signalled(cli: Cli, own_state: Path) -> None:
    """A process that has the pid of one that was started long ago is left alone."""
    folder = own_state / "cluster"
    folder.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as other:
        found = linux.read_stat(other.pid)
        assert found is not None
        noted = [{"what": "scheduler", "pid": other.pid, "start": found.start - 1}]
        (folder / "processes.json").write_text(json.dumps(noted))
        done = cli("cluster.down")
        assert (done.returncode, done.stderr) == (1, "there is no cluster\n")
        assert other.poll() is None
        other.kill()


def test_commands_and_what_is_recorded(cli: Cli, shared_dask: DaskCluster) -> None:
    """Exact statuses, time-outs, the host of each attempt, in stages on several backends."""
    commands = ["exit 3", "kill -9 $$", "sleep 60", "seq 100000"]
    to = ["--backend", "dask", "--cluster", shared_dask.address]
    done = cli("batch", "sh -c {}", *to, "--timeout", "3", "--grace", "0.2", "--json", "--run-id", "r", "--", *commands)
    assert done.returncode == 1, done.stderr
    jobs = {one["job"]: one for one in map(json.loads, done.stdout.splitlines()) if "status" in one and "job" in one}
    assert [jobs[number]["status"] for number in range(1, 5)] == ["failed", "failed", "timeout", "ok"]
    assert (jobs[1]["exit"], jobs[2]["signal_name"]) == (3, "SIGKILL")
    assert all(one["host"].startswith("tcp://127.0.0.1:") for one in jobs.values())
    assert cli("batch.show", "r", "--job", "4", "--output").stdout.count("\n") >= 100_000
    line = ["batch", "echo 1 {}", "--then", "echo 2 {}", "--backend", "dask,commands", "--cluster", shared_dask.address]
    done = cli(*line, "-j", "4,2", "--", *"abc")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["2 a", "2 b", "2 c"]


def test_a_killed_batch_on_a_cluster_of_its_own(environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """By -9: its cluster ends with it, and so do its jobs; the resume makes another."""
    command = [sys.executable, "-m", "manyhands", "batch", "--shell", "--backend", "dask", "-j", "2", "--run-id", "own"]
    script = "test -e go || sleep 600; echo {}"
    with subprocess.Popen([*command, script, "--", "a", "b"], env=environment, cwd=tmp_path) as process:
        try:
            wait_for(lambda: len(with_tag("MH_RUN=own")) >= 2, 60)
            below = linux.descendants([process.pid])
        finally:
            process.kill()
    wait_for(lambda: not with_tag("MH_RUN=own"), 30)
    wait_for(lambda: all(linux.has_ended(one.pid) for one in below), 30)
    (tmp_path / "go").touch()
    done = cli("batch.resume", "own")
    assert (done.returncode, sorted(done.stdout.split())) == (0, ["a", "b"]), done.stderr


def test_a_killed_batch_on_a_cluster_that_stays(
    environment: dict[str, str], tmp_path: Path, shared_dask: DaskCluster
) -> None:
    """Dask tells the workers that nobody wants the results: its jobs end although its lease is long."""
    to = ["--backend", "dask", "--cluster", shared_dask.address, "--run-id", "stays"]
    command = [sys.executable, "-m", "manyhands", "batch", "sleep {}", *to, "--", "600", "601"]

    def jobs() -> list[str]:
        return [name_of(one.pid) for one in with_tag("MH_RUN=stays") if name_of(one.pid) == "sleep"]

    with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
        try:
            wait_for(lambda: len(jobs()) == 2, 60)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not jobs(), 30)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--cluster", "local"], "--cluster has no effect without --backend dask"),
        (["--backend", "dask", "--cluster", "sched"], "--cluster 'sched': expected local, up, tcp://HOST:PORT"),
        (["--backend", "dask", "--cluster", "tcp://sched"], "--cluster 'tcp://sched': expected local"),
        (["--backend", "dask", "--cluster", "tcp://10.0.0.1:8786"], "its connection would not be encrypted"),
        (["--backend", "dask", "--cluster", "tcp://127.0.0.1:99999"], "there is no such port"),
        (["--backend", "dask", "--cluster", "tcp://127.0.0.1:1"], "no scheduler answers there"),
        (["--backend", "dask", "--cluster", "no/such.json"], "there is no such scheduler file"),
        (["--backend", "dask", "--cluster", "up"], "there is no cluster: start one by cluster.up"),
        (["--backend", "dask", "--cluster", "slurm:0"], "expected local"),
        (["--backend", "dask", "--cluster", "ssh:a,-oProxyCommand=x"], "expected local"),
        (["--backend", "dask", "-j", "50%"], "--jobs 50%: with --backend dask a number"),
        (["--backend", "dask", "--cluster", "local", "--lease", "0"], "--lease 0"),
        (["--backend", "dask", "--stdin", "-"], "--stdin -"),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli) -> None:
    """One line, exit status 2."""
    done = cli("batch", "true", *args, "--", "a")
    assert (done.returncode, done.stdout, len(messages(done.stderr))) == (2, "", 1), done.stderr
    assert text in done.stderr


def test_dask_is_not_installed(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """One line that says what to install."""
    (tmp_path / "without").mkdir()
    script = "import sys; sys.modules['distributed'] = None\nfrom manyhands.__main__ import main\nsys.exit(main())"
    for args in (["batch", "true", "--backend", "dask", "--", "1"], ["cluster.up"]):
        command = [sys.executable, "-c", script, *args]
        done = subprocess.run(command, env=environment, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "distributed, which is not installed" in done.stderr


def test_a_cluster_that_is_made_for_a_batch_leaves_nothing(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """No process, and no folder; Dask's own would be one that all users of the machine share."""
    (tmp_path / "temporary").mkdir()
    environment["TMPDIR"] = str(tmp_path / "temporary")
    done = cli("batch", "echo {}", "--backend", "dask", "-j", "2", "--", "a", "b")
    assert (done.returncode, sorted(done.stdout.split())) == (0, ["a", "b"]), done.stderr
    assert list((tmp_path / "temporary").iterdir()) == []
    wait_for(lambda: not with_tag(f"TMPDIR={tmp_path}/temporary"))
