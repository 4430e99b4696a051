"""What every backend that runs commands promises, proved by the same tests on each of them.

To add a backend: one line in `BACKENDS`. What the fake promises is tested with the engine.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import environment_of_programs, wait_for, with_tag
from manyhands.backends.honoured_options import HONOURED
from manyhands.backends.launchers.launcher_process import shares
from manyhands.backends.protocol import Backend, Ended, Noted, Report, Started, is_adjustable, is_growing, is_settling
from manyhands.backends.registry import COMMANDS, FUNCTIONS, open_backend
from manyhands.backends.settings import CommandSettings
from manyhands.backends.site.clock import FarClock
from manyhands.backends.site.host import HostSpec
from manyhands.backends.sites import Sites, SiteSettings
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Job
from manyhands.work.python_command import python_command
from manyhands.work.queue_kinds import is_queue
from manyhands.work.template import Template
from redis_servers import Kind
from sampled import marked

BACKENDS = ["commands", "command-threads", "site", "redis", "dask", "celery", "rq", "warm"]
"""``celery`` on RabbitMQ, with a store in Redis. ``warm``: the commands backend, whose jobs are forked from a process that has imported what their script does; each becomes its command."""
SAMPLED = ["site", "redis", "dask", "celery", "rq", "warm"]
BECOMES = """
import os, signal, sys
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_CONSUMERS = [one for one in BACKENDS if one not in ("celery", "rq")]
LOCAL = pytest.mark.parametrize("make", marked(_CONSUMERS, SAMPLED), indirect=True)
"""For what the local backend of a consumer does, in the same way whatever broker brought the attempt: with Redis it is enough to see it once."""
COLD = pytest.mark.parametrize("make", marked(_CONSUMERS[:-1], SAMPLED), indirect=True)
"""For what is not said of a warm job, whose interpreter is there before its command is looked for."""
DEADLY = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGKILL,
    signal.SIGUSR1,
    signal.SIGSEGV,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGXCPU,
    signal.SIGXFSZ,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGSYS,
)
TOKEN = f"token{os.getpid()}"
pytestmark = pytest.mark.usefixtures("nothing_left")


class Bench:
    """A backend under test, and what it has reported."""

    def __init__(self, backend: Backend, before: Sequence[str] = ()) -> None:
        """``before``: what each command begins with."""
        self.backend, self.before = backend, before
        self.reports: list[Report] = []
        self.last = 0

    def start(self, *argv: str | bytes, number: int | None = None, attempt: int = 1) -> Attempt:
        self.last = number or self.last + 1
        one = Attempt(Job(self.last, b"k", (b"x",)), attempt, tuple(os.fsencode(arg) for arg in (*self.before, *argv)))
        self.backend.start(one)
        return one

    def sh(self, script: str) -> Attempt:
        return self.start("sh", "-c", script)

    def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"only {self.reports}"
            self.take(0.1)

    def take(self, seconds: float) -> None:
        """Take reports, which are durable at once."""
        self.reports += self.backend.reports(seconds)
        if is_settling(self.backend):
            self.backend.settled()

    def end_of(self, attempt: Attempt) -> Ended:
        self.until(lambda: any(isinstance(one, Ended) and one.attempt == attempt for one in self.reports))
        return next(one for one in self.reports if isinstance(one, Ended) and one.attempt == attempt)

    def start_of(self, attempt: Attempt) -> Started:
        self.until(lambda: any(isinstance(one, Started) and one.attempt == attempt for one in self.reports))
        return next(one for one in self.reports if isinstance(one, Started) and one.attempt == attempt)

    def run(self, *argv: str | bytes) -> Ended:
        return self.end_of(self.start(*argv))


Make = Callable[..., Bench]


def opened(name: str, given: dict[str, Any]) -> Backend:
    """The backend, or a site on a pipe, which is no backend by name: `ssh` is, and needs a host."""
    if name != "site":
        return open_backend(name, CommandSettings(**given))
    here = HostSpec("here", carrier=lambda command: command, slots=given["slots"], python=sys.executable)
    return Sites(SiteSettings(**given, hosts=(here,)))


