"""A batch through a queue whose coordinator is killed with -9, and its resume, as a user types them: the jobs' own ledger says what has run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Cli, wait_for
from manyhands.posix import linux
from redis_servers import Consumer, Kind, RedisServer
from sampled import marked

Consume = Callable[..., Consumer]
HERE = Path(__file__).parents[1]
SLOTS = 2
INPUTS = [f"{number}" for number in range(40)]

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")


@pytest.fixture(params=marked(["redis", "celery", "celery-amqp", "rq"], ["celery", "celery-amqp", "rq"]))
def kind(request: pytest.FixtureRequest) -> Kind:
    """The backend; RabbitMQ is only started for what needs it."""
    amqp = request.getfixturevalue("rabbit").url if request.param == "celery-amqp" else None
    return Kind(request.param.partition("-")[0], amqp)


class Desk:
    """The user's: begins the run ``r``, whose jobs write into a ledger, kills it, and looks what became of it."""

    def __init__(self, cli: Cli, server: RedisServer, kind: Kind, environment: dict[str, str], folder: Path) -> None:
        self.cli, self.server, self._kind, self._environment, self._folder = cli, server, kind, environment, folder
        self._ledger = folder / "ledger"
        self._consumers: list[Consumer] = []

    def consume(self, *args: str) -> Consumer:
        known = {**self._environment, "PYTHONPATH": f"{self._environment['PYTHONPATH']}:{HERE}"}
        more = ["--slots", str(SLOTS), "--lease", "2", "--allow-commands", "--allow", "functions:*", *args]
        self._consumers.append(Consumer(self.server, known, *more, cwd=self._folder, kind=self._kind))
        self._consumers[-1].wait_until_ready()
        return self._consumers[-1]

    def close(self) -> None:
        for one in self._consumers:
            one.close()

    def begin(self, script: str, *inputs: str, options: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Begin jobs that note their input, then do ``script``."""
        line = f"echo {{}} >>{self._ledger}; {script}"
        queue = [*self._kind.options(self.server), "--lease", "2"]
        args = ["batch", line, "--shell", *queue, *options, "--run-id", "r", "--quiet", "--", *inputs]
        return subprocess.Popen(
            [sys.executable, "-m", "manyhands", *args],
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )

    def ran(self) -> Counter[str]:
        """How often each job has begun."""
        return Counter(self._ledger.read_text().split()) if self._ledger.exists() else Counter()

    def kill_after(self, process: subprocess.Popen[bytes], begun: int) -> None:
        wait_for(lambda: self.ran().total() >= begun)
        process.kill()
        process.wait()

    def resume(self) -> subprocess.CompletedProcess[str]:
        return self.cli("batch.resume", "r")

    def records(self) -> list[dict[str, object]]:
        return [*map(json.loads, self.cli("batch.export", "r").stdout.splitlines())]

    def running(self) -> bool:
        return any(str(self._ledger).encode() in _command_line(one.pid) for one in linux.processes())

    def in_broker(self) -> list[str]:
        return [name for name in self.server.names() if ":r-" in name or ".r-" in name]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def desk(cli: Cli, redis_server: RedisServer, kind: Kind, environment: dict[str, str], tmp_path: Path) -> Iterator[Desk]:
    found = Desk(cli, redis_server, kind, environment, tmp_path)
    yield found
    found.close()


def test_what_consumers_have_done_meanwhile_is_not_done_again(desk: Desk) -> None:
    """They go on after the kill. A resume records how these jobs ended, with their outputs, and repeats what runs at that moment."""
    desk.consume()
    process = desk.begin("sleep 0.2; echo out {}", *INPUTS)
    desk.kill_after(process, 6)
    wait_for(lambda: desk.ran().total() >= 16)
    recorded = {str(one["input"]) for one in desk.records() if one["status"] == "ok"}
    done = desk.resume()
    assert (done.returncode, "left over" in done.stderr) == (0, False), done.stderr
    ran = desk.ran()
    assert set(ran) == set(INPUTS)
    assert ran.total() - len(INPUTS) <= SLOTS
    assert done.stdout.splitlines() == [f"out {one}" for one in INPUTS if one not in recorded]
    assert f"40 jobs: 40 ok ({len(recorded)} of them before)" in done.stderr
    ended = [one for one in desk.records() if one["status"] == "ok"]
    assert sorted(str(one["stdout"]) for one in ended) == sorted(f"out {one}\n" for one in INPUTS)
    wait_for(lambda: not desk.in_broker())


def test_also_when_they_have_given_it_up(desk: Desk) -> None:
    """They kill what they have when the batch has been silent for its lease and half of it; what they had done by then is kept."""
    desk.consume()
    process = desk.begin("sleep 0.2; echo out {}", *INPUTS)
    desk.kill_after(process, 6)
    wait_for(lambda: not desk.running() and not any(one.endswith(":claims") for one in desk.in_broker()))
    before = desk.ran().total()
    done = desk.resume()
    assert done.returncode == 0, done.stderr
    ran = desk.ran()
    assert set(ran) == set(INPUTS)
    assert before < ran.total() <= len(INPUTS) + SLOTS
    assert Counter(one["status"] for one in desk.records())["ok"] == len(INPUTS)
    wait_for(lambda: not desk.in_broker())


def test_what_runs_is_ended_at_once(desk: Desk, tmp_path: Path) -> None:
    """Without waiting for any lease: no job runs twice at the same time."""
    desk.consume("--lease", "60")
    held = f"mkdir {tmp_path}/lock-{{}} && sleep 1.5 && rmdir {tmp_path}/lock-{{}}"
    process = desk.begin(held, "a", "b", options=("--lease", "60"))
    wait_for(lambda: len([*tmp_path.glob("lock-*")]) == 2)
    process.kill()
    process.wait()
    for path in tmp_path.glob("lock-*"):
        path.rmdir()
    began = time.monotonic()
    assert desk.resume().returncode == 0
    assert time.monotonic() - began < 30  # not the 60 of the leases


def test_large_outputs_are_kept(desk: Desk) -> None:
    """What had ended comes with all that it printed, however much; what was only half here comes from its beginning."""
    desk.consume()
    process = desk.begin("seq {} 300000; sleep 0.3", *INPUTS[:12])
    desk.kill_after(process, 3)
    wait_for(lambda: desk.ran().total() >= 7)
    assert desk.resume().returncode == 0
    assert desk.ran().total() - 12 <= SLOTS
    for number in range(1, 13):
        shown = desk.cli("batch.show", "r", "--job", f"{number}", "--output").stdout
        assert shown.endswith(f"\n  {299_999}\n  {300_000}\n")
        assert shown.count("\n  ") >= 300_000 - number


def test_many_that_print_much(desk: Desk) -> None:
    """Consumers have more of them at once than slots, and what is printed has to wait for a coordinator that is not there."""
    desk.consume()
    inputs = [*map(str, range(400))]
    process = desk.begin("seq 20000", *inputs)
    desk.kill_after(process, 100)
    time.sleep(1.0)
    done = desk.resume()
    assert done.returncode == 0, done.stderr
    assert set(desk.ran()) == set(inputs)
    assert desk.ran().total() - len(inputs) <= SLOTS
    assert {str(one["stdout_size"]) for one in desk.records() if one["status"] == "ok"} == {"108894"}


def test_the_broker_is_away(desk: Desk) -> None:
    """Then nothing is done, which one line says, and nothing is lost."""
    desk.consume()
    process = desk.begin("sleep 0.2", *INPUTS[:8])
    desk.kill_after(process, 3)
    desk.server.kill()
    done = desk.resume()
    assert (done.returncode, done.stderr.count("\n")) == (69, 1), done.stderr
    assert "cannot be used" in done.stderr
    desk.server.start()
    assert desk.resume().returncode == 0
    assert set(desk.ran()) == set(INPUTS[:8])


def test_a_consumer_that_is_stopped(desk: Desk) -> None:
    """It is waited for only some seconds, and named: its jobs are done by another one."""
    stopped = desk.consume("--lease", "60")
    process = desk.begin("sleep 0.2", *INPUTS[:8])
    desk.kill_after(process, 3)
    stopped.process.send_signal(signal.SIGSTOP)
    desk.consume()
    done = desk.resume()
    assert done.returncode == 0, done.stderr
    assert f"consumer {stopped.wait_until_ready()} has not said within 5 s that it has ended" in done.stderr
    assert set(desk.ran()) == set(INPUTS[:8])
