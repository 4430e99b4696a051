"""``--backend redis`` and the ``queue`` tasks, as a user types them, with a real Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import functions
from conftest import Cli, messages, wait_for
from manyhands import Status, run_batch
from redis_servers import Consumer, Kind, RedisServer, free_port
from sampled import marked

Consume = Callable[..., Consumer]
HERE = Path(__file__).parents[1]


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind:
    """The backend, if a test does not say that it tries all of them."""
    return Kind(getattr(request, "param", "redis"))


EVERY = pytest.mark.parametrize("kind", marked(["redis", "celery", "rq"], ["celery", "rq"]), indirect=True)


@pytest.fixture
def consume(environment: dict[str, str], tmp_path: Path, redis_url: RedisServer, kind: Kind) -> Iterator[Consume]:
    """Starts consumers; ends them."""
    started: list[Consumer] = []
    known = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{HERE}"}

    def start(*args: str) -> Consumer:
        started.append(Consumer(redis_url, known, "--slots", "2", "--lease", "2", *args, cwd=tmp_path, kind=kind))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for one in started:
        one.close()


def queued(server: RedisServer, kind: str = "redis") -> list[str]:
    return ["--backend", kind, "--broker", server.url, "--lease", "2"]


def test_commands(cli: Cli, redis_url: RedisServer, consume: Consume, tmp_path: Path) -> None:
    """In the folder of the consumer, which is named, with exact statuses, time-outs, and an output that is whole."""
    name = consume("--allow-commands").wait_until_ready()
    commands = ["exit 3", "kill -9 $$", "sleep 60", "seq 100000", "pwd"]
    done = cli("batch", "sh -c {}", *queued(redis_url), "--timeout", "3", "--grace", "0.2", "--json", "--", *commands)
    assert done.returncode == 1
    jobs = {one["job"]: one for one in map(json.loads, done.stdout.splitlines()) if "status" in one and "job" in one}
    assert [jobs[number]["status"] for number in range(1, 6)] == ["failed", "failed", "timeout", "ok", "ok"]
    assert (jobs[1]["exit"], jobs[2]["signal_name"], jobs[5]["stdout"]) == (3, "SIGKILL", f"{tmp_path}\n")
    events = [one for one in map(json.loads, done.stdout.splitlines()) if "host" in one]
    assert ({one["event"] for one in events}, {one["host"] for one in events}) == ({"began", "finished"}, {name})
    assert {json.loads(line)["host"] for line in cli("batch.export").stdout.splitlines()} == {name}
    assert name[:10] in cli("batch.show").stdout
    assert cli("batch.show", "--job", "4", "--output").stdout.count("\n") >= 100_000


def test_functions(cli: Cli, redis_url: RedisServer, consume: Consume) -> None:
    """By name, as far as the consumer allows them; what it does not is said, and the batch waits for one that does."""
    consume("--allow", "os.path:basename", "--allow", "functions:*")
    done = cli("batch.call", "os.path:basename", *queued(redis_url), "--", "/a/b", "/c/d")
    assert (done.returncode, done.stdout) == (0, '"b"\n"d"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", "batch.call", "os.path:getsize", *queued(redis_url), "--", "/"],
        env=os.environ | {"PYTHONPATH": str(HERE.parent / "lib")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert "does not take this run: it does not allow os.path:getsize" in process.stderr.readline()
    consume("--allow", "os.path:*", "--allow", "os.path:getsize")
    assert process.wait(30) == 0
    process.stderr.close()


def test_functions_of_a_program(redis_url: RedisServer, consume: Consume) -> None:
    """What JSON holds comes back as it was; what it cannot hold fails that job alone, on the way there or back."""
    consume("--allow", "functions:*")
    done = list(run_batch(functions.double, [1, "a", [2]], backend="redis", broker=redis_url.url, lease=2, ordered=True))
    assert [one.value for one in done] == [2, "aa", [2, 2]]
    inputs = [1, {1, 2}, 1j, "x"]
    done = list(run_batch(functions.kind, inputs, backend="redis", broker=redis_url.url, lease=2, ordered=True))
    assert [one.status for one in done] == [Status.OK, Status.FAILED, Status.FAILED, Status.OK]
    assert "JSON cannot hold" in (done[1].error or "")
    done = list(
        run_batch(functions.returns, ["tuple", "set"], backend="redis", broker=redis_url.url, lease=2, ordered=True)
    )
    assert [one.status for one in done] == [Status.FAILED, Status.FAILED]
    assert "JSON cannot hold" in (done[0].error or "")


def test_stages_on_several_backends(cli: Cli, redis_url: RedisServer, consume: Consume) -> None:
    """Two of them in the queue, one here: an execution of its own for each."""
    consume("--allow-commands")
    broker = ["--broker", redis_url.url, "--lease", "2"]
    line = ["batch", "echo 1 {}", "--then", "echo 2 {}", "--then", "echo 3 {}", "--backend", "redis,redis,commands"]
    done = cli(*line, *broker, "-j", "4,4,2", "--", *"abcdef")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"3 {one}" for one in "abcdef"]
    assert not [name for name in redis_url.names() if "consumer" not in name]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--backend", "redis"], "--backend redis needs a broker: give --broker"),
        (["--broker", "redis://127.0.0.1"], "--broker has no effect without --backend redis, celery or rq"),
        (["--backend", "redis", "--broker", "amqp://x"], "--broker 'amqp://x': expected redis://"),
        (["--backend", "redis", "--broker", "redis://:pw@10.0.0.1"], "--broker 'redis://***@10.0.0.1': its connection"),
        (
            ["--backend", "redis", "--broker", "redis://127.0.0.1", "-j", "50%"],
            "--jobs 50%: with --backend redis a number",
        ),
        (["--backend", "redis", "--broker", "redis://127.0.0.1", "--lease", "0"], "--lease 0"),
        (["--backend", "redis", "--broker", "redis://127.0.0.1", "--stdin", "-"], "--stdin -"),
        (["--backend", "celery"], "--backend celery needs a broker: give --broker amqp://"),
        (["--backend", "celery", "--broker", "amqp://127.0.0.1"], "results outlive the batch"),
        (["--backend", "celery", "--broker", "amqp://:pw@10.0.0.1"], "--broker 'amqp://***@10.0.0.1': its connection"),
        (["--backend", "celery", "--broker", "sqs://x"], "--broker 'sqs://x': expected amqp://"),
        (["--backend", "rq", "--broker", "amqp://127.0.0.1"], "--broker 'amqp://127.0.0.1': expected redis://"),
        (["--backend", "rq", "--broker", "redis://127.0.0.1", "--store", "x"], "--store 'x': expected redis://"),
        (["--backend", "redis", "--broker", "redis://127.0.0.1", "--store", "redis://h"], "--store 'redis://h': with"),
        (["--store", "redis://h"], "--store has no effect without --broker"),
        (["--insecure"], "--insecure has no effect without --broker"),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli) -> None:
    """One line, status 2, and nothing has begun."""
    done = cli("batch", "echo {}", *args, "--", "a")
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert len(messages(done.stderr)) == 1


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "it would do nothing"),
        (["--allow", "images"], "--allow 'images': expected MODULE:FUNCTION"),
        (["--allow-commands", "--slots", "0"], "--slots 0"),
        (["--allow-commands", "--broker", "redis://10.0.0.1"], "would not be encrypted"),
        (["--allow-commands", "--backend", "kafka"], "--backend 'kafka': a queue is one of redis, celery, rq"),
        (["--allow-commands", "--backend", "celery", "--broker", "amqp://127.0.0.1"], "name a store by --store"),
    ],
)
def test_mistakes_of_a_consumer(args: list[str], text: str, cli: Cli) -> None:
    """One line, status 2."""
    done = cli("queue.work", *args)
    assert (done.returncode, len(messages(done.stderr))) == (2, 1)
    assert text in done.stderr


def test_functions_that_no_consumer_can_have(cli: Cli, tmp_path: Path) -> None:
    """A file is not a module, and there is no initializer."""
    (tmp_path / "f.py").write_text("def f(x): return x\n")
    done = cli("batch.call", "f.py:f", "--backend", "redis", "--broker", f"redis://127.0.0.1:{free_port()}", "--", "1")
    assert (done.returncode, len(messages(done.stderr))) == (2, 1)
    assert "consumers import functions by name" in done.stderr


def test_nobody_listens(cli: Cli) -> None:
    """One line that names the broker, status 69, for each task; a batch leaves no run."""
    broker = ["--broker", f"redis://127.0.0.1:{free_port()}"]
    tasks = (["queue.work", "--allow-commands"], ["queue.status"], ["queue.drain"], ["queue.purge"])
    feeders = (["queue.work", "--allow-commands", "--backend", "celery"], ["batch", "echo", "--backend", "rq"])
    for args in (*tasks, ["batch", "echo", "--backend", "redis"], *feeders):
        done = cli(*args, *broker, *(["--", "a"] if args[0] == "batch" else []))
        assert (done.returncode, len(messages(done.stderr))) == (69, 1), done.stderr
        assert f"the broker {broker[1]} cannot be used: " in done.stderr
    assert cli("batch.list", "--json").stdout == ""


def test_nobody_listens_at_the_broker(cli: Cli, redis_url: RedisServer) -> None:
    """The store is there, and RabbitMQ is not: one line that names it."""
    place = ["--backend", "celery", "--broker", f"amqp://127.0.0.1:{free_port()}/", "--store", redis_url.url]
    for args in (["queue.work", "--allow-commands"], ["batch", "echo"]):
        done = cli(*args, *place, *(["--", "a"] if args[0] == "batch" else []))
        assert (done.returncode, len(messages(done.stderr))) == (69, 1), done.stderr
        assert f"the broker {place[3]} cannot be used: " in done.stderr


def test_a_password(cli: Cli, environment: dict[str, str], redis_server: RedisServer, tmp_path: Path) -> None:
    """A wrong one is refused in a line that does not show it; a right one comes from a file or the environment."""
    with redis_server.client() as redis:
        redis.config_set("requirepass", "right-one")
    url = redis_server.url.replace("//", "//:wrong-one@")
    done = cli("batch", "echo", "--backend", "redis", "--broker", url, "--", "a")
    assert (done.returncode, len(messages(done.stderr))) == (69, 1)
    assert "cannot be used" in done.stderr
    assert "wrong-one" not in done.stderr
    (tmp_path / "password").write_text("right-one\n")
    assert cli("queue.status", "--broker", redis_server.url, "--broker-password-file", "password").stdout.startswith(
        "no c"
    )
    known = {**environment, "MH_BROKER_PASSWORD": "right-one"}
    consumer = Consumer(redis_server, known, "--allow-commands", cwd=tmp_path)
    try:
        consumer.wait_until_ready()
        line = "echo {} ${MH_BROKER_PASSWORD-none}"
        done = cli("batch", line, "--shell", *queued(redis_server), "--run-id", "r", "--", "a", env=known)
        assert (done.returncode, done.stdout) == (0, "a none\n")
        assert "right-one" not in "".join(path.read_text("latin-1") for path in tmp_path.glob("xdg/**/run.json"))
    finally:
        consumer.close()


@EVERY
def test_status_drain_and_purge(
    cli: Cli, redis_url: RedisServer, kind: Kind, consume: Consume, environment: dict[str, str], tmp_path: Path
) -> None:
    """What waits and runs is shown; what waits can be removed; a consumer finishes what it has."""
    broker = kind.options(redis_url)
    assert cli("queue.status", *broker).returncode == 1
    consumer = consume("--allow-commands", "--allow", "images:*")
    line = f": {{}}; until [ -e {tmp_path}/enough ]; do sleep 0.1; done"
    args = ["batch", line, "--shell", *queued(redis_url, kind.name), "--run-id", "nightly", "--", *"abcdef"]
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", *args], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def runs() -> list[dict[str, object]]:
        records = map(json.loads, cli("queue.status", "--json", *broker).stdout.splitlines())
        return [one for one in records if one["kind"] == "run"]

    wait_for(lambda: runs() and (runs()[0]["waiting"], runs()[0]["running"]) == (4, 2))
    shown = cli("queue.status", *broker).stdout.splitlines()
    assert shown[1].split() == [consumer.wait_until_ready(), "2", "2", "busy", "commands,", "images:*"]
    assert shown[4].startswith("nightly-")
    assert cli("queue.purge", *broker, "--dry-run").stdout.endswith("4 waiting\n")
    assert "--yes" in cli("queue.purge", *broker).stderr
    assert "there is no run 'x'" in cli("queue.purge", *broker, "x").stderr
    assert cli("queue.purge", *broker, "night", "--yes").stdout.startswith("removed 4 of nightly-")
    assert cli("queue.purge", *broker, "--yes").stderr == "nothing waits\n"
    assert cli("queue.drain", *broker).stdout == f"draining {consumer.wait_until_ready()}\n"
    (tmp_path / "enough").touch()
    assert consumer.process.wait(20) == 0
    process.wait(20)
    assert Counter(one["status"] for one in map(json.loads, cli("batch.export", "nightly").stdout.splitlines())) == {
        "ok": 2,
        "cancelled": 4,
    }
    assert cli("queue.drain", *broker).stderr == "there are no consumers\n"


def test_ctrl_c_without_a_consumer(environment: dict[str, str], redis_url: RedisServer) -> None:
    """The batch waits, says so, and ends at once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", "batch", "echo {}", *queued(redis_url), "--", "a", "b"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert "no consumer at redis://127.0.0.1" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == -signal.SIGINT
    assert "2 not run" in process.stderr.read()
    process.stderr.close()
    assert redis_url.names() == []