def queued(request: pytest.FixtureRequest, given: dict[str, Any]) -> Backend:
    """A backend with a queue, with a consumer that has as many slots."""
    kind, consumers = kind_of(request, request.param), request.getfixturevalue("shared_consumers")
    server = consumers.ready(kind, environment_of_programs(), "--slots", str(given["slots"]), "--allow-commands")
    return open_backend(kind.name, CommandSettings(**given, **kind.settings(server)))


def kind_of(request: pytest.FixtureRequest, name: str) -> Kind:
    """That of the backend ``name``; Celery is on RabbitMQ."""
    return Kind(name, request.getfixturevalue("rabbit").url if name == "celery" else None)


def on_a_cluster(request: pytest.FixtureRequest, given: dict[str, Any]) -> Backend:
    """The backend ``dask``; the workers of the cluster have more threads than that."""
    backend = open_backend("dask", CommandSettings(**given, cluster=request.getfixturevalue("shared_dask").cluster()))
    (note,) = backend.reports(10)
    assert isinstance(note, Noted) and "dashboard: http://127.0.0.1:" in note.text
    return backend


@pytest.fixture(params=marked(BACKENDS, SAMPLED))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes benches of the backend, with settings; closes them."""
    made: list[Bench] = []

    def bench(**settings: Any) -> Bench:
        outputs = tmp_path / f"outputs{len(made)}"
        outputs.mkdir()
        given = {
            "slots": 2,
            "outputs": outputs,
            "token": TOKEN,
            "environment": dict(os.environb),
            "workdir": tmp_path,
            "grace": 0.3,
            "launchers": 2,
            **settings,
        }
        if request.param == "warm":
            made.append(_warm(tmp_path, given))
        elif is_queue(request.param):
            made.append(Bench(queued(request, given)))
        elif request.param == "dask":
            made.append(Bench(on_a_cluster(request, given)))
        else:
            made.append(Bench(opened(request.param, given)))
        return made[-1]

    yield bench
    for one in made:
        one.backend.close()
        one.backend.close()
        left = [name for name in os.listdir(one.backend.settings.outputs) if name.startswith(".")]  # type: ignore[attr-defined]
        assert left == []


def _warm(folder: Path, given: dict[str, Any]) -> Bench:
    (folder / "becomes.py").write_text(BECOMES)
    before = [sys.executable, str(folder / "becomes.py")]
    command = python_command(Template.from_args(before), (), str(folder), b"")
    return Bench(open_backend("commands", CommandSettings(**given, warm=command)), before)


@pytest.fixture
def bench(make: Make) -> Bench:
    """A backend with two slots."""
    return make()


def test_a_command_runs_and_its_output_is_kept_apart(bench: Bench) -> None:
    """stdout and stderr are whole and separate; times and usage are there."""
    end = bench.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (end.ending.exit, end.ending.signal, end.ending.stdout.data, end.ending.stderr.data) == (
        3,
        None,
        b"out\n",
        b"err\n",
    )
    assert end.began
    assert 0 < end.ending.wall < 5
    assert end.ending.started is not None
    assert abs(end.ending.started - time.time()) < 60


@COLD
def test_peak_memory_is_the_commands_own_or_unknown(bench: Bench) -> None:
    """What is larger than the process that started it is told; for what is smaller the kernel only knows that one: 0."""
    assert bench.run("true").ending.max_rss == 0
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = own + 100_000_000
    assert size < bench.run(sys.executable, "-S", "-c", f"bytearray({size})").ending.max_rss < size + 60_000_000


def test_exit_statuses_are_exact(bench: Bench) -> None:
    """Every status a command can exit with arrives as it is."""
    statuses = [0, 1, 2, 77, 126, 127, 128, 130, 254, 255]
    attempts = [bench.sh(f"exit {status}") for status in statuses]
    assert [bench.end_of(one).ending.exit for one in attempts] == statuses


def test_deadly_signals_are_exact(bench: Bench) -> None:
    """A death by a signal is told as that signal, never as a status: none is ignored in a command."""
    die = "import os, resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), {})"
    handled = (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)  # by Python itself
    attempts = [bench.start(sys.executable, "-S", "-c", die.format(int(one))) for one in DEADLY if one not in handled]
    attempts += [bench.sh(f"kill -{int(one)} $$") for one in handled]
    wanted = [(None, one) for one in DEADLY if one not in handled] + [(None, one) for one in handled]
    assert [(end.exit, end.signal) for end in (bench.end_of(one).ending for one in attempts)] == wanted


def test_a_death_by_signal_costs_only_that_job(bench: Bench) -> None:
    """What ran beside it and what comes after it is not touched."""
    other = bench.sh("sleep 0.2; echo fine")
    assert bench.end_of(bench.sh("kill -KILL $$")).ending.signal == signal.SIGKILL
    assert bench.end_of(bench.sh("exit 255")).ending.exit == 255
    assert bench.end_of(other).ending.stdout.data == b"fine\n"


@COLD
def test_what_cannot_be_started_says_why(bench: Bench) -> None:
    """Missing and not executable: that job fails with the reason, the next one runs."""
    for command, status, reason in (
        ("no-such-program", 127, "ENOENT"),
        ("./missing", 127, "ENOENT"),
        ("/etc/passwd", 126, "EACCES"),
        ("/", 126, "EACCES"),
    ):
        end = bench.run(command, "x")
        assert (end.began, end.ending.exit) == (False, status)
        assert reason in (end.ending.error or "")
        assert bench.run("true").ending.exit == 0


@COLD
def test_a_script_without_its_interpreter_fails_at_once(make: Make, tmp_path: Path) -> None:
    """Found by PATH or named by its place: the reason is the interpreter, and nothing is tried again (ENOENT, 127)."""
    script = tmp_path / "old-script"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o755)
    bench = make(environment={**os.environb, b"PATH": bytes(tmp_path) + b":" + os.environb[b"PATH"]})
    for name in ("old-script", "./old-script", str(script)):
        end = bench.run(name)
        assert (end.began, end.ending.exit) == (False, 127)
        assert "its interpreter /no/such/python does not exist" in (end.ending.error or "")


@COLD
def test_what_only_a_shell_knows_names_the_way_out(bench: Bench) -> None:
    """``cd`` is no program."""
    end = bench.run("export", "A=1")
    assert (end.began, end.ending.exit) == (False, 127)
    assert "--shell" in (end.ending.error or "")


def test_an_argument_that_is_too_long_fails_that_job_only(bench: Bench) -> None:
    """More than the kernel takes (E2BIG), however the message gets to the backend."""
    end = bench.run("echo", b"x" * 300_000)
    assert (end.began, end.ending.exit) == (False, 126)
    assert "E2BIG" in (end.ending.error or "")
    assert len(bench.run("echo", *["y" * 60_000] * 5).ending.stdout.path or "") > 0


def test_a_nul_byte_in_an_argument_fails_that_job_only(bench: Bench) -> None:
    """execve cannot pass it on."""
    end = bench.run("echo", b"a\0b")
    assert (end.began, end.ending.exit) == (False, 126)
    assert "null byte" in (end.ending.error or "")
    assert bench.run("true").ending.exit == 0


def test_bytes_are_kept_exactly(bench: Bench) -> None:
    """NUL, invalid UTF-8 and everything else, in arguments and in output."""
    every = bytes(range(1, 256))
    assert bench.run("printf", b"%s", every).ending.stdout.data == every
    assert bench.sh(r"head -c 300 /dev/zero").job.number
    assert bench.end_of(bench.sh("head -c 300 /dev/zero")).ending.stdout.data == bytes(300)


def test_large_output_stays_in_a_file(bench: Bench) -> None:
    """What is more than a message holds is kept whole in a file of its own."""
    end = bench.end_of(bench.sh("head -c 3000000 /dev/zero | tr '\\0' x; echo e >&2"))
    assert end.ending.stdout.size == 3_000_000
    assert end.ending.stdout.path is not None
    assert os.stat(end.ending.stdout.path).st_mode & 0o777 == 0o600
    assert end.ending.stdout.read() == b"x" * 3_000_000
    assert bench.run("echo", "small").ending.stdout.data == b"small\n"


def test_large_output_with_many_slots(make: Make) -> None:
    """Where small output stays in memory, large output ends in a file, too, and the slot goes on."""
    bench = make(slots=100)
    attempts = [bench.sh(f"head -c {100_000 * (n % 3)} /dev/zero | tr '\\0' y; echo e{n} >&2") for n in range(250)]
    for number, attempt in enumerate(attempts):
        end = bench.end_of(attempt)
        assert end.ending.stdout.read() == b"y" * (100_000 * (number % 3))
        assert (end.ending.stdout.path is None) == (number % 3 == 0)
        assert end.ending.stderr.data == b"e%d\n" % number


@LOCAL
def test_output_can_be_capped(make: Make) -> None:
    """The first bytes are kept, and how many were not is told."""
    bench = make(output_cap=5)
    end = bench.run("printf", "123456789")
    assert (end.ending.stdout.data, end.ending.stdout.size, end.ending.stdout.dropped) == (b"12345", 9, 4)


@LOCAL
def test_a_command_reads_nothing_unless_it_is_given_something(make: Make, tmp_path: Path) -> None:
    """The null device, or a file that every command reads from its beginning."""
    assert make().run("cat").ending.stdout.data == b""
    given = tmp_path / "given"
    given.write_bytes(b"all of it")
    bench = make(stdin=given)
    assert [bench.run("cat").ending.stdout.data for _ in range(3)] == [b"all of it"] * 3


@LOCAL
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_what_a_command_inherits(bench: Bench) -> None:
    """Three descriptors, default signals, an empty mask, a session of its own, our umask."""
    script = (
        "import os,signal; print(sorted(int(f) for f in os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')));"
        "print(os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid());"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []));"
        "print([l for l in open('/proc/self/status').read().splitlines() if l.startswith('SigIgn')]);"
        "print(oct(os.umask(0)))"
    )
    before = os.umask(0o027)
    os.umask(before)
    lines = bench.run(sys.executable, "-S", "-c", script).ending.stdout.data.decode().splitlines()
    ignored_by_python = (1 << (signal.SIGPIPE - 1)) | (1 << (signal.SIGXFSZ - 1))
    assert lines[0] == "[0, 1, 2] 4"  # and the folder itself
    assert lines[1] == "True True"
    assert lines[2] == "set()"
    of_the_c_library = 0b11 << 31  # glibc's posix_spawn ignores its two internal signals, 32 and 33
    assert int(lines[3].split("\\t")[-1].rstrip("']"), 16) & ~of_the_c_library == ignored_by_python
    assert lines[4] == oct(before)


def test_the_environment_tells_a_command_who_it_is(bench: Bench) -> None:
    """MH_JOB, MH_ATTEMPT, MH_SLOT and the tag by which strays are found."""
    end = bench.end_of(bench.start("sh", "-c", "echo $MH_JOB $MH_ATTEMPT $MH_SLOT $MH_TAG", number=12, attempt=3))
    job, attempt, slot, tag = end.ending.stdout.data.decode().split()
    assert (job, attempt, slot, tag) == ("12", "3", str(end.ending.slot), f"{TOKEN}.12.3")


def test_no_more_run_at_once_than_there_are_slots(bench: Bench, tmp_path: Path) -> None:
    """Each attempt has a slot to itself while it runs, by its own clock: ends that come from elsewhere are known to some milliseconds."""
    attempts = [bench.sh(f"date +%s%N >{tmp_path}/{n}; sleep 0.1; date +%s%N >>{tmp_path}/{n}") for n in range(6)]
    slots = [bench.end_of(one).ending.slot for one in attempts]
    assert {*slots} <= {1, 2}
    for slot in (1, 2):
        spans = sorted([*map(int, (tmp_path / f"{n}").read_text().split())] for n in range(6) if slots[n] == slot)
        assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_a_job_that_ignores_term_is_killed_after_the_grace(bench: Bench, tmp_path: Path) -> None:
    """TERM first, KILL when the grace is over."""
    attempt = bench.sh(f"trap '' TERM; echo up; touch {tmp_path}/up; while :; do sleep 0.05; done")
    bench.start_of(attempt)
    wait_for((tmp_path / "up").exists)
    asked = time.monotonic()
    bench.backend.stop([attempt])
    end = bench.end_of(attempt)
    assert end.ending.signal == signal.SIGKILL
    assert end.at - asked >= 0.25
    assert end.ending.stdout.data == b"up\n"


def test_a_job_may_use_its_grace(make: Make, tmp_path: Path) -> None:
    """One that cleans up at TERM ends as it chooses."""
    bench = make(grace=60.0)
    attempt = bench.sh(f"trap 'echo bye; exit 7' TERM; echo up; touch {tmp_path}/up; while :; do sleep 0.02; done")
    bench.start_of(attempt)
    wait_for((tmp_path / "up").exists)
    bench.backend.stop([attempt])
    end = bench.end_of(attempt)
    assert (end.ending.exit, end.ending.stdout.data) == (7, b"up\nbye\n")


def test_a_kill_is_at_once(make: Make, tmp_path: Path) -> None:
    """The second Ctrl-C does not wait for any grace."""
    bench = make(grace=60.0)
    attempt = bench.sh(f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done")
    bench.start_of(attempt)
    wait_for((tmp_path / "up").exists)
    bench.backend.stop([attempt])
    bench.backend.stop([attempt], kill=True)
    assert bench.end_of(attempt).ending.signal == signal.SIGKILL


def test_the_end_of_a_stopped_job_is_after_the_stop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock of another machine says: here it is 5 s slow."""
    monkeypatch.setattr(FarClock, "here", lambda _, at: at - 5)
    attempt = bench.sh("sleep 60")
    bench.start_of(attempt)
    asked = time.monotonic()
    bench.backend.stop([attempt])
    assert bench.end_of(attempt).at >= asked


