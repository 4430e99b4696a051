"""Runs that go on in the background or in another terminal: watched, waited for, held, changed, stopped, by the commands themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli, wait_for
from manyhands.storage import progress_file
from manyhands.storage.runs import Store, is_busy

pytestmark = pytest.mark.usefixtures("nothing_left")

Begin = Callable[..., str]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file for which jobs wait."""
    return tmp_path / "gate"


@pytest.fixture
def waiting(gate: Path, tmp_path: Path) -> str:
    """A command that says who it is, and waits for `gate`."""
    script = tmp_path / "waits.sh"
    script.write_text(
        f"echo hello $1; echo $$ >> {tmp_path}/begun; until test -e {gate}; do sleep 0.02; done; echo bye $1\n"
    )
    return f"sh {script}"


@pytest.fixture
def begin(cli: Cli, own_state: Path, tmp_path: Path, gate: Path, waiting: str) -> Iterator[Begin]:
    """Begins a run in the background, whose jobs wait for the gate, and waits until some run."""

    def begun(*options: str, inputs: tuple[str, ...] = ("a", "b", "c"), running: int = 2) -> str:
        done = cli("batch", waiting, "--background", "--run-id", "r", "-j", "2", *options, "--", *inputs, cold=True)
        assert (done.returncode, done.stdout) == (0, "r\n"), done.stderr
        wait_for(lambda: (tmp_path / "begun").exists() and len((tmp_path / "begun").read_text().split()) >= running)
        return str(done.stderr)

    yield begun
    gate.touch()
    store = Store(own_state)
    wait_for(lambda: not any(is_busy(run) for run in store.all()), 60)


def standing(own_state: Path) -> progress_file.RunProgress | None:
    return progress_file.read(own_state / "runs" / "r")


