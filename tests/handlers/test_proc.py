"""The ``proc`` tasks as users meet them: on a terminal, piped, with --json; what a mistake costs."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Cli, wait_for
from manyhands.posix import linux
from manyhands.processes.listing import process_info

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own files and programs")

MISTAKES = [
    (["proc.list", "--older-than", "x"], "--older-than 'x'"),
    (["proc.list", "--cmdline", "("], "--cmdline '('"),
    (["proc.list", "--port", "0"], "'0' is not a port"),
    (["proc.list", "--user", "no-such-user"], "no such user"),
    (["proc.list", "--sort", "size"], "--sort"),
    (["proc.list", "--top", "0"], "--top 0"),
    (["proc.tree", "x"], "'x' is not a pid"),
    (["proc.tree", "4999999"], "there is no process 4999999"),
    (["proc.show"], "lacks its pid"),
    (["proc.show", "4999999"], "there is no process 4999999"),
    (["proc.show", "sleep"], "chosen by its name with --name"),
    (["proc.top", "--every", "0"], "--every 0"),
    (["proc.top", "--times", "0"], "--times 0"),
    (["proc.stop"], "name what to stop"),
    (["proc.stop", "0"], "'0' is not a pid"),
    (["proc.stop", "-1"], ""),
    (["proc.stop", "1", "--signal", "NONE"], "--signal NONE"),
    (["proc.stop", "1", "--grace", "soon"], "--grace"),
    (["proc.port", "x"], "'x' is not a port"),
    (["proc.port", "65536"], "expected 1 to 65535"),
    (["proc.wait"], "say what to wait for"),
    (["proc.wait", "1", "--port", "80"], "say what to wait for"),
    (["proc.wait", "x"], "'x' is not a pid"),
    (["proc.wait", "1", "--gone"], "--gone"),
    (["proc.wait", "--log", "x"], "--file"),
    (["proc.wait", "--log", "(", "--file", "f"], "--log '('"),
    (["proc.wait", "--log", "x", "--file", "."], "Is a directory"),
    (["proc.wait", "--port", "80", "--host", "a..b"], "--host a..b: cannot be the name of a host"),
    (["proc.wait", "1", "--timeout", "x"], "--timeout"),
]


@pytest.mark.parametrize(("args", "said"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_is_one_clear_line_and_exit_2(args: list[str], said: str, cli: Cli) -> None:
    """Nothing is stopped."""
    done = cli(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


SLEEP = f"61.{os.getpid()}"
PATTERN = rf"^sleep 61\.{os.getpid()}$"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is easily recognised, and not mistaken for that of a test beside us."""
    with subprocess.Popen(["sleep", SLEEP], start_new_session=True) as running:
        wait_for(lambda: (info := process_info(running.pid)) and info.name == "sleep")
        yield running
        running.kill()


def test_list(cli: Cli, sleeper: subprocess.Popen[bytes]) -> None:
    """A table, or records with the same; 1 when nothing is chosen; the longest-running first, if asked for."""
    done = cli("proc.list", "--cmdline", PATTERN)
    header, row = done.stdout.splitlines()
    assert header.split()[:3] == ["PID", "PPID", "USER"]
    assert row.split()[:2] == [str(sleeper.pid), str(os.getpid())]
    assert row.endswith(f"  sleep {SLEEP}")
    (record,) = map(json.loads, cli("proc.list", "--cmdline", PATTERN, "--json").stdout.splitlines())
    assert (record["schema"], record["pid"], record["argv"]) == ("manyhands.process/1", sleeper.pid, ["sleep", SLEEP])
    done = cli("proc.list", "--name", "no-such-program")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no process matches\n")
    first, second = map(json.loads, cli("proc.list", "--sort", "age", "--top", "2", "--json").stdout.splitlines())
    assert first["age"] >= second["age"]


def test_names_are_harmless(cli: Cli) -> None:
    """A process may call itself what it likes (rows 51 and 52)."""
    argv = [b"a\x1b[2Jb\xff\nc", b"61.5"]
    with subprocess.Popen(argv, executable="sleep") as hostile:
        wait_for(lambda: (info := process_info(hostile.pid)) and info.name == "sleep")
        done = cli("proc.list", "--name", "sleep")
        tree = cli("proc.tree", str(hostile.pid))
        (record,) = [
            one
            for one in map(json.loads, cli("proc.list", "--name", "sleep", "--json").stdout.splitlines())
            if one["pid"] == hostile.pid
        ]
        hostile.kill()
    assert "\x1b" not in done.stdout + tree.stdout
    assert "a^[[2Jb" in done.stdout
    assert tree.stdout.count("\n") == 1
    assert record["argv_base64"]


