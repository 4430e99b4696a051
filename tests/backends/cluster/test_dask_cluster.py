"""The backend ``dask`` on real clusters: workers, nannies and schedulers that are killed, TLS, clients of programs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import functions
from conftest import messages, wait_for, with_tag
from dask_clusters import DaskCluster, certificate, has_scheduler, running
from lasting_processes import command_of
from manyhands import Status, UsageError, run_batch
from manyhands.backends.cluster import worker_side
from manyhands.backends.cluster.connection import connected
from manyhands.backends.cluster.coordinator import Clustered
from manyhands.backends.protocol import Ended, Noted, Report, Started
from manyhands.backends.registry import open_backend
from manyhands.backends.settings import CommandSettings
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Job
from manyhands.posix import linux
from manyhands.work.cluster_address import Cluster

TOKEN = f"cluster{os.getpid()}"
LEASE = 2.0
pytestmark = pytest.mark.sampled


class Bench:
    """A backend, and what it has reported."""

    def __init__(self, backend: Clustered) -> None:
        self.backend = backend
        self.reports: list[Report] = []
        self.last = 0

    def sh(self, script: str) -> Attempt:
        self.last += 1
        one = Attempt(Job(self.last, b"k", (b"x",)), 1, (b"sh", b"-c", script.encode()))
        self.backend.start(one)
        return one

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"only {self.reports}"
            self.reports += self.backend.reports(0.1)

    def ends(self) -> dict[Attempt, Ended]:
        return {one.attempt: one for one in self.reports if isinstance(one, Ended)}

    def starts(self) -> dict[Attempt, Started]:
        return {one.attempt: one for one in self.reports if isinstance(one, Started)}

    def notes(self) -> list[str]:
        return [one.text for one in self.reports if isinstance(one, Noted)]

    def end_of(self, attempt: Attempt) -> Ended:
        self.until(lambda: attempt in self.ends())
        return self.ends()[attempt]

    def start_of(self, attempt: Attempt) -> Started:
        self.until(lambda: attempt in self.starts())
        return self.starts()[attempt]


Make = Callable[..., Bench]


@pytest.fixture(scope="module")
def two_workers() -> Iterator[DaskCluster]:
    """A cluster whose workers may be killed: their nannies start others."""
    pytest.importorskip("distributed")
    yield from running(2, 2)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes backends; closes them, after which nothing of theirs runs."""
    made: list[Bench] = []

    def bench(cluster: Cluster, **settings: Any) -> Bench:
        outputs = tmp_path / f"outputs{len(made)}"
        outputs.mkdir()
        given: dict[str, Any] = {"slots": 1024, "outputs": outputs, "token": f"{TOKEN}-{len(made)}"}
        given |= {"environment": {}, "workdir": tmp_path, "grace": 0.3, "cluster": cluster, "lease": LEASE, **settings}
        backend = open_backend("dask", CommandSettings(**given))
        assert isinstance(backend, Clustered)
        made.append(Bench(backend))
        return made[-1]

    yield bench
    for one in made:
        one.backend.close()
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}"))


def worker_of(cluster: DaskCluster, started: Started) -> int:
    """The process of the worker on which an attempt runs: some process above that of the attempt."""
    pids, pid = set(cluster.worker_pids()), started.pid
    while pid not in pids:
        stat = linux.read_stat(pid)
        assert stat is not None
        pid = stat.ppid
    return pid


def test_a_killed_worker(two_workers: DaskCluster, make: Make) -> None:
    """What ran there is lost, and ends; what waited is done by others, and the worker that the nanny starts takes part."""
    bench = make(two_workers.cluster())
    running = [bench.sh("sleep 600") for _ in range(4)]
    waiting = [bench.sh("echo well") for _ in range(6)]
    first = bench.start_of(running[0])
    for one in running:
        assert (bench.start_of(one).host or "").startswith("tcp://127.0.0.1:")
    os.kill(worker_of(two_workers, first), signal.SIGKILL)
    for one in waiting:
        assert bench.end_of(one).ending.stdout.data == b"well\n"
    lost = [one for one in running if one in bench.ends()]
    assert {bench.starts()[one].host for one in lost} == {first.host}
    assert len(lost) == 2
    for one in lost:
        end = bench.ends()[one]
        assert (end.ending.exit, end.ending.signal, end.began, end.ending.host) == (None, None, True, first.host)
        assert "was lost" in (end.ending.error or "")
    wait_for(lambda: not any(with_tag(f"MH_TAG={TOKEN}-0.{one.job.number}.1") for one in lost))
    assert first.host not in {end.ending.host for one, end in bench.ends().items() if one in waiting}


@pytest.fixture
def impatient_cluster() -> Iterator[DaskCluster]:
    """Two workers; Dask takes one for lost of which it has heard nothing for 15 s."""
    pytest.importorskip("distributed")
    yield from running(2, 2, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="15s")


