"""The ``cmd`` tasks as users meet them: what is printed where, which status, and what a signal does."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from conftest import Cli, wait_for, with_tag
from manyhands.posix import linux

MISTAKES = [
    (["cmd.output", " "], "command is empty"),
    (["cmd.output", "true", "--timeout", "0"], "--timeout 0"),
    (["cmd.output", "true", "--timeout", "soon"], "--timeout"),
    (["cmd.output", "true", "--grace", "x"], "--grace"),
    (["cmd.output"], "lacks its line"),
    (["cmd.check"], "either as one text, or as words after --"),
    (["cmd.check", "ls", "--", "ls"], "either as one text, or as words after --"),
    (["cmd.check", "--"], "no command after --"),
    (["cmd.check", "ls | wc"], "--shell"),
    (["cmd.check", "echo $HOME"], "$HOME needs a shell: quote it, or use --shell, at column 6"),
    (["cmd.feed", "--text", "x", "cat > y"], "--shell"),
    (["cmd.answer", "a | b", "--expect", "a", "--reply", "b"], "--shell"),
    (["cmd.call", "--shell", "--", "ls"], "--shell"),
    (["cmd.pipe", "ls; wc"], "column 3"),
    (["cmd.pipe", "ls |"], "after the last pipe"),
    (["cmd.pipe", "ls", "--tee", "x"], "--tee"),
    (["cmd.pipe", "ls", "--tee", "2=x"], "no stage 2"),
    (["cmd.pipe", "ls", "--shell", "--tee", "1=x"], "--tee"),
    (["cmd.feed", "cat"], "--text or with --file"),
    (["cmd.feed", "cat", "--text", "a", "--file", "b"], "--text or with --file"),
    (["cmd.answer", "cat"], "pairs"),
    (["cmd.answer", "cat", "--expect", "a"], "pairs"),
    (["cmd.answer", "cat", "--expect", "(", "--reply", "b"], "--expect"),
    (["cmd.watch", "true", "--every", "x"], "--every"),
    (["cmd.watch", "true", "--until", "("], "--until"),
    (["cmd.watch", "true", "--until", "a", "--until-success"], "choose one"),
    (["cmd.watch", "true", "--times", "0"], "--times 0"),
    (["cmd.retry", "true", "--times", "0"], "--times 0"),
    (["cmd.retry", "true", "--backoff", "x"], "--backoff"),
    (["cmd.compare", "true", "--rounds", "0"], "--rounds 0"),
]


@pytest.mark.parametrize(("args", "said"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_is_one_clear_line_and_exit_2(args: list[str], said: str, cli: Cli) -> None:
    """Nothing is run; two lines more point at the column."""
    done = cli(*args)
    assert (done.returncode, done.stdout) == (2, "")
    first, *pointer = done.stderr.splitlines()
    assert said in first
    assert len(pointer) in (0, 2)


# -- what is printed, and the status -------------------------------------------------------------------------------------


def test_output_is_both_streams_and_the_status(cli: Cli) -> None:
    """As the shell prints them; under its second name, too."""
    for name in ("cmd.output", "getoutput"):
        done = cli(name, "echo out; echo err >&2; printf end; exit 3")
        assert (done.returncode, done.stdout, done.stderr) == (3, "out\nerr\nend\n", "")
    done = cli("cmd.output", "printf 'a\\377b'; kill -9 $$", "--json")
    record = json.loads(done.stdout)
    assert (record["output"], record["output_base64"], record["signal_name"], record["status"]) == (
        "a\ufffdb",
        "Yf9i",
        "SIGKILL",
        137,
    )
    assert done.returncode == 137


def test_check_gives_bytes_exactly(cli: Cli, environment: dict[str, str]) -> None:
    """0 to 255; a failure keeps the output, and says the status."""
    octal = "".join(f"\\{number:03o}" for number in range(256))
    for args in (["cmd.check", f"printf '{octal}'"], ["check-output", "--", "printf", octal]):
        command = [sys.executable, "-m", "manyhands", *args]
        assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == bytes(range(256))
    done = cli("cmd.check", "sh -c 'echo half; exit 3'")
    assert (done.returncode, done.stdout) == (3, "half\n")
    assert done.stderr == "manyhands: sh -c 'echo half; exit 3' failed with exit status 3\n"
    done = cli("cmd.check", "nosuch --x")
    assert (done.returncode, done.stderr) == (127, "manyhands: cannot start nosuch: No such file or directory\n")
    assert cli("cmd.check", "--", "sh", "-c", "kill -9 $$").returncode == 137


NOT_STARTED = {
    "interpreter": (127, "its interpreter /no/such/one does not exist"),
    "return": (127, "its first line ends in a carriage return: save it with Unix line ends"),
    "text": (126, "it is text without a #! line: begin it with one (such as #!/bin/sh), or run it with its interpreter"),
    "locked": (126, "Permission denied"),
    "export": (127, "it is a command of the shell, not a program: use --shell"),
    "nosuch": (127, "No such file or directory"),
}


@pytest.mark.parametrize(
    "words", [["cmd.check"], ["cmd.call"], ["cmd.retry", "--times", "1"], ["pipe"], ["cmd.answer"], ["cmd.feed"]]
)
@pytest.mark.parametrize("name", NOT_STARTED)
def test_why_a_command_cannot_be_started(words: list[str], name: str, cli: Cli, tmp_path: Path) -> None:
    """Everywhere the same reason, more than the kernel says, and the status that a shell would give."""
    for script, text in (
        ("interpreter", "#!/no/such/one\n"),
        ("return", "#!/bin/sh\r\n"),
        ("text", "echo hi\n"),
        ("locked", "x"),
    ):
        (tmp_path / script).write_text(text)
        (tmp_path / script).chmod(0o644 if script == "locked" else 0o755)
    command = name if name in ("export", "nosuch") else f"./{name}"
    more = {"cmd.answer": ["--expect", "a", "--reply", "b"], "cmd.feed": ["--text", "x"]}.get(words[0], [])
    done = cli(*words, command, *more)
    status, why = NOT_STARTED[name]
    assert done.returncode == status, done.stderr
    assert f"cannot start {command}: {why}" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_says_what_it_is(cli: Cli) -> None:
    """To know it is success."""
    assert cli("cmd.status", "echo hi; exit 3").stdout == "3 failed with exit status 3\nhi\n"
    assert cli("cmd.status", "true").stdout == "0 ended well\n"
    assert cli("cmd.status", "kill -15 $$").stdout == "143 was ended by SIGTERM\n"
    done = cli("cmd.status", "echo hi; exit 3", "--json")
    assert (done.returncode, json.loads(done.stdout)["status"], json.loads(done.stdout)["output"]) == (0, 3, "hi\n")


def test_call_has_three_forms(cli: Cli, tmp_path: Path) -> None:
    """A wildcard is expanded in the shell form only (scenario A4); silent prints nothing (A5)."""
    (tmp_path / "a.c").touch()
    assert cli("cmd.call", "--", "echo", "*.c").stdout == "*.c\n"
    assert cli("cmd.call", "echo *.c").stdout == "*.c\n"
    assert cli("cmd.call", "--shell", "echo *.c").stdout == "a.c\n"
    done = cli("cmd.call", "--silent", "sh -c 'echo x; echo y >&2; exit 5'")
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")
    done = cli("cmd.call", "--json", "sh -c 'echo x; exit 5'")
    assert (done.returncode, json.loads(done.stdout)["exit"], done.stderr) == (5, 5, "x\n")


def test_system_tells_the_decoded_status(cli: Cli) -> None:
    """256 times the exit status is not the exit status."""
    done = cli("cmd.system", "echo hi; exit 3")
    assert (done.returncode, done.stdout) == (3, "hi\n")
    assert "failed with exit status 3" in done.stderr
    assert cli("cmd.system", "kill -15 $$").returncode == 143
    assert cli("cmd.system", "sleep 60 & sleep 60", "--timeout", "0.3", "--grace", "0.3").returncode == 124


def test_pipe_tells_every_stage_when_one_fails(cli: Cli) -> None:
    """And is silent otherwise, unless asked."""
    done = cli("pipe", "printf 'b\\na\\n' | sort | head -1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n", "")
    done = cli("cmd.pipe", "yes | head -1", "--verbose")
    assert (done.returncode, done.stdout) == (0, "y\n")
    assert "yes  was ended by SIGPIPE; fine: the next one had enough" in done.stderr
    done = cli("cmd.pipe", "echo x | grep y | wc -l")
    assert (done.returncode, done.stdout.strip()) == (1, "0")
    assert done.stderr.startswith("manyhands: 1 of 3 stages failed\n")
    assert "  2  grep y  failed with exit status 1" in done.stderr


def test_pipe_as_json(cli: Cli) -> None:
    """What is known of each stage."""
    record = json.loads(cli("cmd.pipe", "yes | head -1", "--json").stdout)
    assert (record["schema"], record["status"], record["stdout"]) == ("manyhands.pipeline/1", 0, "y\n")
    first, second = record["stages"]
    assert (first["argv"], first["signal_name"], first["fine"]) == (["yes"], "SIGPIPE", True)
    assert second["argv"] == ["head", "-1"]
    for key in ("pid", "status", "exit", "user", "system", "wall", "max_rss_bytes"):
        assert isinstance(second[key], int | float)


def test_pipe_reads_what_we_read(cli: Cli, tmp_path: Path) -> None:
    """Our standard input, or a file; a tee keeps what passes."""
    assert cli("cmd.pipe", "tr a-z A-Z | cat", input="abc").stdout == "ABC"
    (tmp_path / "in").write_text("xyz")
    assert cli("cmd.pipe", "tr a-z A-Z | rev", "--stdin", "in", "--tee", "1=mid", "--tee", "2=end").stdout == "ZYX"
    assert ((tmp_path / "mid").read_text(), (tmp_path / "end").read_text()) == ("XYZ", "ZYX")
    assert cli("cmd.pipe", "cat", "--stdin", "missing").stderr == "manyhands: missing: No such file or directory\n"
    assert cli("cmd.pipe", "echo $((6*7)) | cat; false | true", "--shell").returncode == 1


def test_nobody_reads_us(cli: Cli, environment: dict[str, str]) -> None:
    """The chain ends when our own reader has had enough, without a word."""
    done = subprocess.run(
        f"set -o pipefail; {sys.executable} -m manyhands cmd.pipe 'yes | cat' | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("y\n141\n", "")


def test_feed(cli: Cli, tmp_path: Path) -> None:
    """From the command line, a file, our standard input."""
    (tmp_path / "in").write_text("one two\n")
    assert cli("cmd.feed", "wc -w", "--text", "a b c").stdout.strip() == "3"
    assert cli("cmd.feed", "wc -w", "--file", "in").stdout.strip() == "2"
    assert cli("cmd.feed", "--file", "-", "--", "wc", "-w", input="x").stdout.strip() == "1"
    assert json.loads(cli("cmd.feed", "wc -c", "--text", "ä", "--json").stdout)["output"].strip() == "2"


def test_answer(cli: Cli) -> None:
    """Both prompts; and what is left unanswered, with the screen."""
    script = "printf 'really? '; read a; printf 'sure? '; read b; echo \"[$a$b]\"; exit 4"
    pairs = ["--expect", "really", "--reply", "y", "--expect", "sure", "--reply", "n"]
    done = cli("cmd.answer", *pairs, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout.split()) == (4, ["really?", "sure?", "[yn]"])
    record = json.loads(cli("cmd.answer", "--json", *pairs, "--", "sh", "-c", script).stdout)
    assert record["replies"] == [{"expect": "really", "times": 1}, {"expect": "sure", "times": 1}]
    done = cli("cmd.answer", "--expect", "nope", "--reply", "x", "--timeout", "0.5", "--", "sh", "-c", script)
    assert done.returncode == 124
    assert "stopped after 0.5 s; never asked: nope. The last of the screen:\n  really? \n" in done.stderr


def test_retry(cli: Cli, tmp_path: Path) -> None:
    """It succeeds the third time; or ends with the last status."""
    (tmp_path / "flaky").write_text("echo x >> tries; test $(wc -l < tries) = 3")
    done = cli("cmd.retry", "sh flaky", "--backoff", "0.05")
    assert (done.returncode, (tmp_path / "tries").read_text()) == (0, "x\nx\nx\n")
    assert done.stderr.splitlines() == [
        "manyhands: try 1 of 5 failed with exit status 1; again in 0.1 s",
        "manyhands: try 2 of 5 failed with exit status 1; again in 0.1 s",
    ]
    assert cli("cmd.retry", "exit 6", "--shell", "--times", "2", "--backoff", "0").returncode == 6
    done = cli("cmd.retry", "sleep 60", "--times", "2", "--backoff", "0", "--timeout", "0.2", "--json")
    assert (done.returncode, [json.loads(line)["timed_out"] for line in done.stdout.splitlines()]) == (124, [True, True])


def test_watch_piped(cli: Cli, tmp_path: Path) -> None:
    """The first look whole, then what has changed."""
    (tmp_path / "step").write_text("echo x >> looks; echo same; wc -l < looks")
    done = cli("cmd.watch", "sh step", "--every", "0.05", "--times", "2")
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[:2]) == (0, ["same", "1"])
    assert lines[2].startswith("--- 2")
    assert lines[-3:] == [" same", "-1", "+2"]
    done = cli("cmd.watch", "sh step", "--every", "0.05", "--until", "^5$", "--timeout", "50")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "+5")
    done = cli("cmd.watch", "false", "--every", "0.05", "--until-success", "--timeout", "0.3")
    assert (done.returncode, done.stderr) == (124, "manyhands: false: no success, match or change within 0.3 s\n")
    done = cli("cmd.watch", "false", "--every", "0.05", "--until-success", "--times", "2")
    assert (done.returncode, done.stderr) == (1, "manyhands: false: no success, match or change in 2 runs\n")
    done = cli("cmd.watch", "sleep 60", "--every", "0.05", "--until-success", "--timeout", "0.3")
    assert done.returncode == 124
    looks = [
        json.loads(line)
        for line in cli("cmd.watch", "date +%N", "--every", "0", "--until-change", "--json").stdout.splitlines()
    ]
    assert (looks[0]["met"], looks[-1]["met"], looks[-1]["changed"]) == (False, True, True)


def test_compare(cli: Cli) -> None:
    """A table, and exit 1 when not all give the same."""
    done = cli("cmd.compare", "date -u +%F | wc", "--rounds", "1")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "way",
        "subprocess",
        "manyhands",
        "invoke",
        "sh",
        "click",
        "doit",
        "delegator",
        "pypeln",
    ]
    done = cli("cmd.compare", "printf 'a\\377'", "--rounds", "1", "--json")
    assert done.returncode == 1
    ways = {record["way"]: record for record in map(json.loads, done.stdout.splitlines())}
    assert (ways["manyhands"]["same"], ways["invoke"]["same"], ways["manyhands"]["stdout_base64"]) == (
        True,
        False,
        "Yf8=",
    )


# -- time-outs and signals -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="finds what is left in /proc")
@pytest.mark.parametrize(
    "task",
    ["cmd.output", "cmd.status", "cmd.call --shell", "cmd.pipe --shell", "cmd.system", "cmd.retry --shell --times 1"],
)
def test_a_timeout_leaves_nothing(task: str, cli: Cli, environment: dict[str, str]) -> None:
    """Not even a daemon in a session of its own that has forgotten its environment."""
    line = (
        "(env -i MH_TEST_OWN=$MH_TEST setsid sh -c 'sleep 68; true' >/dev/null 2>&1 &) ; trap '' TERM; sleep 69; sleep 69"
    )
    name = f"t{os.getpid()}-{time.monotonic_ns()}"
    done = cli(*task.split(), line, "--timeout", "0.5", "--grace", "0.3", env={**environment, "MH_TEST": name})
    assert done.returncode == 124
    assert with_tag(f"MH_TEST={name}") == with_tag(f"MH_TEST_OWN={name}") == []


@pytest.mark.skipif(sys.platform != "linux", reason="finds what is left in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_stops_everything_and_ends_us(number: signal.Signals, environment: dict[str, str]) -> None:
    """We die by that signal ourselves; an INT that does not come from a terminal is meant for us alone."""
    name = f"s{os.getpid()}-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "manyhands", "cmd.pipe", "sleep 70 | sh -c 'sleep 70; true'"]
    process = subprocess.Popen(command, env={**environment, "MH_TEST": name}, start_new_session=True)
    wait_for(lambda: len(with_tag(f"MH_TEST={name}")) == 4)
    process.send_signal(number)
    assert process.wait(timeout=30) == -number
    assert with_tag(f"MH_TEST={name}") == []


def test_without_the_first_three_descriptors(environment: dict[str, str], tmp_path: Path) -> None:
    """Whoever starts us may have closed them."""
    for closed in ("<&-", "2>&-", "<&- 2>&-"):
        script = f"{sys.executable} -m manyhands cmd.pipe 'echo kept | cat' {closed}"
        done = subprocess.run(["sh", "-c", script], env=environment, stdout=subprocess.PIPE, check=False, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, b"kept\n"), closed
    script = f"{sys.executable} -m manyhands cmd.pipe 'touch done' <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", script], env=environment, check=False, cwd=tmp_path).returncode == 0
    assert (tmp_path / "done").exists()


IN_A_CONTAINER = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]


@pytest.mark.skipif(
    not (shutil.which("unshare") and shutil.which("ps"))
    or subprocess.run([*IN_A_CONTAINER, "true"], capture_output=True, check=False).returncode != 0,
    reason="may not make a namespace of processes",
)
def test_as_pid_1_of_a_container(environment: dict[str, str], tmp_path: Path) -> None:
    """Orphans are collected, TERM is obeyed, and the status is what a shell would say of it."""
    script = 'for i in 1 2 3; do (sh -c "sleep 0.1 & exit 0"); done; sleep 1.5; ps -e -o stat= > states; sleep 60'
    words = [*IN_A_CONTAINER, sys.executable, "-m", "manyhands", "cmd.call", "--", "sh", "-c", script]
    with subprocess.Popen(words, env=environment, cwd=tmp_path) as process:
        try:
            states = tmp_path / "states"
            wait_for(lambda: states.exists() and states.stat().st_size, 30)
            assert "Z" not in states.read_text()
            (inside,) = [one.pid for one in linux.processes() if one.ppid == process.pid]
            os.kill(inside, signal.SIGTERM)
            assert process.wait(timeout=30) == 128 + signal.SIGTERM
        finally:
            process.kill()


def on_a_terminal(args: list[str], environment: dict[str, str], folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The program as leader of a terminal's foreground; returns it, and our side of the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x18\0\x50\0\0\0\0\0")

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        preexec_fn=lead,
        env={**environment, "TERM": "xterm"},
    )
    os.close(theirs)
    return process, ours


def seen(ours: int, until: bytes, seconds: float = 20.0) -> bytes:
    found, deadline = b"", time.monotonic() + seconds
    while until not in found:
        assert time.monotonic() < deadline, found
        if select.select([ours], [], [], 0.1)[0]:
            try:
                found += os.read(ours, 65536)
            except OSError:
                break
    return found


def test_ctrl_c_is_for_the_command(environment: dict[str, str], tmp_path: Path) -> None:
    """One that catches it goes on, and so do we; one that dies of it takes us along."""
    script = (  # not a shell script: bash can lose a signal that comes just before it replaces itself by its last command
        "import signal, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (signal.signal(signal.SIGINT, signal.SIG_DFL), print('next', flush=True)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    process, ours = on_a_terminal(["cmd.call", "--", sys.executable, "-c", script], environment, tmp_path)
    seen(ours, b"ready")
    os.write(ours, b"\x03")
    seen(ours, b"next")
    assert process.poll() is None
    os.write(ours, b"\x03")
    assert process.wait(timeout=30) == -signal.SIGINT
    os.close(ours)


def test_watch_on_a_terminal_gives_it_back(environment: dict[str, str], tmp_path: Path) -> None:
    """Drawn on the second page, changes in reverse; after Ctrl-C the first page is back, with the last look."""
    process, ours = on_a_terminal(["cmd.watch", "date +%N", "--every", "0.2"], environment, tmp_path)
    shown = seen(ours, b"look 3")
    os.write(ours, b"\x03")
    shown += seen(ours, b"\x1b[?1049l")
    assert process.wait(timeout=30) == -signal.SIGINT
    os.close(ours)
    assert b"\x1b[?1049h" in shown
    assert b"every 0.2 s: date +%N" in shown
    assert b"\x1b[7m" in shown


def test_escapes_are_harmless_on_a_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    """Captured output cannot move the cursor."""
    process, ours = on_a_terminal(["cmd.output", "printf 'a\\033[2Jb'; printf ' done'"], environment, tmp_path)
    shown = seen(ours, b"done")
    assert process.wait(timeout=30) == 0
    os.close(ours)
    assert b"a^[[2Jb" in shown
    assert b"\x1b[2J" not in shown


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["cmd.check", "echo a | tr a b"], "b\n"),
        (["cmd.check", "echo $WORD"], "one word\n"),
        (["cmd.call", "echo a | tr a b"], "b\n"),
        (["cmd.feed", "cat | tr a b", "--text", "a"], "b"),
        (["cmd.answer", "printf 'q? '; read x; echo $x | tr a b", "--expect", "q", "--reply", "a"], "q? b\n"),
        (["cmd.pipe", "echo $WORD | tr w W"], "one Word\n"),
        (["cmd.retry", "echo a; echo b"], "a\nb\n"),
        (["cmd.watch", "echo a; echo b", "--times", "1"], "a\nb\n"),
    ],
)
def test_what_a_refusal_advises_works(words: list[str], printed: str, cli: Cli, environment: dict[str, str]) -> None:
    """With the --shell that it names, for every task."""
    environment["WORD"] = "one word"
    refused = cli(*words, env=environment)
    if refused.returncode == 2:
        assert "--shell" in refused.stderr
    done = cli(*words, "--shell", env=environment)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_a_command_may_stand_after_two_dashes(cli: Cli) -> None:
    """For the tasks that run one again and again, too, its words as they are."""
    done = cli("cmd.retry", "--times", "2", "--backoff", "0", "--", "sh", "-c", "echo $0; exit 3", "a b")
    assert (done.returncode, done.stdout) == (3, "a b\na b\n")
    assert cli("cmd.watch", "--times", "1", "--", "echo", "a  b").stdout == "a  b\n"
    assert cli("cmd.retry").returncode == 2