@needs_linux
def test_tree_and_show(cli: Cli) -> None:
    """Drawn as pstree draws it; all about one, as /proc says."""
    with subprocess.Popen(["sh", "-c", "sleep 62.5 & sleep 63.5 & wait"], start_new_session=True) as root:
        wait_for(
            lambda: (
                len(linux.descendants([root.pid])) == 2
                and all((info := process_info(one.pid)) and info.name == "sleep" for one in linux.descendants([root.pid]))
            )
        )
        drawn = cli("proc.tree", str(root.pid)).stdout.splitlines()
        record = json.loads(cli("proc.tree", str(root.pid), "--json").stdout)
        pstree = subprocess.run(["pstree", "-p", "-a", str(root.pid)], capture_output=True, text=True, check=True).stdout
        shown = cli("proc.show", str(root.pid)).stdout
        details = json.loads(cli("proc.show", str(root.pid), "--environment", "--json").stdout)
        os.killpg(root.pid, signal.SIGKILL)
    assert [line.split()[-2:] for line in drawn[1:]] == [["sleep", "62.5"], ["sleep", "63.5"]]
    assert drawn[1].startswith("├─")
    assert drawn[2].startswith("└─")
    pids = [int(found) for found in re.findall(r"^\D*(\d+) ", "\n".join(drawn), re.MULTILINE)]
    assert pids == [int(found) for found in re.findall(r",(\d+)", pstree)]
    assert [record["pid"], *(child["pid"] for child in record["children"])] == pids
    assert f"parent       {os.getpid()} " in shown
    assert [child["pid"] for child in details["children"]] == pids[1:]
    assert details["environment"]["PATH"] == os.environ["PATH"]
    assert details["cwd"] == os.getcwd()


def test_port(cli: Cli) -> None:
    """Who listens; 1 when nobody does."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        line = cli("proc.port", port).stdout
        assert line.startswith(f"tcp 127.0.0.1:{port}  {os.getpid()} ")
        record = json.loads(cli("proc.port", port, "--json").stdout)
        assert (record["port"], record["pid"]) == (int(port), os.getpid())
        listed = cli("proc.list", "--port", port, "--json").stdout
        assert json.loads(listed)["pid"] == os.getpid()
    done = cli("proc.port", port)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"nobody listens on port {port}\n")


def test_zombies_and_orphans(cli: Cli) -> None:
    """With who should collect, or has adopted, them, and what to do."""
    zombie = subprocess.Popen(["true"])
    wait_for(lambda: (info := process_info(zombie.pid)) and info.state == "Z")
    orphan = int(subprocess.check_output(["setsid", "sh", "-c", "(sleep 64.5 >/dev/null & echo $!)"]))
    try:
        lines = cli("proc.zombies").stdout.splitlines()
        (line,) = [line for line in lines if line.startswith(f"{zombie.pid} ")]
        assert f"{zombie.pid} true: its parent {os.getpid()} (" in line
        assert f"kill -CHLD {os.getpid()}" in line
        records = map(json.loads, cli("proc.zombies", "--json").stdout.splitlines())
        assert [one["ppid"] for one in records if one["pid"] == zombie.pid] == [os.getpid()]
        if sys.platform == "linux":
            (line,) = [line for line in cli("proc.orphans").stdout.splitlines() if line.startswith(f"{orphan} ")]
            assert "sleep 64.5" in line
            assert f"proc.stop {orphan}" in line
            records = map(json.loads, cli("proc.orphans", "--json").stdout.splitlines())
            assert orphan in [one["pid"] for one in records]
    finally:
        os.kill(orphan, signal.SIGKILL)
        zombie.wait()


@needs_linux
def test_top(cli: Cli, sleeper: subprocess.Popen[bytes]) -> None:
    """Who uses most since the last look comes first; records one after another."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        done = cli("proc.top", "--times", "2", "--every", "2", "--top", "1000", "--json")
        shown = cli("proc.top", "--times", "1", "--top", "3").stdout.splitlines()
        busy.kill()
    records = list(map(json.loads, done.stdout.splitlines()))
    last = {one["pid"]: place for place, one in enumerate(records)}  # the places in the second look
    assert last[busy.pid] < last[sleeper.pid]  # how much it gets depends on who else computes
    used = [one["percent"] for one in records if one["pid"] == busy.pid]
    assert used[-1] > 0
    title, names, *rows = shown
    assert " processes, " in title
    assert names.split()[0] == "PID"
    assert len(rows) == 3


# -- stopping ------------------------------------------------------------------------------------------------------------