def test_a_stopped_job_takes_its_whole_tree_with_it(bench: Bench, tmp_path: Path) -> None:
    """Children, grandchildren and background children are gone, and nobody waits for the pipe they hold."""
    attempt = bench.sh("(sleep 60 & sleep 60) & sh -c 'sleep 60 & sleep 60' & sleep 60")
    bench.start_of(attempt)
    wait_for(lambda: len(with_tag(f"MH_TAG={TOKEN}.{attempt.job.number}.1")) >= 5)
    bench.backend.stop([attempt])
    assert bench.end_of(attempt).ending.signal == signal.SIGTERM
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}.{attempt.job.number}.1"))


@LOCAL
def test_background_children_end_with_their_job(bench: Bench) -> None:
    """A job that exits and leaves something in the background is over at once, and so is what it left."""
    attempt = bench.sh("sleep 60 & echo started")
    end = bench.end_of(attempt)
    assert (end.ending.exit, end.ending.stdout.data) == (0, b"started\n")
    assert end.ending.wall < 5
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}.{attempt.job.number}.1"))


def test_an_output_that_cannot_be_kept_marks_its_job_only(make: Make) -> None:
    """Its file cannot be made: the beginning is kept, and the job and a note say why; its status stays as it is."""
    bench = make()
    folder = bench.backend.settings.outputs  # type: ignore[attr-defined]
    (folder / "1.1.out").mkdir()
    (folder / "1.1.out" / "in-the-way").touch()
    end = bench.end_of(bench.sh("head -c 100000 /dev/zero | tr '\\0' x; exit 5"))
    assert (end.ending.exit, end.ending.stdout.size, end.ending.stdout.path) == (5, 100_000, None)
    assert end.ending.stdout.data == b"x" * (100_000 - end.ending.stdout.dropped)
    assert "could not be kept whole" in (end.ending.error or "")
    assert [one.text for one in bench.reports if isinstance(one, Noted)] == [f"job 1: {end.ending.error}"]
    assert bench.end_of(bench.sh("head -c 100000 /dev/zero")).ending.stdout.path