def test_a_worker_that_is_stopped(impatient_cluster: DaskCluster, make: Make, tmp_path: Path) -> None:
    """What ran there is lost when Dask says so, and the others do the rest; what it had ends with it, and none of it counts."""
    bench = make(impatient_cluster.cluster())
    bench.until(lambda: len(impatient_cluster.worker_pids()) == 2)
    script = f"until [ -e {tmp_path}/gate ]; do sleep 0.05; done; echo well"
    running = [bench.sh(script) for _ in range(4)]
    first = bench.start_of(running[0])
    hosts = {one: bench.start_of(one).host for one in running}
    stopped = worker_of(impatient_cluster, first)
    os.kill(stopped, signal.SIGSTOP)
    try:
        later = bench.sh("echo later")
        lost = [one for one in running if hosts[one] == first.host]
        for one in lost:
            end = bench.end_of(one)
            assert (end.ending.exit, end.ending.host, end.began) == (None, first.host, True)
            assert "was lost" in (end.ending.error or "")
        (tmp_path / "gate").touch()
        for one in (later, *(one for one in running if one not in lost)):
            end = bench.end_of(one)
            assert (end.ending.exit, end.ending.host != first.host) == (0, True), (
                one.job.number,
                end.ending.error,
                end.ending.host,
                first.host,
                bench.notes(),
            )
    finally:
        with suppress(ProcessLookupError):  # its nanny ends it
            os.kill(stopped, signal.SIGCONT)
    wait_for(lambda: not any(with_tag(f"MH_TAG={TOKEN}-0.{one.job.number}.1") for one in running))
    assert Counter(one.attempt for one in bench.reports if isinstance(one, Ended)).most_common(1)[0][1] == 1


def test_stop_and_recall_reach_what_runs_and_what_waits(two_workers: DaskCluster, make: Make) -> None:
    """What runs ends by the signal; what waits in the cluster has not begun, and does not."""
    bench = make(two_workers.cluster())
    bench.until(lambda: len(two_workers.worker_pids()) == 2)
    running = [bench.sh("sleep 600") for _ in range(4)]
    for one in running:
        bench.start_of(one)
    waiting = [bench.sh("echo never") for _ in range(8)]
    bench.backend.recall(waiting[:4])
    bench.backend.stop([*waiting[4:], running[0]])
    assert not any(bench.end_of(one).began for one in waiting)
    assert bench.end_of(running[0]).ending.signal == signal.SIGTERM
    bench.backend.stop(running, kill=True)
    assert {bench.end_of(one).ending.signal for one in running[1:]} == {signal.SIGKILL}


def test_pause(two_workers: DaskCluster, make: Make, tmp_path: Path) -> None:
    """All processes of a job stop, for longer than the lease, and go on."""
    bench = make(two_workers.cluster())
    one = bench.sh(f"while ! test -e {tmp_path}/go; do sleep 0.05; done; echo well")
    bench.start_of(one)
    bench.backend.pause(True)
    wait_for(lambda: all(stat.state == "T" for stat in with_tag(f"MH_TAG={TOKEN}-0.1.1")))
    (tmp_path / "go").touch()
    other = bench.sh("echo other")
    deadline = time.monotonic() + 2 * LEASE
    bench.until(lambda: time.monotonic() > deadline)
    assert bench.ends() == {}
    bench.backend.pause(False)
    assert bench.end_of(one).ending.stdout.data == b"well\n"
    assert bench.end_of(other).ending.stdout.data == b"other\n"


def test_a_coordinator_that_gives_no_sign_of_life(two_workers: DaskCluster, make: Make) -> None:
    """Its jobs end when its lease is over, although its connection stands."""
    bench = make(two_workers.cluster())
    one = bench.sh("sleep 600")
    bench.start_of(one)
    bench.backend._carrier._crew._next_beat = time.monotonic() + 600
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}-0.1.1"), 30)
    assert "no sign of life" in (bench.end_of(one).ending.error or "")
    assert bench.end_of(bench.sh("echo well")).ending.stdout.data == b"well\n"