def test_stop_says_what_became_of_each(cli: Cli, sleeper: subprocess.Popen[bytes]) -> None:
    """Under its second name, too; 0 when all is gone, 3 when nothing matches."""
    done = cli("proc.stop", str(sleeper.pid), "--dry-run")
    assert (done.returncode, done.stdout) == (0, f"would stop {sleeper.pid} sleep {SLEEP}\n")
    assert sleeper.poll() is None
    done = cli("terminate", "--cmdline", PATTERN)
    assert done.returncode == 0
    assert re.fullmatch(rf"{sleeper.pid} sleep: ended .* after SIGTERM\n", done.stdout)
    assert sleeper.wait() == -signal.SIGTERM
    for args, said in [
        ([str(sleeper.pid)], f"there is no process {sleeper.pid}\n"),
        (["--name", "no-such-program"], "no process matches\n"),
    ]:
        done = cli("proc.stop", *args)
        assert (done.returncode, done.stdout, done.stderr) == (3, "", said)


def test_stop_records(cli: Cli, sleeper: subprocess.Popen[bytes]) -> None:
    """The last signal, and seconds."""
    record = json.loads(cli("proc.stop", str(sleeper.pid), "--signal", "9", "--json").stdout)
    assert (record["schema"], record["pid"], record["fate"], record["signal_name"], record["chosen"]) == (
        "manyhands.stopped/1",
        sleeper.pid,
        "ended",
        "SIGKILL",
        True,
    )
    assert 0 <= record["seconds"] < 60
    assert sleeper.wait() == -signal.SIGKILL