def test_what_has_not_begun_can_be_taken_back(bench: Bench, tmp_path: Path) -> None:
    """Recalled attempts never begin; what runs is not touched."""
    running = [bench.sh(f"until [ -e {tmp_path}/go ]; do sleep 0.02; done") for _ in range(2)]
    waiting = [bench.sh("echo never") for _ in range(20)]
    for one in running:
        bench.start_of(one)
    bench.backend.recall(waiting)
    ends = [bench.end_of(one) for one in waiting]
    assert not any(end.began for end in ends)
    (tmp_path / "go").touch()
    assert [bench.end_of(one).ending.exit for one in running] == [0, 0]


def test_a_pause_holds_everything(bench: Bench, tmp_path: Path) -> None:
    """While held, what runs makes no progress and nothing begins."""
    attempt = bench.sh(f"until [ -e {tmp_path}/go ]; do sleep 0.02; done")
    bench.start_of(attempt)
    tag = f"MH_TAG={TOKEN}.{attempt.job.number}.1"
    bench.backend.pause(True)
    bench.until(
        lambda: {one.state for one in with_tag(tag)} in ({"T"}, {"T", "D"})
    )  # D: in vfork, whose child is stopped
    other = bench.sh("true")
    (tmp_path / "go").touch()
    deadline = time.monotonic() + 0.4
    while time.monotonic() < deadline:
        bench.reports += bench.backend.reports(0.05)
    assert not any(
        isinstance(one, Ended) or one.attempt == other for one in bench.reports if isinstance(one, Started | Ended)
    )
    bench.backend.pause(False)
    assert bench.end_of(attempt).ending.exit == 0
    assert bench.end_of(other).ending.exit == 0