def test_what_dask_will_not_send_fails(shared_dask: DaskCluster, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, with the reason; nobody waits for it."""
    bench = make(shared_dask.cluster())
    with monkeypatch.context() as broken:
        broken.setattr(bench.backend._carrier._client, "map", Mock(side_effect=ValueError("too large")))
        end = bench.end_of(bench.sh("true"))
    assert (end.began, end.ending.error) == (False, "it cannot be sent: too large")
    assert bench.end_of(bench.sh("true")).ending.exit == 0


def test_a_killed_nanny_and_a_killed_scheduler(dask_cluster: DaskCluster, make: Make) -> None:
    """All workers go with the nannies: their jobs are lost, and what waits is done by a new one. Without the scheduler the batch ends."""
    bench = make(dask_cluster.cluster())
    running = [bench.sh("sleep 600") for _ in range(4)]
    for one in running:
        bench.start_of(one)
    waiting = bench.sh("echo well")
    os.kill(dask_cluster.processes["workers"], signal.SIGKILL)
    assert all("was lost" in (bench.end_of(one).ending.error or "") for one in running)
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}"), 30)
    command = [sys.executable, "-P", "-m", "dask", "worker", dask_cluster.address, "--nthreads", "1", "--no-nanny"]
    command += ["--host", "127.0.0.1", "--no-dashboard"]
    with subprocess.Popen(command, env=dask_cluster.environment, stderr=subprocess.DEVNULL) as worker:
        try:
            assert bench.end_of(waiting).ending.stdout.data == b"well\n"
            last = bench.sh("sleep 600")
            bench.start_of(last)
            os.kill(dask_cluster.processes["scheduler"], signal.SIGKILL)
            assert "was lost" in (bench.end_of(last).ending.error or "")
            with pytest.raises(ManyhandsError, match=r"the scheduler tcp://127.0.0.1:\d+ was lost"):
                bench.until(lambda: False)
            bench.backend.close()
        finally:
            worker.kill()
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}"), 30)


def test_large_outputs_come_in_pieces(two_workers: DaskCluster, make: Make) -> None:
    """They are whole, and the worker keeps no file of them."""
    bench = make(two_workers.cluster())
    one = bench.sh("head -c 9000000 /dev/zero; head -c 4194304 /dev/zero >&2")
    end = bench.end_of(one).ending
    assert (len(end.stdout.read()), len(end.stderr.read())) == (9_000_000, 4_194_304)


def test_several_together_wait_for_none(two_workers: DaskCluster) -> None:
    """Short calls travel together; one of them that takes long holds up none of the other tasks."""
    wait_for(lambda: len(two_workers.worker_pids()) == 2)  # another test may have killed one
    inputs: list[Any] = [0.0] * 200
    inputs[100] = 3.0
    found: dict[int, float] = {}
    for one in run_batch(functions.naps, inputs, backend="dask", cluster=two_workers.address, chunk=50):
        assert one.status is Status.OK, one.error
        found[one.number] = time.monotonic()
    assert sum(at < found[101] for at in found.values()) >= 100


def test_a_client_of_the_program(two_workers: DaskCluster) -> None:
    """Its scheduler is used, and the client stays as it is; what runs is stored with its address."""
    from distributed import Client

    with Client(two_workers.address, set_as_default=False) as client:
        done = list(run_batch(functions.double, [1, (2,), "x"], backend="dask", cluster=client, ordered=True))
        assert [one.value for one in done] == [2, 4, "xx"]
        assert {(one.host or "")[:16] for one in done} == {"tcp://127.0.0.1:"}
        assert client.submit(abs, -1).result() == 1


def test_no_profiler_looks_at_workers_that_are_made_here(two_workers: DaskCluster) -> None:
    """It costs, and with Python 3.11 a worker may stand still because of it."""
    import dask
    from distributed import Client

    setting = "distributed.worker.profile.enabled"
    with Client(two_workers.address, set_as_default=False) as client:
        assert {*client.run(dask.config.get, setting).values()} == {False}

    async def made_for_a_batch() -> Any:
        made = await connected(Cluster.of("local", lease=60.0, insecure=False), 2)
        try:
            return await made.client.run(dask.config.get, setting)
        finally:
            await made.close()

    assert {*asyncio.run(made_for_a_batch()).values()} == {False}


def test_a_function_that_has_no_name(two_workers: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It travels by value, with what it uses of its module; its exception comes back."""
    (tmp_path / "only_here.py").write_text("def helper(x): return x + 1\ndef go(x): return helper(x)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    os.rename(tmp_path / "only_here.py", tmp_path / "gone")
    to = two_workers.address
    assert [one.value for one in run_batch(only_here.go, [1], backend="dask", cluster=to)] == [2]
    assert [one.value for one in run_batch(lambda x: {x, 5}, [1], backend="dask", cluster=to)] == [{1, 5}]
    (one,) = run_batch(lambda x: 1 // x, [0], backend="dask", cluster=to)
    assert isinstance(one.exception, ZeroDivisionError)


def test_another_version_there(two_workers: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, before anything runs."""
    monkeypatch.setattr(worker_side, "version", lambda: "99.1")
    with pytest.raises(UsageError, match=r"the worker tcp://.* has manyhands [\d.]+, and this is 99.1"):
        list(run_batch("true", [1], backend="dask", cluster=two_workers.address))


def test_the_environment_of_the_program_stays_as_it_is() -> None:
    """Dask sets OMP_NUM_THREADS and others for its workers in the process that starts them; and its log is as loud as it was."""
    pytest.importorskip("distributed")
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [one.level for one in loggers]
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED")
    before = [os.environ.get(name) for name in names]
    with run_batch(environment_of, ["OMP_NUM_THREADS"], backend="dask") as run:
        (there,) = run
        assert [os.environ.get(name) for name in names] == before
    assert [os.environ.get(name) for name in names] == before
    assert [one.level for one in loggers] == levels
    assert there.value == "1"


def environment_of(name: str) -> str | None:
    return os.environ.get(name)


def test_results_that_would_be_files_there(two_workers: DaskCluster) -> None:
    """They are refused."""
    with pytest.raises(UsageError, match="choose another result than pickle-file"):
        list(run_batch(abs, [1], backend="dask", cluster=two_workers.address, result="pickle-file"))


# -- TLS -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[tuple[str, dict[str, str], list[Any]]]:
    """(the address, the environment that has the certificates, the processes): started by Dask's own programs, as by a user."""
    known = environment | certificate(tmp_path, "right") | {"DASK_TEMPORARY_DIRECTORY": str(tmp_path)}
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-P", "-m", "dask"]
    usual = ["--protocol", "tls", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    place = ["--nthreads", "2", "--name"]
    made: list[Any] = []
    try:
        for command in (["scheduler", "--port", "0", *usual], *(["worker", *usual, *place, f"w{n}"] for n in range(2))):
            with (tmp_path / "log").open("ab") as log:
                made.append(subprocess.Popen([*dask, *command], env=known, stdout=log, stderr=log))
            wait_for(lambda: has_scheduler(file), 60)
        from manyhands.backends.cluster.scheduler_file import check_running

        yield check_running(str(file), own=False), known, made
    finally:
        for one in reversed(made):
            for child in linux.descendants([one.pid]):
                linux.send_signal_exact(child.pid, child.start, signal.SIGKILL)
            one.kill()
            one.wait()


def test_a_tls_cluster(tls_cluster: tuple[str, dict[str, str], list[Any]], tmp_path: Path) -> None:
    """With the certificates of Dask's configuration; without them, or with others, there is one line."""
    address, known, _ = tls_cluster
    assert address.startswith("tls://127.0.0.1:")
    batch = [sys.executable, "-m", "manyhands", "batch", "--backend", "dask", "--cluster", address]

    def run(*args: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*batch, *args], env=env, cwd=tmp_path, check=False, capture_output=True, text=True)

    plain = {name: value for name, value in known.items() if "TLS" not in name}
    for env, why in ((plain, "it needs certificates"), (plain | certificate(tmp_path, "wrong"), "TLS failed")):
        done = run("true", "--", "1", env=env)
        assert (done.returncode, done.stdout, len(messages(done.stderr))) == (2, "", 1), done.stderr
        assert why in done.stderr
    done = run("echo {}", "--", "a", "b", env=known)
    assert (done.returncode, done.stdout) == (0, "a\nb\n"), done.stderr


def test_a_cluster_of_somebody_else_does_nothing_again(
    tls_cluster: tuple[str, dict[str, str], list[Any]], tmp_path: Path
) -> None:
    """Its own rule is three tries; a killed worker's jobs are lost, and none of them begins a second time."""
    address, known, (_, first, _) = tls_cluster
    (tmp_path / "job").write_text("echo $1 >> ledger; until [ -e gate ]; do sleep 0.05; done")
    batch = [sys.executable, "-m", "manyhands", "batch", "--backend", "dask", "--cluster", address, "--no-keep-order"]
    batch += ["--workdir", str(tmp_path), "bash job {}", "--", *"1234"]
    with subprocess.Popen(batch, env=known, cwd=tmp_path, stderr=subprocess.PIPE) as run:
        ledger = tmp_path / "ledger"
        wait_for(lambda: ledger.exists() and len(ledger.read_text().split()) == 4)
        time.sleep(0.3)  # it is known where each has begun
        below = [one.pid for one in linux.descendants([first.pid]) if "spawn_main" in command_of(one.pid)]
        for pid in (first.pid, *below):  # the nanny, and the worker
            os.kill(pid, signal.SIGKILL)
        assert run.stderr is not None
        for line in run.stderr:
            if b"was lost" in line:
                break
        (tmp_path / "gate").touch()
        said = run.stderr.read().decode()
    assert sorted(ledger.read_text().split()) == list("1234")
    assert run.returncode == 1, said


def test_a_scheduler_that_no_one_serves(tmp_path: Path) -> None:
    """It is not waited for without end."""
    from redis_servers import free_port

    with pytest.raises(UsageError, match="no scheduler answers there"):
        list(run_batch("true", [1], backend="dask", cluster=f"tcp://127.0.0.1:{free_port()}"))
