"""``queue.submit``, and ``batch.resume``, which collects: as a user types them, with a real Redis. The jobs' own ledger says what has run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from conftest import Cli, wait_for
from manyhands.backends.queue.carrier import BrokerLostError
from manyhands.backends.queue.collector import Collector
from manyhands.backends.queue.lasting_sender import LastingSender
from manyhands.backends.queue.messages import opened
from manyhands.cli import Program
from manyhands.cli.loaded_tasks import load_tasks
from manyhands.core.events import Finished, Summary
from manyhands.core.job import Attempt, Status
from manyhands.engine.channel import Channel
from manyhands.execution import submission
from manyhands.execution.batch import Batch
from manyhands.execution.collection import Collection
from manyhands.posix import linux
from manyhands.storage.runs import Run, Store, default_state_dir
from redis_servers import Consumer, RedisServer, free_port

Consume = Callable[..., Consumer]
HERE = Path(__file__).parents[1]
LONG = 60.0
"""Seconds that a busy machine is given."""


@pytest.fixture
def consume(environment: dict[str, str], tmp_path: Path, redis_url: RedisServer) -> Iterator[Consume]:
    """Starts consumers of commands with a short lease; ends them."""
    started: list[Consumer] = []

    def start(*args: str) -> Consumer:
        more = ["--slots", "2", "--lease", "2", "--allow-commands", *args]
        started.append(Consumer(redis_url, environment, *more, cwd=tmp_path))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for one in started:
        one.close()


class Desk:
    """The user's: submits the run ``r``, whose jobs write into a ledger, and looks what became of it."""

    def __init__(self, cli: Cli, server: RedisServer, environment: dict[str, str], folder: Path) -> None:
        self.cli, self.server, self._environment = cli, server, environment
        self._ledger = folder / "ledger"
        self.gate = folder / "gate"

    @property
    def broker(self) -> list[str]:
        return ["--broker", self.server.url, "--lease", "2"]

    def line(self, script: str) -> list[str]:
        """A template that notes its input, then does ``script``, in which {} is the input."""
        return [f"echo {{}} >>{self._ledger}; {script}", "--shell"]

    @property
    def wait(self) -> str:
        """A script that ends when the gate is open."""
        return f"until [ -e {self.gate} ]; do sleep 0.05; done"

    def submit(self, script: str, *inputs: str, options: tuple[str, ...] = ()) -> None:
        args = ["queue.submit", *self.line(script), *self.broker, "--run-id", "r", *options]
        done = self.cli(*args, "--", *inputs)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"submitted r: {len(inputs):,} job")

    def start(self, *args: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "manyhands", *args],
            env=self._environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def run(self) -> Run:
        return Store(default_state_dir(os.environ)).find("r")

    def ran(self) -> Counter[str]:
        return Counter(self._ledger.read_text().split()) if self._ledger.exists() else Counter()

    def states(self) -> Counter[str]:
        """How the recorded jobs have ended."""
        records = map(json.loads, self.cli("batch.export", "r").stdout.splitlines())
        return Counter(one["status"] for one in records)

    def listed(self) -> str:
        (one,) = map(json.loads, self.cli("batch.list", "--json").stdout.splitlines())
        return str(one["state"])

    def key(self, end: str = "") -> str:
        """A key of the execution."""
        (name,) = [one for one in self.server.names() if one.startswith("manyhands:r-") and one.count(":") == 1]
        return name + end

    def reported(self) -> Counter[str]:
        """What consumers have reported, by its type."""
        with self.server.client() as redis:
            parcels = [opened(fields[b"message"]) for _, fields in redis.xrange(self.key(":reports"))]
            found = [json.loads(str(one, "utf-8")) for parcel in parcels for one in parcel if isinstance(one, bytes)]
        plain = sum(len(one["job"]) for one in found if one.get("type") == "ends")
        return Counter(one.get("type") for one in found) + Counter(ended=plain)

    def in_broker(self) -> list[str]:
        """What is there of runs."""
        return [name for name in self.server.names() if "consumer" not in name]