def test_a_wake_up_ends_the_wait(bench: Bench) -> None:
    """`reports` returns with nothing when it is woken."""
    bench.backend.wake()
    began = time.monotonic()
    assert list(bench.backend.reports(30)) == []
    assert time.monotonic() - began < 5


def test_closing_kills_what_runs(make: Make) -> None:
    """Nothing is left after close, whatever was running or waiting."""
    bench = make()
    running = bench.sh("trap '' TERM; sleep 60 & sleep 60")
    for _ in range(5):
        bench.sh("sleep 60")
    bench.start_of(running)
    bench.backend.close()
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}.1.1"))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it forks with threads: that is what is tried
def test_a_forked_child_touches_nothing_of_its_parent(bench: Bench) -> None:
    """A child that stops, recalls and closes the backend of its parent changes nothing there; it may not use it."""
    running = bench.sh("sleep 0.5; echo mine")
    bench.start_of(running)
    child = os.fork()
    if child == 0:
        bench.backend.stop([running], kill=True)
        bench.backend.recall([running])
        bench.backend.close()
        try:
            bench.backend.reports(0)
        except ManyhandsError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert bench.end_of(running).ending.stdout.data == b"mine\n"
    assert bench.run("echo", "more").ending.stdout.data == b"more\n"


def test_many_small_jobs_are_all_reported_once(bench: Bench) -> None:
    """500 of them, each with its own output."""
    attempts = [bench.start("echo", str(number)) for number in range(1, 501)]
    for attempt in attempts:
        assert bench.end_of(attempt).ending.stdout.data == b"%d\n" % attempt.job.number
    assert sum(isinstance(one, Ended) for one in bench.reports) == 500