def test_a_run_in_the_background(cli: Cli, begin: Begin, gate: Path, own_state: Path) -> None:
    """It has let go of the terminal and of the session; what it says is kept; it can be waited for."""
    said = begin()
    assert said.startswith("manyhands: run r goes on in the background: ") and "batch.watch r" in said
    pid = json.loads((own_state / "runs" / "r" / "lock").read_text())["pid"]
    assert os.getsid(pid) == pid
    assert [os.readlink(f"/proc/{pid}/fd/{one}") for one in (0, 1)] == ["/dev/null", "/dev/null"]
    assert "running" in cli("batch.list").stdout
    assert cli("batch.wait", "r", "--timeout", "0.1").returncode == 124
    gate.touch()
    done = cli("batch.wait", "r")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("manyhands: run r: 3 jobs: 3 ok")
    assert "3 jobs: 3 ok" in (own_state / "runs" / "r" / "messages").read_text()
    assert cli("batch.show", "r", "--job", "2").stdout.endswith("  hello b\n  bye b\n")


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (("false {}", "--", "x", "y"), 1, "2 failed"),
        (("true {x}", "--", "x"), 2, "there is no column 'x'"),
        (("true {}", "--halt", "soon", "--", "x"), 2, "--halt"),
    ],
)
def test_its_mistakes_are_told(cli: Cli, args: tuple[str, ...], status: int, said: str) -> None:
    """Those that are known before it begins at once, as those of any command; the others by batch.wait."""
    done = cli("batch", "--background", "--run-id", "r", *args, cold=True)
    if status == 1:
        assert done.returncode == 0
        done = cli("batch.wait", "r")
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_run(cli: Cli) -> None:
    done = cli("batch", "true {}", "--background", "--", cold=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no inputs: nothing to run" in done.stderr


def test_stopped(cli: Cli, begin: Begin, own_state: Path) -> None:
    """As by a signal: it says so, and what was not done is left."""
    begin("--grace", "0.1")
    done = cli("batch.stop", "r")
    assert done.returncode == 0
    assert "stopped by SIGTERM; the rest: " in done.stderr
    assert not is_busy(Store(own_state).find("r"))
    assert cli("batch.wait", "r").returncode == 128 + signal.SIGTERM
    assert cli("batch.stop", "r").returncode == 1


def test_killed_at_once(cli: Cli, begin: Begin, tmp_path: Path) -> None:
    """Without the time to end by themselves, which they have by default."""
    begin("--grace", "10000")
    assert cli("batch.stop", "r", "--now").returncode == 0
    for pid in map(int, (tmp_path / "begun").read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_stopped_soon(cli: Cli, begin: Begin, gate: Path) -> None:
    """What runs ends by itself; the rest is for a resume, and the exit status is not 0."""
    begin()
    assert cli("batch.stop", "r", "--soon").returncode == 0
    gate.touch()
    done = cli("batch.wait", "r")
    assert done.returncode == 1
    assert "2 of 3 jobs done: 2 ok, 1 not run" in done.stderr
    assert "it was asked to begin no more" in done.stderr
    assert cli("batch.resume", "r").returncode == 0
    assert cli("batch.wait", "r").returncode == 0


def test_one_job_stopped(cli: Cli, begin: Begin, gate: Path) -> None:
    """The others go on."""
    begin("--grace", "0.1")
    assert cli("batch.stop", "r", "--job", "1").returncode == 0
    assert (
        cli("batch.stop", "r", "--job", "99").stderr
        == "manyhands: the run r: job 99 does not run now, or cannot be stopped\n"
    )
    gate.touch()
    assert cli("batch.wait", "r").returncode == 1
    assert cli("batch.resume", "r").returncode == 0


def test_held_and_let_go_on(cli: Cli, begin: Begin, gate: Path, own_state: Path, tmp_path: Path) -> None:
    """The processes of all jobs are stopped meanwhile, and the run says so."""
    begin()
    assert cli("batch.pause", "r").returncode == 0
    pids = [int(word) for word in (tmp_path / "begun").read_text().split()]
    assert all(state_of(pid) in SUSPENDED for pid in pids)
    wait_for(lambda: (now := standing(own_state)) is not None and now.paused)
    assert ", paused" in cli("batch.show", "r").stdout
    assert cli("batch.continue", "r").returncode == 0
    gate.touch()
    assert cli("batch.wait", "r").returncode == 0


def test_a_shell_that_lets_it_go_on_does_not_undo_a_pause(
    cli: Cli, environment: dict[str, str], waiting: str, gate: Path, own_state: Path, tmp_path: Path
) -> None:
    """Ctrl-Z and fg: what batch.pause has suspended stays so until batch.continue."""
    command = [sys.executable, "-m", "manyhands", "batch", waiting, "--run-id", "r", "-j", "2", "--", "a", "b"]
    run = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    path = own_state / "runs" / "r" / "standing.json"
    try:
        wait_for(lambda: (tmp_path / "begun").exists() and len((tmp_path / "begun").read_text().split()) == 2)
        assert cli("batch.pause", "r").returncode == 0
        wait_for(lambda: (now := standing(own_state)) is not None and now.paused)
        run.send_signal(signal.SIGTSTP)
        wait_for(lambda: state_of(run.pid) == "T")
        written = path.stat().st_mtime_ns
        run.send_signal(signal.SIGCONT)
        wait_for(lambda: path.stat().st_mtime_ns > written)
        assert (now := standing(own_state)) is not None and now.paused
        assert all(state_of(int(pid)) in SUSPENDED for pid in (tmp_path / "begun").read_text().split())
    finally:
        run.send_signal(signal.SIGCONT)
        gate.touch()
        done, status = cli("batch.continue", "r"), run.wait(timeout=60)
    assert (done.returncode, status) == (0, 0)


SUSPENDED = ("T", "D")
"""Stopped, or in vfork(2) while the child is stopped (proc(5))."""


def state_of(pid: int) -> str:
    """As in /proc/PID/stat."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_more_at_once(cli: Cli, begin: Begin, own_state: Path, tmp_path: Path) -> None:
    """All of them run then."""
    begin(inputs=tuple("abcdef"))
    done = cli("batch.set", "r", "--jobs", "6")
    assert (done.returncode, done.stderr) == (0, "manyhands: run r now runs at most 6 at once\n")
    wait_for(lambda: len((tmp_path / "begun").read_text().split()) == 6)
    wait_for(lambda: (now := standing(own_state)) is not None and now.jobs == 6)


WAITS = """
import os, time

def wait(name):
    with open("begun", "a") as begun:
        begun.write(f"{name}\\n")
    while not os.path.exists("gate"):
        time.sleep(0.02)

def together(_):
    name = os.getpid()
    open(f"there/{name}", "w").close()
    most = len(os.listdir("there"))
    time.sleep(0.02)
    os.unlink(f"there/{name}")
    return most
"""


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_more_functions_at_once(cli: Cli, tmp_path: Path, gate: Path, backend: str) -> None:
    """The new slots are used by what waits already."""
    (tmp_path / "waits.py").write_text(WAITS)
    begun = cli(
        "batch.call",
        "waits:wait",
        "--backend",
        backend,
        "-j",
        "1",
        "--run-id",
        "r",
        "--background",
        "--",
        *"abcd",
        cold=True,
    )
    assert begun.returncode == 0, begun.stderr
    wait_for(lambda: (tmp_path / "begun").exists())
    assert cli("batch.set", "r", "--jobs", "4").stderr == "manyhands: run r now runs at most 4 at once\n"
    wait_for(lambda: sorted((tmp_path / "begun").read_text().split()) == [*"abcd"])
    gate.touch()
    assert cli("batch.wait", "r").returncode == 0


def test_fewer_functions_at_once(cli: Cli, tmp_path: Path, gate: Path) -> None:
    """Workers that are there already get nothing more."""
    (tmp_path / "waits.py").write_text(WAITS)
    (tmp_path / "there").mkdir()
    first = ("batch.call", "waits:wait", "--then", "waits:together", "-j", "3", "--run-id", "r", "--background")
    assert cli(*first, "--", *map(str, range(40)), cold=True).returncode == 0
    wait_for(lambda: (tmp_path / "begun").exists() and len((tmp_path / "begun").read_text().split()) == 3)
    assert cli("batch.set", "r", "--jobs", "3,1").stderr == "manyhands: run r now runs at most 3, 1 at once\n"
    gate.touch()
    assert cli("batch.wait", "r").returncode == 0
    rows = map(json.loads, cli("batch.export", "r").stdout.splitlines())
    assert {row["result"] for row in rows if row["stage"] == 2} == {1}


def test_another_rule(cli: Cli, begin: Begin, gate: Path) -> None:
    begin(inputs=tuple("abcdefgh"))
    assert cli("batch.set", "r", "--halt", "soon,success=1").returncode == 0
    gate.touch()
    done = cli("batch.wait", "r")
    assert done.returncode == 0  # as of a run that had the rule from the beginning
    assert "halted by soon,success=1" in done.stderr


def watched(environment: dict[str, str], tmp_path: Path, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "manyhands", "batch.watch", *args]
    return subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_watched_to_its_end(begin: Begin, gate: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """What running jobs print comes as they print it; the status is that of the run."""
    begin()
    process = watched(environment, tmp_path, "r", "--output")
    assert process.stdout is not None
    first = {process.stdout.readline(), process.stdout.readline()}
    assert first == {"hello a\n", "hello b\n"}
    gate.touch()
    out, said = process.communicate(timeout=60)
    assert sorted(out.splitlines()) == ["bye a", "bye b", "bye c", "hello c"]
    assert "3 jobs: 3 ok" in said
    assert process.returncode == 0


def test_one_job_watched(begin: Begin, gate: Path, environment: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    """From its beginning to its end; also when it has ended before."""
    begin()
    process = watched(environment, tmp_path, "r", "--job", "2")
    assert process.stdout is not None
    assert process.stdout.readline() == "hello b\n"
    gate.touch()
    assert process.communicate(timeout=60)[0] == "bye b\n"
    assert process.returncode == 0
    assert cli("batch.wait", "r").returncode == 0
    assert cli("batch.watch", "r", "--job", "3").stdout == "hello c\nbye c\n"


def test_a_watcher_hears_of_a_pause(
    begin: Begin, gate: Path, environment: dict[str, str], tmp_path: Path, cli: Cli
) -> None:
    begin()
    process = watched(environment, tmp_path, "r")
    assert cli("batch.pause", "r").returncode == 0
    assert process.stderr is not None
    assert process.stderr.readline() == "manyhands: run r is paused\n"
    assert cli("batch.continue", "r").returncode == 0
    assert process.stderr.readline() == "manyhands: run r goes on\n"
    gate.touch()
    process.communicate(timeout=60)


def test_a_watcher_that_is_killed_changes_nothing(
    begin: Begin, gate: Path, environment: dict[str, str], tmp_path: Path, cli: Cli
) -> None:
    begin()
    process = watched(environment, tmp_path, "r", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "run"
    process.kill()
    process.communicate()
    gate.touch()
    assert cli("batch.wait", "r").returncode == 0


@pytest.mark.parametrize("task", ["watch", "stop", "pause", "continue", "set"])
def test_nothing_goes_on(cli: Cli, task: str) -> None:
    """One line, and exit 2."""
    done = cli(f"batch.{task}", *(["--jobs", "2"] if task == "set" else []))
    assert done.returncode == 2
    assert "is going on" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("batch.set",), "what is to change?"),
        (("batch.set", "--jobs", "auto"), "--jobs auto: only a new run"),
        (("batch.set", "--jobs", "x"), "--jobs 'x': expected a number"),
        (("batch.wait", "nosuch"), "no run 'nosuch'"),
        (("batch.stop", "--soon", "--now"), "--now"),
        (
            ("batch", "true", "--line-buffer", "--backend", "redis", "--broker", "redis://127.0.0.1:1/0", "--", "x"),
            "--line-buffer is for",
        ),
        (("batch.call", "math:sqrt", "--line-buffer", "--", "4"), "--line-buffer"),
        (("batch", "true", "--joblog", "/nosuch/log", "--", "x"), "--joblog /nosuch/log: No such file"),
        (("batch", "true", "--results", "/dev/null/x", "--", "x"), "--results /dev/null/x: Not a directory"),
        (("batch", "true", "--notify", "no-such-program", "--", "x"), "there is no program 'no-such-program'"),
        (("batch", "true", "--notify", "'", "--", "x"), "no closing quotation"),
    ],
)
def test_mistakes(cli: Cli, args: tuple[str, ...], said: str, own_state: Path) -> None:
    """One line, exit 2, and no run."""
    done = cli(*args)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert said in done.stderr
    assert not any((own_state / "runs").glob("*")) if (own_state / "runs").exists() else True


def test_files_are_written_as_jobs_end(cli: Cli, begin: Begin, gate: Path, tmp_path: Path) -> None:
    """A line and a folder for each; a resume adds to them."""
    begin("--joblog", "log", "--results", "out", inputs=("a", "b"))
    assert (tmp_path / "log").read_text().startswith("Seq\tHost\t")
    gate.touch()
    assert cli("batch.wait", "r").returncode == 0
    lines = (tmp_path / "log").read_text().splitlines()[1:]
    assert sorted(line.split("\t")[0] for line in lines) == ["1", "2"]
    assert [line.split("\t")[6] for line in lines] == ["0", "0"]
    assert (tmp_path / "out" / "2" / "stdout").read_text() == "hello b\nbye b\n"
    assert (tmp_path / "out" / "2" / "stderr").read_text() == ""
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_what_a_function_returned_is_kept(cli: Cli, tmp_path: Path) -> None:
    assert cli("batch.call", "math:sqrt", "--type", "float", "--results", "out", "--", "9").returncode == 0
    assert (tmp_path / "out" / "1" / "result").read_text().strip() == "3.0"


@pytest.mark.parametrize(("command", "status"), [("true {}", 0), ("false {}", 1)])
def test_somebody_is_told_at_the_end(cli: Cli, tmp_path: Path, command: str, status: int) -> None:
    """The sum as JSON, with the exit status."""
    done = cli("batch", command, "--notify", "tee told", "--run-id", "r", "--", "x")
    assert done.returncode == status
    told: dict[str, Any] = json.loads((tmp_path / "told").read_text())
    assert (told["event"], told["run"], told["exit"], told["not_run"]) == ("summary", "r", status, 0)


def test_a_notice_that_fails_is_told_and_changes_nothing(cli: Cli) -> None:
    done = cli("batch", "true {}", "--notify", "false", "--", "x")
    assert done.returncode == 0
    assert "manyhands: --notify false: exit status 1" in done.stderr