def test_stop_refuses_what_would_end_us(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """Pid 1 and whoever has started it, by number; by a pattern they are left out, and named."""
    for pid in (1, os.getpid()):
        done = cli("proc.stop", str(pid))
        assert done.returncode == 1
        assert "is not stopped: it " in done.stdout
    shell = shutil.copy("/bin/sh", tmp_path / "shell-4711")
    script = f"{sys.executable} -m manyhands proc.stop --name shell-4711 --yes; echo status $?"
    found = subprocess.run([shell, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert found.stdout == "status 3\n"
    assert "is skipped: it has started us" in found.stderr
    done = cli("proc.stop", "1", "--dry-run")
    assert "would not stop 1 " in done.stdout


@pytest.mark.parametrize("task", ["proc.list", "proc.stop"])
@pytest.mark.parametrize("around", ["", "timeout 60 ", "sh -c '{}; true'", "env A=1 sh -c '{} | cat'"])
def test_a_pattern_never_means_who_asks(task: str, around: str, environment: dict[str, str]) -> None:
    """Neither this command nor a shell, timeout(1) or another that has started it with the pattern."""
    asking = f"{sys.executable} -m manyhands {task} --cmdline unique-{os.getpid()}"
    line = around.format(asking) if "{}" in around else around + asking
    done = subprocess.run(["sh", "-c", f"{line}; true"], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "no process matches\n")


def test_a_shell_that_matches_by_itself_is_listed(cli: Cli, environment: dict[str, str]) -> None:
    """It has started us, but not with the pattern."""
    script = f'"$@"; : unique-{os.getpid()}-shell'
    words = ["proc.list", "--name", "sh", "--json"]
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "manyhands", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"unique-{os.getpid()}-shell" in done.stdout


@contextmanager
def listener_of(uid: int) -> Iterator[int]:
    """A port on which a process of that user listens."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.setuid(uid)
        server = socket.create_server(("127.0.0.1", 0))
        os.write(writing, str(server.getsockname()[1]).encode())
        signal.pause()
        os._exit(0)
    try:
        yield int(os.read(reading, 10))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


def see_only_own_processes() -> None:
    """As somebody who is not root: without the capabilities to look into others (capabilities(7), prctl(2))."""
    for capability in (1, 2, 5, 19):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_KILL, CAP_SYS_PTRACE
        assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


@pytest.mark.skipif(os.getuid() != 0, reason="makes a process of another user, which needs root")
def test_a_listener_of_another_user_is_not_nothing(cli: Cli) -> None:
    """It was not stopped: 1, whose it is, and how to find it."""
    with listener_of(54321) as port:
        done = cli("proc.stop", "--port", str(port), preexec_fn=see_only_own_processes)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert f"port {port}: the process that listens cannot be seen, and was not stopped: it belongs to 54321" in line
        assert f"proc.port {port}" in line
        socket.create_connection(("127.0.0.1", port)).close()


def test_a_port_on_which_nobody_listens_is_nothing(cli: Cli) -> None:
    """3, as ever."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody else gets it meanwhile
        done = cli("proc.stop", "--port", str(bound.getsockname()[1]))
    assert (done.returncode, done.stderr) == (3, "no process matches\n")


def on_a_terminal(
    args: list[str], environment: dict[str, str], answer: bytes | None = None, question: bytes = b"[y/N]"
) -> tuple[int, bytes]:
    """Status and screen; the question gets the answer."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**environment, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
            if answer and question in seen:
                os.write(ours, answer)
                answer = None
    status = process.wait(timeout=30)
    os.close(ours)
    return status, seen


def test_stop_asks_before_more_than_one(environment: dict[str, str]) -> None:
    """On a terminal; anything but yes stops nothing."""
    two = [subprocess.Popen(["sleep", f"65.{os.getpid()}"], start_new_session=True) for _ in range(2)]
    try:
        wait_for(lambda: all((info := process_info(one.pid)) and info.name == "sleep" for one in two))
        chosen = ["proc.stop", "--cmdline", rf"^sleep 65\.{os.getpid()}$"]
        command = [sys.executable, "-m", "manyhands", *chosen]
        unasked = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert unasked.returncode == 2
        assert "Stop these 2 processes? Nobody can be asked here: --yes does it" in unasked.stderr
        status, seen = on_a_terminal(chosen, environment, b"\n")
        assert status == 1
        assert b"stop these 2 processes? [y/N]" in seen
        assert b"nothing was stopped" in seen
        assert [one.poll() for one in two] == [None, None]
        status, seen = on_a_terminal(chosen, environment, b"y\n")
        assert status == 0
        assert seen.count(b"after SIGTERM") == 2
        assert [one.wait() for one in two] == [-15, -15]
    finally:
        for one in two:
            one.kill()
            one.wait()


def test_lines_fit_a_terminal(environment: dict[str, str]) -> None:
    """In 80 columns no line is longer; piped, nothing is cut."""
    with subprocess.Popen(["sleep", f"66.{os.getpid()}", *["0"] * 100]) as long:
        wait_for(lambda: (info := process_info(long.pid)) and info.name == "sleep")
        _, seen = on_a_terminal(["proc.list", "--cmdline", rf"^sleep 66\.{os.getpid()} "], environment)
        _, tree = on_a_terminal(["proc.tree", str(long.pid)], environment)
        long.kill()
    for line in (seen + tree).decode().splitlines():
        assert len(line) <= 80
        assert "\x1b" not in line


# -- waiting -------------------------------------------------------------------------------------------------------------


def test_wait_for_what_is_there_already(cli: Cli, tmp_path: Path) -> None:
    """At once, with a line that says so."""
    (tmp_path / "log").write_text("starting\nready 1\n")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        for args, said in [
            (["--port", port], f"port {port} of localhost answers"),
            (["--file", "log"], "log is there"),
            (["--file", "missing", "--gone"], "missing is not there"),
            (["--file", "log", "--log", "^ready"], "ready 1"),
            (["4999999"], "4999999 has ended"),
        ]:
            done = cli("proc.wait", *args, "--timeout", "20")
            assert (done.returncode, done.stdout, done.stderr) == (0, said + "\n", ""), args


def test_wait_gives_up(cli: Cli, tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """With 124, as timeout(1) does, and a line that says for what."""
    (tmp_path / "log").write_text("ready 1\n")
    for args, said in [
        ([str(sleeper.pid)], f"{sleeper.pid} still running; gave up after "),
        (["--port", "1"], "port 1 of localhost does not answer; gave up after "),
        (["--file", "missing"], "missing is not there; gave up after "),
        (["--file", "log", "--gone"], "log is there; gave up after "),
        (["--file", "log", "--log", "ready", "--new"], "no line of log has ready; gave up after "),
    ]:
        done = cli("proc.wait", *args, "--timeout", "0.2")
        assert (done.returncode, done.stdout) == (124, ""), args
        assert done.stderr.startswith(said)
    record = json.loads(cli("proc.wait", str(sleeper.pid), "--timeout", "0.2", "--json").stdout)
    assert (record["came"], record["schema"]) == (False, "manyhands.wait/1")
    assert record["waited"] >= 0.2


def test_wait_until_it_comes(environment: dict[str, str], sleeper: subprocess.Popen[bytes]) -> None:
    """A real wait in the background, ended by what it waits for; Ctrl-C ends it, too."""
    command = [sys.executable, "-m", "manyhands", "proc.wait", str(sleeper.pid)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as waiting:
        time.sleep(0.5)
        assert waiting.poll() is None
        sleeper.kill()
        assert waiting.stdout
        assert waiting.stdout.read() == f"{sleeper.pid} has ended\n"
    with subprocess.Popen([*command[:-1], "1"], env=environment, start_new_session=True) as waiting:
        time.sleep(0.5)  # it waits now, or still begins to: Ctrl-C ends it in either case
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(timeout=30) in (130, -signal.SIGINT)


def test_a_key_ends_top(environment: dict[str, str]) -> None:
    """On a terminal, at once, however long the next look is away."""
    status, seen = on_a_terminal(["proc.top", "--every", "1000"], environment, b"q", b"q quit")
    assert status == 0
    assert b"proc.top, by cpu" in seen
