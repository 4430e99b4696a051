"""The network fails: what becomes of the jobs of ``--on``, by their own ledger. Real hosts, in network namespaces."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from conftest import Cli, signal_all, wait_for, with_tag
from dask_clusters import has_scheduler
from lasting_processes import command_of
from network_hosts import NetworkHosts
from redis_servers import Consumer
from redis_servers import running as redis_running

LEASE = 2.0
pytestmark = [pytest.mark.sampled, pytest.mark.slow]
JOB = """
mark() { echo "$1 $2 $MH_ATTEMPT ${MH_HOST:-?} $EPOCHREALTIME" >> LEDGER; }
mark begun $1
for ((i = 0; i < STEPS; i++)); do sleep 0.1; mark alive $1; done
mark ended $1
"""


class Mark(NamedTuple):
    """A line of the ledger."""

    what: str
    job: str
    attempt: int
    host: str
    at: float


class Trial:
    """A batch on hosts, with the ledger of its jobs."""

    def __init__(self, cli: Cli, environment: dict[str, str], folder: Path, ssh: str) -> None:
        self.cli, self.environment, self.ledger = cli, environment, folder / "ledger"
        self.script = folder / "job"
        self.ssh = ssh
        self.process: subprocess.Popen[str] | None = None

    def on(self, hosts: str, jobs: int, *more: str, steps: int = 20) -> None:
        """Begin it on these hosts."""
        self.start(["--on", hosts, "--ssh", self.ssh, *more], jobs, steps)

    def start(self, args: Sequence[str], jobs: int, steps: int) -> None:
        """Begin it; a job takes a tenth of a second for each of ``steps``."""
        self.script.write_text(JOB.replace("LEDGER", str(self.ledger)).replace("STEPS", str(steps)))
        line = ["batch", f"bash {self.script} {{}}", "--lease", str(LEASE), "--grace", "0.5", "--run-id", "r", *args]
        command = [sys.executable, "-m", "manyhands", *line, "--", *map(str, range(1, jobs + 1))]
        self.process = subprocess.Popen(
            command, env=self.environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )

    def end(self) -> tuple[int, str]:
        """(its exit status, what it has said)"""
        assert self.process
        said = self.process.communicate()[1]
        return self.process.returncode, said

    def marks(self, what: str | None = None) -> list[Mark]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        found = [line.split() for line in lines]
        marks = [Mark(one[0], one[1], int(one[2]), one[3], float(one[4])) for one in found if len(one) == 5]
        return [one for one in marks if what in (None, one.what)]

    def outcomes(self) -> list[tuple[str, str]]:
        """(input, status) of each job in the journal."""
        shown = [json.loads(line) for line in self.cli("batch.show", "r", "--json").stdout.splitlines()]
        return [(one["input"], one["status"]) for one in shown]

    def never_twice_at_once(self) -> bool:
        """Whether each attempt was over before another of the same job began."""
        spans: dict[tuple[str, int, str], tuple[float, float]] = {}
        for one in self.marks():
            first, _ = spans.get((one.job, one.attempt, one.host), (one.at, one.at))
            spans[one.job, one.attempt, one.host] = first, one.at
        jobs = {job for job, *_ in spans}
        ordered = [sorted(span for (job, *_), span in spans.items() if job == one) for one in jobs]
        return all(a[1] < b[0] for each in ordered for a, b in pairwise(each))


@pytest.fixture
def trial(cli: Cli, environment: dict[str, str], tmp_path: Path, network_hosts: NetworkHosts) -> Iterator[Trial]:
    """One, whose batch is ended with the test."""
    one = Trial(cli, environment, tmp_path, network_hosts.ssh)
    yield one
    if one.process and one.process.poll() is None:
        one.process.kill()
        one.process.communicate()


def nothing_on(host: str) -> Callable[[], bool]:
    """Whether nothing of our jobs runs on ``host``."""
    return lambda: not with_tag(f"MH_HOST={host}")


def test_a_host_that_is_cut_off_for_ever(trial: Trial, network_hosts: NetworkHosts) -> None:
    """It ends its jobs after its lease; only then another does them."""
    trial.on("n1:2,n2:2", 4, "--retries", "2", steps=40)
    wait_for(lambda: {one.host for one in trial.marks()} == {"n1", "n2"}, 30)
    network_hosts.n1.cut()
    status, said = trial.end()
    assert (status, trial.outcomes()) == (0, [(str(n), "ok") for n in range(1, 5)]), said
    assert "n1 was lost" in said
    assert trial.never_twice_at_once()
    assert (len(trial.marks("ended")), len(trial.marks("begun"))) == (4, 6)
    wait_for(nothing_on("n1"))


def test_a_host_that_is_cut_off_for_less_than_its_lease(trial: Trial, network_hosts: NetworkHosts) -> None:
    """Nothing is lost, and nothing is done again."""
    trial.on("n1:2", 4, steps=15)
    wait_for(trial.marks, 30)
    network_hosts.n1.cut()
    time.sleep(LEASE / 4)
    network_hosts.n1.mend()
    status, said = trial.end()
    assert (status, trial.outcomes()) == (0, [(str(n), "ok") for n in range(1, 5)]), said
    assert (len(trial.marks("begun")), len(trial.marks("ended"))) == (4, 4)


def test_a_host_that_comes_back(trial: Trial, network_hosts: NetworkHosts) -> None:
    """It is connected again; what had run there was ended, and is done again."""
    trial.on("n1:2", 3, "--retries", "3", steps=30)
    wait_for(trial.marks, 30)
    network_hosts.n1.cut()
    wait_for(nothing_on("n1"), 30)
    network_hosts.n1.mend()
    status, said = trial.end()
    assert (status, trial.outcomes()) == (0, [(str(n), "ok") for n in range(1, 4)]), said
    assert trial.never_twice_at_once()
    assert len(trial.marks("ended")) == 3


def test_the_coordinator_is_killed_while_a_host_is_cut_off(trial: Trial, network_hosts: NetworkHosts) -> None:
    """The host hears of nothing, and ends its jobs nevertheless; a resume does them, on the same hosts."""
    trial.on("n1:2,n2:2", 6, steps=600)
    wait_for(lambda: len(trial.marks("begun")) == 4, 30)
    network_hosts.n1.cut()
    assert trial.process
    trial.process.kill()
    trial.end()
    wait_for(nothing_on("n2"))
    wait_for(nothing_on("n1"), 30)
    network_hosts.n1.mend()
    trial.script.write_text(trial.script.read_text().replace("600", "1"))
    done = trial.cli("batch.resume", "r")
    assert (done.returncode, trial.outcomes()) == (0, [(str(n), "ok") for n in range(1, 7)]), done.stderr
    assert trial.never_twice_at_once()


@pytest.mark.parametrize("whole", [False, True])
def test_a_host_is_stopped_for_longer_than_its_lease(whole: bool, trial: Trial, network_hosts: NetworkHosts) -> None:
    """What carries the connection there, or all that runs there: the jobs are done elsewhere, and recorded once. When it goes on, it ends
    them at once."""
    trial.on("n1:1,n2:1", 4, "--retries", "2", steps=10)
    wait_for(lambda: "n1" in {one.host for one in trial.marks()}, 30)
    there = pids_in(network_hosts.n1.namespace)
    stopped = [pid for pid in there if whole or command_of(pid).startswith("sshd:")]
    signal_all(stopped, signal.SIGSTOP)
    try:
        status, said = trial.end()
    finally:
        signal_all(stopped, signal.SIGCONT)
    assert (status, trial.outcomes()) == (0, [(str(n), "ok") for n in range(1, 5)]), said
    assert "n1 was lost: it did not answer" in said
    assert whole or trial.never_twice_at_once()
    wait_for(nothing_on("n1"))


def test_a_consumer_that_is_cut_off(
    trial: Trial, network_hosts: NetworkHosts, environment: dict[str, str], tmp_path: Path
) -> None:
    """It ends its jobs after its lease; only then another consumer does them."""
    with redis_running("--bind", f"127.0.0.1 {network_hosts.n1.ours}", "--protected-mode", "no") as server:
        more = ["--allow-commands", "--slots", "2", "--lease", str(LEASE)]
        there = f"redis://{network_hosts.n1.ours}:{server.port}/0"
        far = Consumer(server, environment, *more, "--insecure", cwd=tmp_path, prefix=network_hosts.n1.run, broker=there)
        far.wait_until_ready()
        trial.start(["--backend", "redis", "--broker", server.url, "--retries", "2"], 4, 60)
        wait_for(lambda: len(trial.marks("begun")) == 2, 30)
        network_hosts.n1.cut()
        near = Consumer(server, environment, *more, cwd=tmp_path)
        status, said = trial.end()
        wait_for(lambda: not any("mark" in command_of(pid) for pid in pids_in(network_hosts.n1.namespace)))
        near.close()
        far.process.kill()
        far.close()
        assert (status, trial.outcomes()) == (0, [(str(n), "ok") for n in range(1, 5)]), said
        assert trial.never_twice_at_once()
        assert (len(trial.marks("ended")), len(trial.marks("begun"))) == (4, 6)


@pytest.fixture
def far_cluster(network_hosts: NetworkHosts, environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler with a worker here and one on n1, started by Dask's own programs; Dask takes one for lost of which it
    has heard nothing for 6 s. They meet at an address that is still there when the cable to n1 is cut."""
    pytest.importorskip("distributed")
    here, there, file = network_hosts.n2.ours, network_hosts.n1.address, tmp_path / "scheduler.json"
    env = environment | {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s", "DASK_TEMPORARY_DIRECTORY": str(tmp_path)}
    dask, usual = [sys.executable, "-P", "-m", "dask"], ["--no-dashboard", "--scheduler-file", str(file)]
    worker = [*dask, "worker", "--no-nanny", "--nthreads", "2", *usual]
    commands = [
        [*dask, "scheduler", "--host", here, "--port", "0", *usual],
        [*worker, "--host", here],
        [*network_hosts.n1.run, *worker, "--host", there],
    ]
    made = []
    for command in commands:
        with (tmp_path / "log").open("ab") as log:
            made.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
        wait_for(lambda: has_scheduler(file), 60)
    log_of = tmp_path / "log"
    wait_for(lambda: log_of.read_text().count("Registered to:") == 2, 60)
    yield json.loads(file.read_text())["address"]
    for one in reversed(made):
        one.kill()
        one.wait()


def test_a_worker_of_a_cluster_that_is_cut_off(trial: Trial, network_hosts: NetworkHosts, far_cluster: str) -> None:
    """It ends its jobs after its lease; Dask takes it for lost later, and only then the others do them."""
    cluster = ["--backend", "dask", "--cluster", far_cluster, "--insecure", "--retries", "2"]
    trial.start([*cluster, "-j", "4"], 4, 40)
    wait_for(lambda: len(trial.marks("begun")) == 4, 60)
    network_hosts.n1.cut()
    status, said = trial.end()
    assert (status, trial.outcomes()) == (0, [(str(n), "ok") for n in range(1, 5)]), said
    assert trial.never_twice_at_once()
    assert (len(trial.marks("ended")), len(trial.marks("begun"))) == (4, 6)
    wait_for(lambda: not any("mark" in command_of(pid) for pid in pids_in(network_hosts.n1.namespace)))


def test_a_cluster_that_is_cut_off_for_less_than_its_lease(
    trial: Trial, network_hosts: NetworkHosts, far_cluster: str
) -> None:
    """Nothing is lost, and nothing is done again."""
    trial.start(["--backend", "dask", "--cluster", far_cluster, "--insecure", "-j", "4", "--lease", "20"], 4, 40)
    wait_for(lambda: len(trial.marks("begun")) == 4, 60)
    network_hosts.n1.cut()
    time.sleep(LEASE / 2)
    network_hosts.n1.mend()
    status, said = trial.end()
    assert (status, trial.outcomes()) == (0, [(str(n), "ok") for n in range(1, 5)]), said
    assert (len(trial.marks("begun")), len(trial.marks("ended"))) == (4, 4)


def pids_in(namespace: str) -> list[int]:
    """All processes of a namespace."""
    found = subprocess.run(["ip", "netns", "pids", namespace], check=True, capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]
