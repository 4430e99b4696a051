"""What many tests need: a state folder of their own, the command line as a real process, a look at what was left behind."""

from __future__ import annotations

import compileall
import gc
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import cache
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from invoke import Collection

from lasting_processes import LASTING
from manyhands.backends.workers import fork_server
from manyhands.core import hints
from manyhands.core.hints import typed_options
from manyhands.core.package_location import LIBRARY, PACKAGE
from manyhands.posix import linux
from warm import Warm

# Whoever runs the tests in the background of a script has SIGINT and SIGQUIT ignored (POSIX, Shell Command Language, 2.11),
# and what is ignored stays ignored in everything that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(_number, signal.SIG_DFL)

# Nothing fails because the machine is busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

pytest_plugins = [
    "allowed_skips",
    "browsers",
    "sampled",
    "dask_clusters",
    "missing_programs",
    "redis_servers",
    "rabbit_servers",
    "tour.playing",
    "ssh_hosts",
    "network_hosts",
    "slurm_node",
]

HERE = Path(__file__).parents[1]
LIB = Path(LIBRARY)
"""What the tests import the package from: this checkout, or the environment that a wheel is installed in (scripts/test-wheel)."""


@cache
def checkout_tasks() -> Collection:
    """The tasks of this checkout, also where a wheel is tested, whose own are without ``dev``."""
    spec = importlib.util.spec_from_file_location("checkout_tasks", HERE / "tasks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Collection = module.namespace
    return found


def pytest_configure(config: pytest.Config) -> None:
    """Compile what the tests start, once: none of them writes compiled modules, because half a module of one that may write only so
    many bytes would break all that come later."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(PACKAGE, quiet=2)
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # not before: pytest is to keep the tests that it has compiled


def pytest_collection_finish() -> None:
    """Some thousand tests and what they import stay to the end: no collection of garbage has to look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def options_typed() -> Iterator[None]:
    """Messages name options as they are typed: what is tested is reached from the command line."""
    with typed_options():
        yield


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No test sees or touches the user's runs or configuration; names of options in the environment would change results."""
    for name in list(os.environ):
        if name.startswith(("MANYHANDS_", "MH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    words = hints._Called.words  # a test may run a program of another name
    yield tmp_path / "xdg" / "manyhands"
    hints.call_it(words)


@pytest.fixture
def environment(own_state: Path) -> dict[str, str]:
    """The environment for programs that tests start."""
    return environment_of_programs()


def environment_of_programs() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        "PYTHONPATH": str(HERE / "lib"),
        "PATH": path,
    }  # a wheel is found without, as what is installed is


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["invoke", "manyhands"])
def program(request: pytest.FixtureRequest) -> list[str]:
    """The two ways to call the tasks: plain invoke in a checkout, and our own program."""
    if request.param == "invoke":
        return [sys.executable, "-m", "invoke", "--search-root", str(HERE)]
    return [sys.executable, "-m", "manyhands"]


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Starts ``python -m manyhands``, which is imported already."""
    with closing(Warm(environment_of_programs(), "ours")) as one:
        yield one


@pytest.fixture(scope="session")
def warm_plain() -> Iterator[Warm]:
    """Starts ``python -m invoke`` and scripts; invoke and our helpers for tasks are imported already."""
    with closing(Warm(environment_of_programs(), "plain")) as one:
        yield one


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path, warm: Warm) -> Cli:
    """Run ``python -m manyhands ARGS`` in the test's folder, with nothing on stdin unless ``input`` is given; ``cold``: by a start of
    Python of its own, where a test is about that."""

    def run(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        if "input" not in options and "stdin" not in options:
            options["stdin"] = subprocess.DEVNULL
        start: Cli = subprocess.run if options.pop("cold", False) else warm.run
        settings: dict[str, Any] = {"cwd": tmp_path, "env": environment, "timeout": 60, **options}
        return start([sys.executable, "-m", "manyhands", *args], check=False, capture_output=True, text=True, **settings)

    return run


Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """(the exit status, what was said on stderr) of a command line, in this process; nothing may be said on stdout."""
    from manyhands.cli import Program
    from manyhands.cli.loaded_tasks import load_tasks

    words = hints._Called.words

    def run(*args: str) -> tuple[int, str]:
        program = Program(namespace=load_tasks().namespace, binary="manyhands")
        with pytest.raises(SystemExit) as caught:
            program.run(["manyhands", *args])
        found = capsys.readouterr()
        assert found.out == ""
        return int(caught.value.code or 0), found.err.strip()

    yield run
    hints.call_it(words)


@pytest.fixture
def nothing_left(request: pytest.FixtureRequest, warm: Warm, warm_plain: Warm) -> Iterator[None]:
    """Fails a test that leaves a child, a thread or a descriptor behind; multiprocessing keeps servers of its own on purpose."""
    start_servers()
    others = {one.pid for one in children()}  # what a test that has failed left behind is not blamed on the next one
    before = open_descriptors(), set(threading.enumerate())

    def left() -> list[linux.ProcStat]:
        return [one for one in children() if one.pid not in others]

    yield
    start_servers()  # if a job has killed them
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (left() or open_descriptors() - before[0]):
        time.sleep(0.01)
    if "dask" in request.node.name:  # a connection that tornado could not make in time is left open until then
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    assert [(one.pid, one.state, name_of(one.pid)) for one in left()] == []
    threads = {t.name for t in threading.enumerate() if t.is_alive()}
    assert threads - {"Dask-Offload_0"} <= {t.name for t in before[1]}  # which distributed keeps for all its clients
    assert len(open_descriptors()) <= len(before[0]), [*map(target, open_descriptors() - before[0])]


def name_of(pid: int) -> str:
    """What a process is called; a zombie, too, has a name."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"


def start_servers() -> None:
    """Start the fork server and the resource tracker of multiprocessing, which live as long as their program. Tests share them, since
    their imports take longer than most tests."""
    fork_server.preload()
    fork_server.wake()
    try:
        forkserver.ensure_running()
    except ChildProcessError:  # the test has ended, and reaped, all below this process
        fork_server._forget()
        forkserver.ensure_running()


def servers() -> set[int]:
    """Their pids."""
    server, tracker = vars(forkserver)["_forkserver"], vars(resource_tracker)["_resource_tracker"]
    return {server._forkserver_pid, tracker._pid}


def open_descriptors() -> set[str]:
    """The descriptors that this process has open, by number."""
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return set(os.listdir(folder))


def target(descriptor: str) -> str:
    """What a descriptor of this process is."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return "gone"


def children() -> list[linux.ProcStat]:
    """Everything below this process, but for what tests share."""
    shared = {one.pid for one in linux.descendants([*LASTING])} | LASTING | servers()
    return [one for one in linux.descendants([os.getpid()]) if one.pid not in shared]


def with_tag(text: str) -> list[linux.ProcStat]:
    """Every living process, wherever it is, that was started with ``text`` in its environment."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("looks for processes in /proc")
    return [one for one in linux.processes() if one.state != "Z" and linux.has_tag(one.pid, text.encode())]


def messages(stderr: str) -> list[str]:
    """The lines that a program has said, without those that only say that time goes by: a busy machine takes its time to connect."""
    return [line for line in stderr.splitlines() if " s elapsed, " not in line]


def signal_all(pids: Iterable[int], number: int) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until ``condition`` is true; fails after ``seconds``: jobs that must be ended sleep longer."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(pause := min(1.5 * pause, 0.1))