@pytest.fixture
def desk(cli: Cli, redis_url: RedisServer, environment: dict[str, str], tmp_path: Path) -> Desk:
    return Desk(cli, redis_url, environment, tmp_path)


# -- in good order -------------------------------------------------------------------------------------------------------


def test_submit_and_collect(desk: Desk, consume: Consume) -> None:
    """Jobs are done while nobody is there; a resume prints their outputs in the order of the inputs, records each once, and leaves nothing
    in the broker. Until then the run is listed as submitted, and everything of it in the broker has days to live."""
    consume()
    inputs = [f"{number}" for number in range(20)]
    desk.submit("echo out {}", *inputs)
    wait_for(lambda: desk.reported()["ended"] == 20, LONG)
    assert desk.listed() == "submitted"
    assert desk.cli("batch.list", "--json", "--status", "submitted").stdout
    assert desk.key()[len("manyhands:") :] in desk.cli("queue.status", "--broker", desk.server.url).stdout
    with desk.server.client() as redis:
        assert min(redis.ttl(name) for name in desk.in_broker()) > 6 * 86_400
    done = desk.cli("batch.resume", "r")
    assert (done.returncode, done.stdout) == (0, "".join(f"out {one}\n" for one in inputs)), done.stderr
    assert "20 ok" in done.stderr
    assert desk.ran() == Counter(inputs)
    assert (desk.listed(), desk.states(), desk.in_broker()) == ("complete", {"ok": 20}, [])
    assert desk.cli("batch.resume", "r").returncode == 0
    assert desk.ran() == Counter(inputs)


def test_the_line_of_a_submission(cli: Cli, redis_server: RedisServer) -> None:
    """The run, the number of its jobs, the broker without its password, and what to type; dry, it prints the commands."""
    with redis_server.client() as redis:
        redis.config_set("requirepass", "right-one")
    done = cli("queue.submit", "echo {}", "--broker", redis_server.url.replace("//", "//:right-one@"), "--", "a")
    (run,) = map(json.loads, cli("batch.list", "--json").stdout.splitlines())
    first, _, last = done.stdout.partition("; to collect: ")
    assert first == f"submitted {run['id']}: 1 job, at {redis_server.url}"
    assert last.endswith(f" batch.resume {run['id'][:4]}\n")
    broker = ["--broker", redis_server.url]
    assert cli("queue.submit", "echo {}", *broker, "--dry-run", "--", "a b").stdout == "echo 'a b'\n"


def test_a_consumer_that_comes_later(desk: Desk, consume: Consume, monkeypatch: pytest.MonkeyPatch) -> None:
    """More jobs than are recorded and sent at once wait for it, and for the resume, which waits, too."""
    monkeypatch.setattr(submission, "_PAGE", 7)
    inputs = [f"{number}" for number in range(30)]
    assert submitted_here("queue.submit", *desk.line(":"), *desk.broker, "--run-id", "r", "--", *inputs) == 0
    collector = desk.start("batch.resume", "r")
    try:
        assert collector.stderr
        assert "no consumer at redis://" in collector.stderr.readline()
        consume()
        assert collector.wait(LONG) == 0
    finally:
        collector.kill()
        collector.communicate()
    assert desk.ran() == Counter(inputs)
    assert desk.states() == {"ok": 30}