def test_many_slots(make: Make) -> None:
    """200 at once, in two launchers or 200 threads."""
    bench = make(slots=200)
    attempts = [bench.sh("sleep 0.5") for _ in range(200)]
    began = time.monotonic()
    assert all(bench.end_of(attempt).ending.exit == 0 for attempt in attempts)
    assert time.monotonic() - began < 20


@LOCAL
def test_niceness(make: Make) -> None:
    """Commands run with the niceness that was asked for."""
    bench = make(nice=7)
    assert bench.run("nice").ending.stdout.data.strip() in (b"7", b"%d" % (os.nice(0) + 7))


@LOCAL
def test_a_script_can_reopen_its_stderr(bench: Bench) -> None:
    """A script that writes to /dev/stderr by name leaves no hole: what came before is cut, what comes after follows."""
    end = bench.sh("echo one >&2; echo two > /dev/stderr; echo three >&2")
    assert bench.end_of(end).ending.stderr.data.endswith(b"two\nthree\n")
    assert b"\0" not in bench.end_of(end).ending.stderr.data


@LOCAL
def test_the_place_of_a_program_is_found_again(make: Make, tmp_path: Path) -> None:
    """A program that moves from one folder of PATH to another between two jobs is found in its new place."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    path = b":".join([*map(bytes, folders), os.environb[b"PATH"]])
    bench = make(environment={**os.environb, b"PATH": path})
    program = folders[0] / "moving-program"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o755)
    assert bench.run("moving-program").ending.stdout.data == b"here\n"
    program.rename(folders[1] / "moving-program")
    assert bench.run("moving-program").ending.stdout.data == b"here\n"


def test_every_backend_says_which_options_it_honours() -> None:
    """All others are refused with it, so one that is not in the list could be given none."""
    assert HONOURED.keys() >= {*COMMANDS, *FUNCTIONS} - {"auto"}


@pytest.mark.parametrize("make", ["commands", "command-threads"], indirect=True)
def test_it_gets_more_slots_while_it_works(make: Make, tmp_path: Path) -> None:
    """Each job waits until all of them run; the new slots have numbers and files of their own."""
    bench = make(slots=1)
    backend = bench.backend
    assert is_growing(backend)
    script = f"echo > {tmp_path}/$1; while test $(ls {tmp_path} | grep -c job) -lt 5; do sleep 0.01; done; echo $1"
    attempts = [bench.start("sh", "-c", script, "sh", f"job{number}") for number in range(5)]
    bench.start_of(attempts[0])
    assert backend.grow(5) == 5
    ends = [bench.end_of(attempt) for attempt in attempts]
    assert [end.ending.stdout.data for end in ends] == [b"job%d\n" % number for number in range(5)]
    assert sorted(end.ending.slot for end in ends) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("make", ["commands"], indirect=True)
@pytest.mark.parametrize("width", [1, 3, 5])
def test_what_has_grown_can_be_narrowed(make: Make, tmp_path: Path, width: int) -> None:
    """To so many in all, however unequal its launchers are."""
    bench = make(slots=1)
    backend = bench.backend
    assert is_growing(backend)
    backend.grow(6)
    assert is_adjustable(bench.backend)
    bench.backend.limit(width)
    script = f"echo > {tmp_path}/run$$; ls {tmp_path} | grep -c run; sleep 0.05; rm {tmp_path}/run$$"
    ends = [bench.end_of(attempt) for attempt in [bench.sh(script) for _ in range(20)]]
    assert max(int(end.ending.stdout.data) for end in ends) <= width


@given(width=st.integers(1, 2000), sizes=st.lists(st.integers(1, 300), min_size=1, max_size=9))
def test_a_width_is_shared_out_whole(width: int, sizes: list[int]) -> None:
    """No launcher gets more than its slots, and all get what there is."""
    slots = {index: range(size) for index, size in enumerate(sizes)}
    width = min(width, sum(sizes))
    found = shares(width, slots)
    assert sum(found.values()) == width
    assert all(found[index] <= len(mine) for index, mine in slots.items())