def test_inputs_from_a_pipe(desk: Desk, consume: Consume) -> None:
    """Jobs are in the queue as soon as their inputs have come."""
    consume()
    process = desk.start("queue.submit", *desk.line("echo {}"), *desk.broker, "--run-id", "r", stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write("a\nb\n")
    process.stdin.flush()
    wait_for(lambda: desk.ran().total() == 2, LONG)
    out, err = process.communicate("c\n")
    assert (process.returncode, err) == (0, "")
    assert out.startswith("submitted r: 3 jobs, ")
    done = desk.cli("batch.resume", "r")
    assert (done.returncode, done.stdout) == (0, "a\nb\nc\n")
    assert desk.ran() == Counter("abc")


def test_what_jobs_are_given(desk: Desk, consume: Consume, tmp_path: Path) -> None:
    """The options of a batch that a consumer can honour."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "words").write_text("words\n")
    consume()
    more = ["--max-args", "2", "--env", "X=y", "--workdir", "sub", "--stdin", "../words", "--nice", "3"]
    line = "echo {#} $X $(nice) $(basename $PWD) $(cat) {}"
    done = desk.cli("queue.submit", line, "--shell", *desk.broker, *more, "--run-id", "r", "--", "a", "b c", "d")
    assert done.stdout.startswith("submitted r: 2 jobs, "), done.stderr
    assert desk.cli("batch.resume", "r").stdout == "1 y 3 sub words a b c\n2 y 3 sub words d\n"


def test_commands_of_a_file(desk: Desk, consume: Consume, tmp_path: Path) -> None:
    """Each line is a whole command."""
    (tmp_path / "commands").write_text("echo 'a  b'\n# no command\nprintf %s c\n")
    done = desk.cli("queue.submit", "--commands", "commands", *desk.broker, "--run-id", "r")
    assert done.stdout.startswith("submitted r: 2 jobs, "), done.stderr
    consume()
    assert desk.cli("batch.resume", "r").stdout == "a  b\nc"


def test_calls_of_a_function(desk: Desk, consume: Consume, environment: dict[str, str]) -> None:
    """What it returns, or raises, is collected; jobs of one that no consumer allows wait."""
    environment["PYTHONPATH"] += f":{HERE}"
    consume("--allow", "functions:odd_fails")
    submit = ["queue.submit-call", "--type", "int", *desk.broker]
    done = desk.cli(*submit, "functions:odd_fails", "--run-id", "r", "--", "1", "2", "3", "4")
    assert done.stdout.startswith("submitted r: 4 jobs, "), done.stderr
    wait_for(lambda: desk.reported()["ended"] == 4, LONG)
    done = desk.cli("batch.resume", "r")
    assert (done.returncode, done.stdout) == (1, "2\n4\n")
    assert (desk.states(), desk.in_broker()) == ({"ok": 2, "failed": 2}, [])
    assert "KeyError: 'no 1'" in desk.cli("batch.show", "r", "--job", "1").stdout
    assert desk.cli(*submit, "functions:double", "--run-id", "other", "--", "1").returncode == 0
    collector = desk.start("batch.resume", "other")
    try:
        assert collector.stderr
        assert "it does not allow functions:double (--allow)" in collector.stderr.readline()
        consume("--allow", "functions:double")
        assert collector.wait(LONG) == 0
    finally:
        collector.kill()
        out, _ = collector.communicate()
    assert out == "2\n"


def test_retries_are_counted_when_it_is_collected(desk: Desk, consume: Consume) -> None:
    """A job that fails is tried again by the resume that hears of it."""
    consume()
    desk.submit("[ {} != bad ]", "good", "bad", options=("--retries", "1"))
    wait_for(lambda: desk.reported()["ended"] == 2, LONG)
    assert desk.ran() == {"good": 1, "bad": 1}
    done = desk.cli("batch.resume", "r")
    assert done.returncode == 1
    assert "trying again" in done.stderr
    assert desk.ran() == {"good": 1, "bad": 2}
    assert (desk.states(), desk.in_broker()) == ({"ok": 1, "failed": 1}, [])


def test_outputs_wait_for_nobody(desk: Desk, consume: Consume) -> None:
    """However many reports are unread, a large output is sent, as far as the cap allows; what was dropped is told."""
    consume()
    desk.submit("[ {} != big ] || seq 30000", *map(str, range(40)), "big", options=("--output-cap", "100k"))
    wait_for(lambda: desk.reported()["ended"] == 41, LONG)
    done = desk.cli("batch.resume", "r")
    assert done.returncode == 0
    assert len(done.stdout) == 100 << 10
    shown = json.loads(desk.cli("batch.show", "r", "--job", "41", "--json").stdout)
    assert shown["stdout_dropped"] == shown["stdout_size"] - (100 << 10) > 0


def test_the_output_is_capped_by_default(desk: Desk) -> None:
    """At a mebibyte for each stream."""
    desk.submit(":", "a")
    with desk.server.client() as redis:
        settings = json.loads(redis.hget(desk.key(), "settings"))
    assert (settings["output_cap"], settings["unattended"]) == (1 << 20, True)


# -- when things go wrong ------------------------------------------------------------------------------------------------


def test_a_submission_that_is_killed(desk: Desk, consume: Consume) -> None:
    """By -9, while it reads a pipe: a resume does what had come, once, and says that the rest is unknown."""
    process = desk.start("queue.submit", *desk.line(":"), *desk.broker, "--run-id", "r", stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write("a\nb\n")
    process.stdin.flush()
    wait_for(lambda: desk.in_broker() and waiting(desk) == 2, LONG)
    process.kill()
    process.communicate()
    consume()
    done = desk.cli("batch.resume", "r")
    assert done.returncode == 1
    assert "the inputs were cut off" in done.stderr
    assert desk.ran() == Counter("ab")
    assert desk.in_broker() == []


def test_a_submission_that_ends_in_the_middle(
    desk: Desk, consume: Consume, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was recorded and not sent, and what was not read, is done by the resume; each job once."""
    send, pages = LastingSender.send, []

    def send_once(self: LastingSender, page: list[object]) -> None:
        pages.append(page)
        with closing(desk.run.journal()) as journal:
            assert journal.last_number() == 2 * len(pages)  # it is recorded first
        if len(pages) > 1:
            raise BrokerLostError("gone")
        send(self, page)  # type: ignore[arg-type]

    monkeypatch.setattr(submission, "_PAGE", 2)
    monkeypatch.setattr(LastingSender, "send", send_once)
    args = ["queue.submit", *desk.line("echo {}"), *desk.broker, "--run-id", "r", "--", *"abcdef"]
    assert submitted_here(*args) == 69
    said = capsys.readouterr().err
    assert "the broker does not answer any more: gone; run r has 2 jobs in the queue; " in said
    assert said.endswith("batch.resume r does the rest\n")
    consume()
    wait_for(lambda: desk.ran().total() == 2, LONG)
    done = desk.cli("batch.resume", "r")
    assert (done.returncode, done.stdout) == (0, "a\nb\nc\nd\ne\nf\n"), done.stderr
    assert desk.ran() == Counter("abcdef")


def test_ctrl_c_of_a_submission(desk: Desk, consume: Consume) -> None:
    """It dies by the signal, and says what is in the queue."""
    process = desk.start("queue.submit", *desk.line(":"), *desk.broker, "--run-id", "r", stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write("a\n")
    process.stdin.flush()
    wait_for(lambda: desk.in_broker() and waiting(desk) == 1, LONG)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert "interrupted; run r has 1 job in the queue; " in err
    consume()
    desk.cli("batch.resume", "r")
    assert desk.ran() == {"a": 1}


def test_an_input_that_cannot_be_read(desk: Desk, consume: Consume, tmp_path: Path) -> None:
    """What comes before it is submitted, exit 1; a file whose first line is so leaves no run."""
    consume()
    (tmp_path / "rows").write_text('{"a": 1}\n{"a": 2}\nno json\n')
    args = ["queue.submit", "echo {a}", *desk.broker, "--run-id", "r", "--jsonl", "rows"]
    done = desk.cli(*args)
    assert (done.returncode, done.stdout) == (1, "")
    assert "run r has 2 jobs in the queue; " in done.stderr
    (tmp_path / "rows").write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n')
    done = desk.cli("batch.resume", "r")
    assert (done.returncode, done.stdout) == (0, "1\n2\n3\n"), done.stderr


def test_a_collector_that_is_killed(desk: Desk, consume: Consume) -> None:
    """By -9, when it has recorded some ends: the jobs go on, and the next resume does not run any of them again."""
    consume()
    desk.submit(f"[ {{}} != slow ] || {desk.wait}; echo {{}}", "a", "b", "slow", "c")
    collector = desk.start("batch.resume", "r")
    wait_for(lambda: desk.states()["ok"] == 3, LONG)
    collector.kill()
    collector.communicate()
    reported = desk.reported()
    assert (reported["ended"], reported["started"]) == (3, 4)  # nothing was removed
    desk.gate.touch()
    wait_for(lambda: desk.reported()["ended"] == 4, LONG)
    done = desk.cli("batch.resume", "r")
    assert (done.returncode, done.stdout) == (0, "slow\n"), done.stderr
    assert desk.ran() == Counter(["a", "b", "slow", "c"])
    assert (desk.states(), desk.in_broker()) == ({"ok": 4}, [])


def test_a_collector_that_is_suspended_and_killed(desk: Desk, consume: Consume) -> None:
    """What it has suspended goes on with the next one."""
    consume()
    desk.submit(desk.wait, "a")
    collector = desk.start("batch.resume", "r", "--json")
    assert collector.stdout
    assert next(line for line in collector.stdout if '"slot"' in line)  # it has heard that the job has begun
    collector.send_signal(signal.SIGTSTP)
    wait_for(lambda: jobs_in_state(desk, "T"), LONG)
    collector.kill()
    collector.communicate()
    desk.gate.touch()
    assert desk.cli("batch.resume", "r").returncode == 0
    assert desk.ran() == {"a": 1}


def test_ctrl_c_of_a_collector(desk: Desk, consume: Consume) -> None:
    """As in every batch: what has ended is recorded, what runs is stopped, what waits is taken back, nothing is left in the broker; a
    resume does the rest, as one of a run that was never submitted."""
    consume()
    desk.submit(f"[ {{}} = quick ] || {desk.wait}", "quick", "a", "b", "c", "d", options=("--grace", "0.2"))
    wait_for(lambda: desk.reported()["started"] == 3, LONG)
    collector = desk.start("batch.resume", "r")
    wait_for(lambda: desk.states()["ok"] == 1, LONG)
    collector.send_signal(signal.SIGINT)
    collector.communicate()
    assert collector.returncode == -signal.SIGINT
    assert (desk.listed(), desk.states()) == ("left", {"ok": 1, "cancelled": 4})
    assert desk.in_broker() == []
    assert not jobs_in_state(desk, "RSDT")
    assert desk.ran() == {"quick": 1, "a": 1, "b": 1}
    desk.gate.touch()
    assert desk.cli("batch.resume", "r").returncode == 0
    assert desk.ran() == {"quick": 1, "a": 2, "b": 2, "c": 1, "d": 1}


def test_a_collector_that_is_stopped_before_it_has_begun(desk: Desk, consume: Consume) -> None:
    """It leaves everything as it is. One that is stopped while it begins records what has ended."""
    consume()
    desk.submit("echo {}", "a", "b")
    wait_for(lambda: desk.reported()["ended"] == 2, LONG)
    batch = Batch.resume(desk.run, os.environ)
    batch.stop(signal.SIGINT)
    assert [one.counts for one in batch.events() if isinstance(one, Summary)] == [{}]
    assert desk.listed() == "submitted"
    assert desk.key()
    batch = Batch.resume(desk.run, os.environ)
    began = Collection.began

    def stop_now(self: Collection, attempt: Attempt) -> None:
        batch.stop(signal.SIGINT)
        began(self, attempt)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Collection, "began", stop_now)
        assert [one.counts for one in batch.events() if isinstance(one, Summary)] == [{Status.OK: 2}]
    assert desk.in_broker() == []
    assert desk.ran() == Counter("ab")


def test_a_slow_reader_of_the_output(desk: Desk, consume: Consume, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it does not take what was read, no more is read; then all comes."""
    consume()
    desk.submit(f"[ {{}} = a ] || {desk.wait}; echo {{}}", "a", "b")
    batch = Batch.resume(desk.run, os.environ)
    batch.channel = channel = FullChannel()
    hold, held = Collector.hold, list[bool]()

    def held_once(self: Collector, on: bool) -> None:
        held.append(on)
        hold(self, on)
        if on:
            channel.full = False
            desk.gate.touch()

    monkeypatch.setattr(Collector, "hold", held_once)
    done = []
    for event in batch.events():
        if isinstance(event, Finished):
            done.append(event.outcome.ending.stdout.data)
            channel.full = len(done) == 1
    assert done == [b"a\n", b"b\n"]
    assert held.count(True) == 1
    assert held[-1] is False


class FullChannel(Channel):
    """One that is full when it is told so."""

    full = False


def test_a_broker_that_was_emptied(desk: Desk, consume: Consume) -> None:
    """What is recorded is not run again; everything else is sent anew."""
    consumer = consume()
    desk.submit(f"[ {{}} != slow ] || {desk.wait}", "a", "slow")
    collector = desk.start("batch.resume", "r")
    wait_for(lambda: desk.states()["ok"] == 1, LONG)
    collector.kill()
    collector.communicate()
    consumer.close()
    with desk.server.client() as redis:
        redis.flushall()
    desk.gate.touch()
    consume()
    assert desk.cli("batch.resume", "r").returncode == 0
    assert desk.ran() == {"a": 1, "slow": 2}
    assert (desk.states(), desk.in_broker()) == ({"ok": 2}, [])


def test_a_consumer_that_was_killed_while_nobody_was_there(desk: Desk, consume: Consume) -> None:
    """Its jobs are found to be lost by the resume, and are tried again as the plan says; what it had reported counts. It may have taken
    one that had not begun."""
    consumer = consume()
    desk.submit(f"[ {{}} = a ] || {desk.wait}", "a", "b", "c", "d", options=("--retries", "1"))
    wait_for(lambda: desk.ran().total() == 3, LONG)
    wait_for(lambda: desk.reported()["ended"] == 1, LONG)
    os.killpg(consumer.process.pid, signal.SIGKILL)
    consumer.process.wait()
    desk.gate.touch()
    consume()
    done = desk.cli("batch.resume", "r", "--json")
    assert done.returncode == 0, done.stderr
    assert desk.ran() == {"a": 1, "b": 2, "c": 2, "d": 1}
    ends = [one for one in map(json.loads, done.stdout.splitlines()) if "status" in one and "job" in one]
    assert {one["job"] for one in ends if one["status"] == "lost"} >= {2, 3}


def test_a_consumer_that_has_gone_has_lost_nothing(desk: Desk, consume: Consume) -> None:
    """It ended when its work was done, long before somebody asks."""
    consumer = consume()
    desk.submit("echo {}", "a", "b")
    wait_for(lambda: desk.reported()["ended"] == 2, LONG)
    assert consumer.end() == 0
    done = desk.cli("batch.resume", "r")
    assert (done.returncode, done.stdout) == (0, "a\nb\n")
    assert desk.ran() == Counter("ab")


# -- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--broker", "redis://127.0.0.1", "--backend", "celery"], "--backend celery: only redis (Streams)"),
        (["--broker", "redis://127.0.0.1", "--backend", "rq"], "--backend rq: only redis (Streams)"),
        (["--broker", "redis://127.0.0.1", "--backend", "dask"], "--backend 'dask': jobs are submitted to a queue"),
        ([], "queue.submit needs a broker: give --broker"),
        (["--broker", "redis://127.0.0.1", "--commands", "x"], "--commands and a command"),
        (["--broker", "redis://10.0.0.1"], "would not be encrypted"),
        (["--broker", "redis://127.0.0.1", "--keep-in-broker", "1s"], "--keep-in-broker 1s: expected 1m to 90d"),
        (["--broker", "redis://127.0.0.1", "--stdin", "-"], "--stdin -"),
        (["--broker", "redis://127.0.0.1", "--output-cap", "x"], "--output-cap 'x'"),
        *(
            (["--broker", "redis://127.0.0.1", option, "1"], f"queue.submit has no option {option}")
            for option in ("--timeout", "--halt", "--jobs", "--then", "--delay", "--on", "--on-each", "--backoff")
        ),
        *(
            (["--broker", "redis://127.0.0.1", option], f"queue.submit has no option {option}")
            for option in ("--json", "--keep-order", "--tag", "--warm", "--retry-failed")
        ),
    ],
)
def test_mistakes(args: list[str], text: str, cli: Cli) -> None:
    """One line that names the option, status 2, and no run."""
    done = cli("queue.submit", "echo {}", *args, "--", "a")
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert cli("batch.list", "--json").stdout == ""


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["math:sqrt"], "queue.submit-call needs a broker: give --broker"),
        (["math:sqrt", "--broker", "redis://127.0.0.1", "--result", "pickle-file"], "a queue carries JSON only"),
        (["math:sqr", "--broker", "redis://127.0.0.1"], "math has no sqr"),
        (["math:sqrt", "--broker", "redis://127.0.0.1", "--chunk", "2"], "queue.submit-call has no option --chunk"),
        (["math:sqrt", "--broker", "redis://127.0.0.1", "--shell"], "queue.submit-call has no option --shell"),
    ],
)
def test_mistakes_with_functions(args: list[str], text: str, cli: Cli) -> None:
    """As those with commands."""
    done = cli("queue.submit-call", *args, "--", "1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert text in done.stderr
    assert cli("batch.list", "--json").stdout == ""


def test_nothing_is_left_of_what_could_not_begin(desk: Desk) -> None:
    """Neither without a broker (69), nor without inputs (0), nor with a template that does not fit (2), in one line each."""
    nowhere = ["--broker", f"redis://127.0.0.1:{free_port()}"]
    for args, status in (
        (["echo {}", *nowhere, "--", "a"], 69),
        (["echo {}", *desk.broker], 0),
        (["echo {x}", *desk.broker, "--", "a"], 2),
    ):
        done = desk.cli("queue.submit", *args)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert done.stderr.startswith("manyhands: ")
    assert desk.cli("batch.list", "--json").stdout == ""
    assert desk.in_broker() == []


def test_only_a_resume_continues_it(desk: Desk, consume: Consume) -> None:
    """Until it is collected: a retry, a batch or a submission of its name, and another width are refused in one line."""
    desk.submit(":", "a")
    for args, text in (
        (["batch.retry", "r"], "the run r was submitted, and is not collected yet: "),
        (["batch.resume", "r", "-j", "2"], "--jobs has no effect: all jobs of the run r are in the queue"),
        (["batch", *desk.line(":"), "--run-id", "r", "--workdir", ".", "--", "b"], "the run r was submitted, and is not"),
        (["queue.submit", *desk.line(":"), *desk.broker, "--run-id", "r", "--", "b"], "run r exists: "),
    ):
        done = desk.cli(*args)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert text in done.stderr
    consume()
    assert desk.cli("batch.resume", "r").returncode == 0
    assert desk.cli("batch.retry", "r").returncode == 0
    assert desk.ran() == {"a": 1}


def submitted_here(*args: str) -> int:
    """The exit status of a command line, in this process."""
    try:
        Program(namespace=load_tasks().namespace, binary="manyhands").run(["manyhands", *args])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def waiting(desk: Desk) -> int:
    with desk.server.client() as redis:
        return int(redis.xlen(desk.key(":attempts")))


def jobs_in_state(desk: Desk, states: str) -> list[int]:
    """Processes of jobs that wait for the gate."""
    ours = (one for one in linux.processes() if b"until [ -e " + os.fsencode(desk.gate) in command_line(one.pid))
    return [one.pid for one in ours if one.state in states and b"manyhands" not in command_line(one.pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
