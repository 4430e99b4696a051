"""The command line as users meet it: every mistake is one clear line and exit 2, every end has its exit status."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from invoke import Context
from invoke.exceptions import CommandTimedOut, UnexpectedExit
from invoke.runners import Result

from conftest import HERE, Cli, wait_for, with_tag
from manyhands import cli as command_line
from manyhands.cli.loaded_tasks import load_tasks
from manyhands.core.errors import BusyError, UsageError
from manyhands.storage.runs import Store

MISTAKES = [
    (["batch"], "template"),
    (["batch", "", "--", "a"], "template is empty"),
    (["batch", "echo {nope}", "--", "a"], "no column 'nope'"),
    (["batch", "echo {", "--", "a"], "column 6"),
    (["batch", "a | b", "--", "a"], "--shell"),
    (["batch", "echo", "--from", "missing"], "no such file: missing"),
    (["batch", "echo", "--csv", "missing.csv"], "no such file: missing.csv"),
    (["batch", "echo", "--csv", "bad.csv"], "bad.csv, line 1"),
    (["batch", "echo {x}", "--csv", "good.csv"], "columns: a, b"),
    (["batch", "echo", "--csv", "."], "is a folder"),
    (["batch", "echo", "--jsonl", "bad.csv"], "not JSON"),
    (["batch", "echo", "--glob", "nothing*"], "no file matches"),
    (["batch", "echo", "--fail-if-empty"], "no inputs"),
    (["batch", "echo", "--fail-if-empty", "--"], "no inputs"),
    (["batch"], "--commands FILE"),
    (["batch", "echo", "--commands", "good.csv"], "leave one of the two out"),
    (["batch", "--commands", "good.csv", "--max-args", "2"], "--max-args"),
    (["batch", "--commands", "good.csv", "--", "a"], "choose one"),
    (["batch", "--commands", "missing"], "no such file: missing"),
    (["batch", "echo", "--max-args", "0", "--", "a"], "--max-args 0"),
    (["batch", "echo", "--max-args", "2", "--csv", "good.csv"], "inputs of one column"),
    (["batch", "echo x{}", "--max-args", "2", "--", "a"], "an argument of its own"),
    (["batch", "echo", "--zip", "--", "a"], "there is only one"),
    (["batch", "echo", "--zip", "--each", "a,b", "--", "a"], "not equally long"),
    (["batch", "echo", "--from", "good.csv", "--from", "-"], "read again"),
    (["batch", "echo", "--zip", "--from", "-", "--csv", "-"], "only one of several"),
    (["batch", "echo", "--retry-on", "75", "--", "a"], "add --retries"),
    (["batch", "echo", "--retries", "1", "--retry-on", "ValueError", "--", "a"], "raises no exceptions"),
    (["batch", "echo", "--retries", "1", "--backoff", "1,2", "--", "a"], "--backoff"),
    (["cmd.retry", "true", "--retry-on", "x"], "--retry-on"),
    (["batch.call", "len", "--no-journal", "--fail-if-empty", "--"], "names no function"),
    (["batch.call", "math:sqrt", "--no-journal", "--fail-if-empty", "--"], "no inputs"),
    (["batch", "echo", "--dry-run", "--fail-if-empty"], "no inputs"),
    (["batch", "echo", "--glob", "*.csv", "--each", "a,b"], "choose one"),
    (["batch", "echo", "--null", "--", "a"], "--null"),
    (["batch", "echo", "--delimiter", ";", "--", "a"], "--delimiter is for --csv"),
    (["batch", "echo", "--delimiter", "ab", "--csv", "good.csv"], "expected one character"),
    (["batch", "echo", "--jobs", "-5", "--", "a"], "--jobs -5"),
    (["batch", "echo", "--jobs=x", "--", "a"], "--jobs"),
    (["batch", "echo", "--retries", "x", "--", "a"], "--retries: expected a whole number, got 'x'"),
    (["batch", "echo", "--retries=-1", "--", "a"], "--retries"),
    (["batch", "echo", "--timeout", "soon", "--", "a"], "--timeout"),
    (["batch", "echo", "--halt", "x", "--", "a"], "--halt"),
    (["batch", "echo", "--backend", "x", "--", "a"], "choose one of commands"),
    (["batch", "echo", "--workdir", "missing", "--", "a"], "no such folder"),
    (["batch", "echo", "--env", "=x", "--", "a"], "--env"),
    (["batch", "echo", "--stdin", "missing", "--", "a"], "no such file"),
    (["batch", "echo", "--stdin", "-"], "--stdin -"),
    (["batch", "echo", "--nice", "99", "--", "a"], "--nice"),
    (["batch", "echo", "--output-cap", "x", "--", "a"], "--output-cap"),
    (["batch", "echo", "--run-id", "a/b", "--", "a"], "--run-id"),
    (["batch", "echo", "--jbos", "3"], "did you mean --jobs"),
    (["batch", "--jbos", "3"], "did you mean --jobs"),
    (["batch", "echo", "--timeout"], "needed value"),
    (["batch.shw"], "did you mean batch.show"),
    (["batch.show"], "no runs"),
    (["batch.show", "zzz"], "no run 'zzz'"),
    (["batch.resume", "zzz"], "no run 'zzz'"),
    (["batch.retry", "zzz"], "no run 'zzz'"),
    (["batch.export", "--format", "xml"], "one of jsonl, csv, joblog"),
    (["batch.remove"], "name runs"),
    (["batch.remove", "--older-than", "x"], "--older-than"),
    (["fork-demo", "--children", "0"], "--children"),
    (["fork-demo", "--exit-code", "256"], "--exit-code"),
]


@pytest.mark.parametrize(("args", "said"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_is_one_clear_line_and_exit_2(
    args: list[str], said: str, cli: Cli, tmp_path: Path, own_state: Path
) -> None:
    """Nothing is run, nothing is left behind, no traceback."""
    (tmp_path / "good.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bad.csv").write_text("a,a\n1,2\n")
    result = cli(*args)
    assert (result.returncode, result.stdout) == (2, "")
    first, *pointer = result.stderr.splitlines()
    assert said in first
    assert len(pointer) in (0, 2)  # two lines more point at the place in a template
    assert not (own_state / "runs").exists() or list((own_state / "runs").iterdir()) == []


@pytest.mark.parametrize("args", [["batch", "echo", "--jbos", "3"], ["nope"], ["batch", "echo {x}", "--", "a"]])
def test_plain_invoke_says_the_same(
    args: list[str], program: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """Under `invoke` in a checkout and under our own program."""
    result = subprocess.run(
        [*program, *args],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("manyhands: ")
    assert "Traceback" not in result.stderr


def test_both_programs_do_the_same(program: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    """Exact argument boundaries after --, short and long forms of options."""
    for jobs in (["-j4"], ["-j", "4"], ["--jobs=4"], ["--jobs", "+2"]):
        result = subprocess.run(
            [*program, "batch", "printf '[%s]'", *jobs, "--quiet", "--", "a b", "", "--x", "*"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        assert result.stdout == "[a b][][--x][*]"
        assert result.stderr == ""


def test_every_status_and_signal_is_recorded(cli: Cli) -> None:
    """0 to 255, and every signal that kills, each on its own job in the journal."""
    statuses = [str(number) for number in range(256)]
    assert cli("batch", "sh -c 'exit {}'", "--", *statuses).returncode == 1
    records = [json.loads(line) for line in cli("batch.export").stdout.splitlines()]
    assert [(one["input"], one["exit"], one["signal"]) for one in records] == [(n, int(n), None) for n in statuses]
    assert [one["status"] == "ok" for one in records] == [n == "0" for n in statuses]
    stopping = {
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGCHLD,
        signal.SIGCONT,
        signal.SIGURG,
        signal.SIGWINCH,
    }
    deadly = [str(int(number)) for number in signal.valid_signals() if number not in stopping and number < 32]
    cli("batch", "sh -c 'ulimit -c 0; kill -{} $$'", "--", *deadly)
    records = [json.loads(line) for line in cli("batch.export").stdout.splitlines()]
    assert [(one["exit"], one["signal"], one["status"]) for one in records] == [(None, int(n), "failed") for n in deadly]


def test_exit_statuses(cli: Cli) -> None:
    """0 all ok, 1 something failed, 0 when a success that was waited for has come."""
    assert cli("batch", "true", "--", "a").returncode == 0
    assert cli("batch", "false", "--", "a").returncode == 1
    assert cli("batch", "no-such-program", "--", "a").returncode == 1
    assert cli("batch", "sleep {}", "--timeout", "0.2", "--", "5").returncode == 1
    assert cli("batch", "sh -c 'exit {}'", "--halt", "now,success=1", "-j1", "--", "0", "0").returncode == 0
    assert cli("batch", "sh -c 'exit {}'", "--halt", "now,fail=1", "-j1", "--", "1", "0").returncode == 1


def test_the_issue_s_examples(cli: Cli, tmp_path: Path) -> None:
    """Inputs from globs, pipes, NUL-separated names, arguments, CSV, and products."""
    for name in ("a b.wav", "c.wav"):
        (tmp_path / name).write_text("sound")
    (tmp_path / "hosts.csv").write_text("host,wait\nx,1\ny z,2\n")
    assert cli("batch", "gzip -9 -k {}", "--glob", "**/*.wav", "-j", "4").returncode == 0
    assert (tmp_path / "a b.wav.gz").exists()
    assert cli("batch", "echo {} {.}.mp3", "--timeout", "60", "--retries", "2", input="a b.wav\nc.wav\n").stdout == (
        "a b.wav a b.mp3\nc.wav c.mp3\n"
    )
    assert cli("batch", "echo {/}", "--null", input="x/a\nb\0y/c\0").stdout == "a\nb\nc\n"
    assert cli("batch", "echo {host} -W {wait}", "--csv", "hosts.csv").stdout == "x -W 1\ny z -W 2\n"
    assert cli("batch", "echo {2}{1}", "--colsep", ",", input="a,b\n").stdout == "ba\n"
    (tmp_path / "x.jsonl").write_text('{"n": 1, "s": "é"}\n')
    assert cli("batch", "echo {s}{n}", "--jsonl", "x.jsonl").stdout == "é1\n"
    product = cli("batch", "make {target} CC={cc}", "--each", "target=a,b", "--each", "cc=gcc,clang", "--dry-run")
    assert product.stdout.splitlines() == ["make a CC=gcc", "make a CC=clang", "make b CC=gcc", "make b CC=clang"]


def test_a_program_whose_name_is_no_text_fails_its_job_only(environment: dict[str, str], tmp_path: Path) -> None:
    """Also with a state folder whose name is no text, and large output in it."""
    state = os.fsdecode(os.fsencode(tmp_path) + b"/st\xe9")
    command = [sys.executable, "-m", "manyhands", "batch", "{1} {2}", "--colsep", ",", "--state-dir", state]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, input=b"no\xe9such,a\nseq,20000\n", capture_output=True, check=False
    )
    assert result.returncode == 1
    assert b"1 ok, 1 failed" in result.stderr
    assert result.stdout.count(b"\n") == 20000


def test_options_of_commands(cli: Cli, tmp_path: Path) -> None:
    """Where they run, with what environment and input, how their output is shown."""
    (tmp_path / "in").write_text("given")
    (tmp_path / "sub").mkdir()
    assert cli("batch", "pwd", "--workdir", "sub", "--", "-P").stdout == f"{(tmp_path / 'sub').resolve()}\n"
    assert cli("batch", "sh -c 'echo $A$B'", "--env", "A=1", "--env", "B=2", "--", "x").stdout == "12\n"
    assert cli("batch", "sh -c cat", "--stdin", "in", "--", "1", "2").stdout == "givengiven"
    assert cli("batch", "sh -c cat", "--stdin", "-", "--", "1", "2", input="piped").stdout == "pipedpiped"
    assert cli("batch", "printf '%s\\n'", "--tag", "--", "a", "b").stdout == "a\ta\nb\tb\n"
    assert cli("batch", "echo {} | tr a-z A-Z", "--shell", "--", "x; rm y").stdout == "X; RM Y\n"
    capped = cli("batch", "printf %s", "--output-cap", "3", "--", "12345")
    assert (capped.stdout, "2 bytes of stdout dropped" in capped.stderr) == ("123", True)
    assert cli("batch", "echo {%}", "-j1", "--", "a", "b").stdout == "1\n1\n"
    assert cli("batch", "echo", "--backend", "fake", "--", "a b").stdout == "echo 'a b'\n"
    assert cli("batch", "echo", "--backend", "command-threads", "--", "a b").stdout == "a b\n"


def test_results_are_in_order_unless_told_otherwise(cli: Cli) -> None:
    """By default in the order of the inputs; with --no-keep-order as they come."""
    args = ["batch", "sh -c 'sleep {}; echo {}'", "-j3", "--quiet"]
    assert cli(*args, "--", "0.6", "0.3", "0").stdout.split() == ["0.6", "0.3", "0"]
    assert cli(*args, "--no-keep-order", "--", "0.6", "0.3", "0").stdout.split() == ["0", "0.3", "0.6"]


def test_defaults_from_the_environment_and_from_files(cli: Cli, tmp_path: Path, environment: dict[str, str]) -> None:
    """Command line before environment before manyhands.yaml, in every folder below it; bad values name their place."""
    sub = tmp_path / "sub"
    sub.mkdir()
    (tmp_path / "manyhands.yaml").write_text("tag: true\nrun:\n  retries: 1\n  backoff: 0\nquiet: true\n")
    script = ["batch", "sh -c 'echo x; exit 1'", "--", "a"]
    assert cli(*script, cwd=sub).stdout == "a\tx\n"
    record = json.loads(cli("batch.export").stdout)
    assert record["attempts"] == 2
    assert cli(*script, env={**environment, "MANYHANDS_RETRIES": "2", "MANYHANDS_TAG": "no"}, cwd=sub).stdout == "x\n"
    assert json.loads(cli("batch.export").stdout)["attempts"] == 3
    assert (
        cli(*script[:2], "--retries", "0", *script[2:], env={**environment, "MANYHANDS_RUN_RETRIES": "2"}).returncode == 1
    )
    assert json.loads(cli("batch.export").stdout)["attempts"] == 1
    wrong = cli(*script, env={**environment, "MANYHANDS_RETRIES": "many"})
    assert (wrong.returncode, "MANYHANDS_RETRIES: expected a whole number" in wrong.stderr) == (2, True)
    (sub / "manyhands.yaml").write_text("retries: often\n")
    wrong = cli(*script, cwd=sub)
    assert (wrong.returncode, f"retries in {sub.resolve()}/manyhands.yaml" in wrong.stderr) == (2, True)
    (sub / "manyhands.yaml").write_text("a: [\n")
    assert "is not YAML" in cli(*script, cwd=sub).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_and_then_us(number: int, environment: dict[str, str], tmp_path: Path) -> None:
    """The jobs get TERM, all is recorded, nothing is left, and we die by the same signal."""
    command = [
        sys.executable,
        "-m",
        "manyhands",
        "batch",
        "sh -c 'echo up; sleep 60 & sleep 60'",
        "--run-id",
        "s",
        "-j2",
        "--",
    ]
    process = subprocess.Popen(
        [*command, *"abcdef"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(with_tag("MH_RUN=s")) >= 6)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == -number
    assert f"stopped by {signal.Signals(number).name}" in err
    assert "batch.resume" in err
    assert out == "up\nup\n"
    assert with_tag("MH_RUN=s") == []


def test_the_second_ctrl_c_kills(environment: dict[str, str], tmp_path: Path) -> None:
    """What ignores TERM does not have to be waited for."""
    command = [sys.executable, "-m", "manyhands", "batch", "sh -c 'trap : TERM; touch up; while :; do sleep 0.1; done'"]
    process = subprocess.Popen(
        [*command, "--grace", "60", "--run-id", "k", "--", "a"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    )
    wait_for(lambda: (tmp_path / "up").exists())
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert with_tag("MH_RUN=k") == []


def test_an_ignored_signal_stays_ignored(environment: dict[str, str], tmp_path: Path) -> None:
    """As nohup wants it."""
    command = [sys.executable, "-m", "manyhands", "batch", "sh -c 'touch up; sleep 0.7'", "--", "a"]
    process = subprocess.Popen(
        ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *command], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: (tmp_path / "up").exists())
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=20) == 0


def test_usr1_says_what_is_running(environment: dict[str, str], tmp_path: Path) -> None:
    """One line for each running job, with its age."""
    script = "sh -c 'touch {}; until [ -e go ]; do sleep 0.05; done'"
    command = [sys.executable, "-m", "manyhands", "batch", script, "-j2", "--", "one", "two"]
    said = tmp_path / "said"
    with said.open("w") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=file)
    wait_for(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists())

    def both_are_told() -> bool:
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.1)
        return "2 running" in said.read_text() and bool(
            re.search(r"job 2 \(pid \d+\) for \d+\.\d s: two", said.read_text())
        )

    wait_for(both_are_told)
    (tmp_path / "go").touch()
    assert process.wait(20) == 0


def test_a_reader_that_leaves_stops_the_batch(environment: dict[str, str], tmp_path: Path) -> None:
    """`| head -1`: what runs is cancelled, exit 141, no traceback."""
    script = (
        f"seq 100000 | {sys.executable} -m manyhands batch 'echo {{}}' --run-id h 2>err | head -1; "
        'echo "${PIPESTATUS[1]}"'
    )
    began = time.monotonic()
    out = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert out.stdout == "1\n141\n"
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert "Exception ignored" not in (tmp_path / "err").read_text()
    assert time.monotonic() - began < 30


def test_closed_descriptors_do_not_matter(environment: dict[str, str], tmp_path: Path) -> None:
    """Descriptors 0 to 2 closed at start: nothing of ours takes their places."""
    script = f"{sys.executable} -m manyhands batch 'touch {{}}' --run-id c -- done <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=False).returncode == 0
    assert (tmp_path / "done").exists()


@pytest.mark.slow
def test_thousands_of_odd_names(tmp_path: Path, cli: Cli, environment: dict[str, str]) -> None:
    """Blanks, quotes, newlines, $(...), leading dashes, invalid UTF-8: exact, and nothing is executed."""
    import random

    chance = random.Random(3)
    parts = [
        b" ",
        b"'",
        b'"',
        b"\n",
        b"$(touch hacked)",
        b"`touch hacked`",
        b"--",
        b"-rf",
        b";",
        b"\xff\xfe",
        b"*",
        b"\\",
        b"a",
        b"{}",
    ]
    names = [b"".join(chance.choices(parts, k=chance.randint(1, 6))) + b"%d" % n for n in range(1_000)]
    for shell in ([], ["--shell"]):
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "manyhands",
                "batch",
                "printf %s\\\\0" if not shell else r"printf '%s\0' {}",
                *shell,
                "--null",
                "--quiet",
            ],
            cwd=tmp_path,
            env=environment,
            input=b"".join(name + b"\0" for name in names),
            capture_output=True,
            check=True,
        )
        assert result.stdout == b"".join(name + b"\0" for name in names)
    assert not (tmp_path / "hacked").exists()


def test_the_first_job_begins_before_the_last_input_has_come(environment: dict[str, str], tmp_path: Path) -> None:
    """Inputs are taken from a pipe as they come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", "batch", "touch {}"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(b"first\n")
    process.stdin.flush()
    wait_for(lambda: (tmp_path / "first").exists())
    process.communicate(b"last\n", timeout=20)
    assert (tmp_path / "last").exists()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads VmHWM")
def test_a_huge_output_does_not_fill_memory(environment: dict[str, str], tmp_path: Path) -> None:
    """300 MB without a newline: the coordinator stays small, and every byte arrives."""
    command = [sys.executable, "-m", "manyhands", "batch", "sh -c 'head -c 300000000 /dev/zero'", "--", "x"]
    most = 0
    with subprocess.Popen(["wc", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as counter:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=counter.stdin, stderr=subprocess.DEVNULL
        )
        assert counter.stdin is not None
        assert counter.stdout is not None
        counter.stdin.close()
        while process.poll() is None:
            # not ru_maxrss, which begins with the memory of whoever forked
            status = Path(f"/proc/{process.pid}/status").read_text()
            most = max([most, *map(int, re.findall(r"VmHWM:\s+(\d+) kB", status))])
            time.sleep(0.02)
        assert counter.stdout.read().strip() == "300000000"
    assert process.returncode == 0
    assert 0 < most < 64 * 1024


def test_escape_sequences_are_harmless_on_a_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    """What a job prints cannot move the cursor of the terminal it is shown on; a pipe gets it raw."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "manyhands", "batch", "printf", "--quiet", "--", "\\033]0;title\\007\\033[2J"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=follower)
    process.wait(timeout=20)
    os.close(follower)
    shown = os.read(leader, 4096)
    os.close(leader)
    assert b"\x1b" not in shown
    assert b"^[]0;title^G^[[2J" in shown
    raw = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert raw.stdout == b"\x1b]0;title\x07\x1b[2J"


def test_json_is_one_object_a_line(cli: Cli) -> None:
    """Events on stdout; failures and output are in them, exact."""
    result = cli("batch", "sh -c 'printf \"a\\377\"; exit {}'", "--json", "--", "0", "3")
    assert result.returncode == 1
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert {event["schema"] for event in events} == {"manyhands.event/1"}
    assert [event["event"] for event in events if event["event"] != "began"] == ["run", "finished", "finished", "summary"]
    finished = [event for event in events if event["event"] == "finished"]
    assert [(event["job"], event["status"], event["exit"], event["stdout_base64"]) for event in finished] == [
        (1, "ok", 0, "Yf8="),
        (2, "failed", 3, "Yf8="),
    ]
    assert events[-1]["counts"] == {"ok": 1, "failed": 1}
    assert result.stderr == ""


def test_runs_are_listed_shown_exported_and_removed(cli: Cli) -> None:
    """Everything that can be done with a run that exists."""
    cli("batch", "sh -c 'echo out {}; echo err >&2; exit {}'", "--run-id", "mine", "--", "0", "3")
    listed = cli("batch.list").stdout.splitlines()
    assert listed[0].split() == ["ID", "WHEN", "OK", "FAILED", "LEFT", "TOOK", "SIZE", "STATE", "WHAT"]
    assert listed[1].split()[:1] + listed[1].split()[3:6] == ["mine", "1", "1", "0"]
    assert json.loads(cli("batch.list", "--json").stdout)["failed"] == 1
    shown = cli("batch.show", "mi").stdout
    assert "1 ok, 1 failed, 0 left" in shown
    assert [line.split()[:3] for line in shown.splitlines()[-2:]] == [["1", "ok", "0"], ["2", "failed", "3"]]
    assert cli("batch.show", "--failed").stdout.splitlines()[-1].split()[0] == "2"
    one = cli("batch.show", "mine", "--job", "2").stdout
    assert "failed with exit status 3" in one
    assert "  out 3\n" in one
    assert "  err\n" in one
    assert "no job 9" in cli("batch.show", "--job", "9").stderr
    assert json.loads(cli("batch.show", "--job", "2", "--json").stdout)["exit"] == 3
    assert cli("batch.show", "--output").stdout.count("  err") == 2
    records = [json.loads(line) for line in cli("batch.export", "mine").stdout.splitlines()]
    assert [record["argv"][-1] for record in records] == [
        "echo out 0; echo err >&2; exit 0",
        "echo out 3; echo err >&2; exit 3",
    ]
    rows = list(csv.DictReader(cli("batch.export", "--format", "csv").stdout.splitlines(keepends=True)))
    assert [(row["job"], row["exit"], row["stdout"]) for row in rows] == [("1", "0", "out 0\n"), ("2", "3", "out 3\n")]
    assert cli("batch.export", "--format", "joblog").stdout.splitlines()[0].startswith("Seq\tHost")
    assert cli("batch.remove", "--older-than", "1d").stdout == ""
    assert cli("batch.remove", "mine", "--yes").stdout == "removed mine\n"
    assert "no runs" in cli("batch.list").stderr
    cli("batch", "true", "--", "a")
    assert cli("batch.remove", "--older-than", "0", "-y").stdout.startswith("removed ")


def test_every_option_has_help_and_every_task_a_line() -> None:
    """`invoke -l` and `--help` leave nothing unsaid."""
    assert command_line.undocumented(load_tasks().namespace) == []


def test_the_list_and_the_help_read_well(cli: Cli) -> None:
    """The names of the tutorials are there; one line each; help shows every option."""
    listed = cli("-l").stdout
    for name in ("fork-demo", "system-info", "batch.run (batch)", "batch.resume", "host.info"):
        assert name in listed
    helped = cli("batch", "--help").stdout
    for option in ("-j, --jobs N", "--[no-]keep-order", "--from", "--dry-run"):
        assert option in helped, helped
    assert cli("--version").stdout == "manyhands 0.1.0\n"


# -- the parts of the command line, in this process ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("int", "3", 3),
        ("float | None", "1.5", 1.5),
        ("bool", "yes", True),
        ("Path", "a", Path("a")),
        ("str", "x", "x"),
        ("Literal['a', 'b']", "b", "b"),
    ],
)
def test_text_becomes_what_the_annotation_says(annotation: str, text: str, value: object) -> None:
    """By the annotation as it is written."""
    assert command_line.converter("--x", annotation)(text) == value


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [("int", "a whole number"), ("float", "a number"), ("bool", "yes or no"), ("Literal['a', 'b']", "one of a, b")],
)
def test_text_that_is_something_else_names_the_option(annotation: str, expected: str) -> None:
    """And what was expected there."""
    with pytest.raises(UsageError, match=f"--x: expected {expected}, got 'zz'"):
        command_line.converter("--x", annotation)("zz")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BusyError("x"), 75, "manyhands: x"),
        (FileNotFoundError(2, "No such file", "f"), 1, "manyhands: f: No such file"),
        (UnexpectedExit(Result(exited=-9)), 137, None),
        (UnexpectedExit(Result(exited=3)), 3, None),
        (CommandTimedOut(Result(), timeout=2), 124, "manyhands: Command did not complete within 2 seconds!"),
    ],
)
def test_errors_become_exit_statuses(error: Exception, code: int, said: str | None) -> None:
    """As the table of the design says."""
    found = command_line.explained(error)
    assert found is not None
    assert (found.code, found.message) == (code, said)


def test_tasks_may_be_coroutines() -> None:
    """An async task is run to its end."""

    @command_line.task(help={"n": "a number"})
    async def later(ctx: Context, n: int = 1) -> str:
        return f"ran {n}"

    assert later(Context(), n="3") == "ran 3"


def test_a_status_is_returned_as_an_exit() -> None:
    """An int that a task returns is how the program ends; 0 is nothing special."""
    from invoke.exceptions import Exit

    @command_line.task()
    def three(ctx: Context) -> int:
        return 3

    with pytest.raises(Exit) as caught:
        three(Context())
    assert caught.value.code == 3


def test_only_light_modules_are_loaded_for_a_list(environment: dict[str, str]) -> None:
    """`-l` stays fast: nothing heavy is imported by tasks.py."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import invoke; old = set(sys.modules); import tasks; print(*set(sys.modules) - old)"
    out = subprocess.run(
        [sys.executable, "-c", script, str(HERE)], env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(out.stdout.split())
    assert not loaded & {"rich", "psutil", "sqlite3", "manyhands.execution.batch", "manyhands.engine", "csv", "difflib"}


FULL = "manyhands: standard output: No space left on device"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "args",
    [
        ["--version"],
        ["-l"],
        ["--help", "batch"],
        ["--help"],
        ["--print-completion-script", "bash"],
        ["proc.list"],
        ["batch.list"],
        ["cmd.output", "seq 200000"],
        ["cmd.check", "--", "echo", "hi"],
        ["cmd.answer", "--expect", "x", "--reply", "y", "--", "echo", "hi"],
    ],
    ids=" ".join,
)
def test_an_output_that_is_full_is_one_line(args: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    """Whatever prints: no traceback, and not a success."""
    subprocess.run(
        [sys.executable, "-m", "manyhands", "batch", "true {}", "--", "a"], env=environment, check=True, cwd=tmp_path
    )
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "manyhands", *args],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr.splitlines()) == (1, [FULL])


@pytest.mark.parametrize(
    "args",
    [
        ["cmd.check", "--", "seq", "100000"],
        ["cmd.pipe", "seq 100000 | cat", "--json"],
        ["cmd.feed", "cat", "--text", "x" * 100_000],
    ],
    ids=lambda args: args[0],
)
def test_a_temporary_folder_without_room_is_one_line(args: list[str], cli: Cli) -> None:
    """A limit on the size of files is the same as a full disk."""
    done = cli(*args, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)))
    assert (done.returncode != 0, "Traceback" in done.stderr) == (True, False)
    assert re.search("File size limit exceeded|File too large|SIGXFSZ", done.stderr + done.stdout)


def test_a_folder_that_was_removed(cli: Cli, tmp_path: Path) -> None:
    """What needs none works there; what needs one says so."""
    folder = tmp_path / "gone"
    folder.mkdir()
    leave = {"cwd": folder, "preexec_fn": lambda: folder.rmdir() if folder.exists() else None}
    assert cli("cmd.check", "--", "echo", "hi", **leave).stdout == "hi\n"
    folder.mkdir()
    done = cli("batch", "echo {}", "--", "a", **leave)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "has been removed" in done.stderr


def test_a_nightly_run_says_what_is_old_and_tries_failures_again_if_asked(cli: Cli, tmp_path: Path) -> None:
    """The same command each night: what is done is named as done before, what failed is only tried again on demand."""
    command = ("batch", "sh -c 'test -e {}'", "--run-id", "nightly")
    (tmp_path / "a").touch()
    assert "1 ok, 1 failed" in cli(*command, "--", "a", "b").stderr
    again = cli(*command, "--", "a", "b")
    assert (again.returncode, "nothing new to run: 2 were done before (1 ok, 1 failed)" in again.stderr) == (1, True)
    (tmp_path / "b").touch()
    retried = cli(*command, "--retry-failed", "--", "a", "b", "a")
    assert "3 jobs: 3 ok (1 of them before)" in retried.stderr
    assert retried.returncode == 0
    assert cli("batch", "echo {}", "--retry-failed", "--", "a").returncode == 2


def test_what_was_not_run_is_counted_everywhere(cli: Cli, tmp_path: Path) -> None:
    """A rule halts the run early: the sum, the list and the page of the run say how many of all inputs are left."""
    done = cli(
        "batch", "sh -c 'exit {}'", "-j", "1", "--halt", "now,fail=1", "--run-id", "r", "--", "0", "1", *["0"] * 98
    )
    assert "2 of 100 jobs done: 1 ok, 1 failed, 98 not run" in done.stderr
    assert "98" in cli("batch.list").stdout
    assert "1 ok, 1 failed, 98 left of 100" in cli("batch.show", "r").stdout
    assert "98 more jobs of this run have not begun" in cli("batch.export", "r").stderr
    summary = json.loads(cli("batch.resume", "r", "--json", "--jobs", "1").stdout.splitlines()[-1])
    assert (summary["total"], summary["not_run"], summary["done_before"]) == (100, 0, 2)


def test_a_bad_row_in_the_middle_comes_after_what_was_done(cli: Cli, tmp_path: Path) -> None:
    """What stood before it has run: it is summed up, and the exit status does not say that nothing was run."""
    (tmp_path / "in.csv").write_text("x\n1\n2\nthree,four\n5\n")
    done = cli("batch", "echo {x}", "--csv", "in.csv")
    assert done.stdout == "1\n2\n"
    assert done.returncode == 1
    assert "2 ok" in done.stderr
    assert "row 4" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("rule", ["now,success=1", "soon,done=2"])
def test_a_rule_that_is_content_is_met_whatever_failed_before(rule: str, cli: Cli) -> None:
    """Halted on success or on enough done jobs is what was wanted: exit 0."""
    assert cli("batch", "sh -c 'exit {}'", "-j", "1", "--halt", rule, "--", "1", "0", "1").returncode == 0


@pytest.mark.parametrize(
    "args",
    [
        ["batch", "echo"],
        ["batch", "echo", "--"],
        ["batch", "echo", "--then", "echo"],
        ["batch", "echo", "--dry-run"],
        ["batch.call", "math:sqrt", "--backend", "threads"],
        ["batch.call", "math:sqrt", "--no-journal", "-j", "1"],
    ],
)
def test_no_inputs_are_no_failure(cli: Cli, own_state: Path, args: list[str]) -> None:
    """A list may be empty tonight: one line, status 0, no run."""
    done = cli(*args)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "manyhands: no inputs: nothing to run\n")
    assert Store(own_state).all() == []


def test_paths_in_the_home_folder(cli: Cli, tmp_path: Path, environment: dict[str, str]) -> None:
    """``~`` is ours to fill in where no shell does: after ``=``, in quotes, in a configuration file."""
    environment["HOME"] = str(tmp_path / "home")
    folder = tmp_path / "home" / "in"
    folder.mkdir(parents=True)
    (folder / "list").write_text("a\n")
    (folder / "t.csv").write_text("x\nb\n")
    assert cli("batch", "echo {}", "--from=~/in/list", "--quiet").stdout == "a\n"
    assert cli("batch", "echo {x}", "--csv=~/in/t.csv", "--quiet").stdout == "b\n"
    assert cli("batch", "echo {/}", "--glob=~/in/*", "--quiet").stdout == "list\nt.csv\n"
    assert (
        cli("batch", "cat", "--workdir=~/in", "--stdin=~/in/list", "--state-dir=~/s", "--quiet", "--", "list").stdout
        == "a\n"
    )
    assert (tmp_path / "home" / "s").is_dir()


@pytest.mark.parametrize("piped", [False, True])
def test_a_bad_row_in_the_middle(cli: Cli, tmp_path: Path, piped: bool) -> None:
    """What stands before it has been done, which is said, as is how to go on; that then does the rest."""
    bad, good = "a,b\n1,2\nbad\n3,4\n", "a,b\n1,2\n0,0\n3,4\n"
    path = tmp_path / "x.csv"

    def give(text: str, *args: str) -> subprocess.CompletedProcess[str]:
        path.write_text(text)
        return cli(*args, "--csv", "-" if piped else str(path), input=text if piped else "")

    first = give(bad, "batch", "echo {a}", "--run-id", "r")
    assert (first.returncode, first.stdout) == (1, "1\n")
    assert "1 ok" in first.stderr
    resumed = cli("batch.resume", "r")
    assert resumed.returncode == 1
    hint = "mend it, and give all inputs again with --run-id r" if piped else "mend the inputs, then do the rest: "
    for done in (first, resumed):
        assert "row 3: 1 column where the first line names 2; " in done.stderr
        assert hint in done.stderr
        assert ("batch.resume" in done.stderr) is not piped
    path.write_text(good)
    last = give(good, "batch", "echo {a}", "--run-id", "r") if piped else cli("batch.resume", "r")
    assert (last.returncode, last.stdout) == (0, "0\n3\n")


def test_lines_as_commands(cli: Cli, tmp_path: Path) -> None:
    """Each line of a file or a pipe is a command, with a shell or without; a resume does what is left of them."""
    (tmp_path / "jobs").write_text("# first\necho a 'b  c'\n\nsh -c 'exit 3'\n")
    done = cli("batch", "--commands", "jobs", "--run-id", "r", "-j", "1")
    assert (done.returncode, done.stdout) == (1, "a b  c\n")
    assert "2 jobs: 1 ok, 1 failed" in done.stderr
    assert "1 failed" in cli("batch.retry", "r").stderr
    assert cli("batch", "--commands", "-", "--shell", "--quiet", input="echo x | tr x y\n").stdout == "y\n"
    assert cli("batch", "--commands", "jobs", "--dry-run").stdout == "echo a 'b  c'\nsh -c 'exit 3'\n"
    (tmp_path / "jobs").write_text("echo a\nls | wc\n")
    done = cli("batch", "--commands", "jobs")
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs a shell" in done.stderr


def test_several_inputs_in_one_job(cli: Cli) -> None:
    """At a resume recorded groups stay as they were, and only new inputs form new ones; seen by show, export and a dry run."""
    first = cli("batch", "echo {} end", "--max-args", "3", "--run-id", "r", input="a\nb c\nd\ne\n")
    assert (first.returncode, first.stdout) == (0, "a b c d end\ne end\n")
    second = cli("batch", "echo {} end", "--max-args", "2", "--run-id", "r", "--", "x", "e", "y", "d", "b c", "a", "z")
    assert second.stdout == "x y end\nz end\n"
    assert "4 jobs: 4 ok (2 of them before)" in second.stderr
    assert [json.loads(line)["argv"] for line in cli("batch.export", "r").stdout.splitlines()] == [
        ["echo", "a", "b c", "d", "end"],
        ["echo", "e", "end"],
        ["echo", "x", "y", "end"],
        ["echo", "z", "end"],
    ]
    assert cli("batch", "echo", "--max-args", "2", "--dry-run", "--", "a", "b c", "d").stdout == "echo a 'b c'\necho d\n"


@pytest.mark.parametrize("how", [["--backend", "threads"], ["--no-journal"]])
def test_several_inputs_of_a_function(cli: Cli, how: list[str]) -> None:
    """It is given a list of them."""
    done = cli("batch.call", "statistics:mean", "--type", "float", "--max-args", "2", *how, "--", "1", "3", "8")
    assert (done.returncode, done.stdout) == (0, "2.0\n8.0\n")


def test_linked_sources(cli: Cli, tmp_path: Path) -> None:
    """The first of each together, then the second; a pipe may be one of them, and is kept for a resume."""
    (tmp_path / "names").write_text("a\nb\n")
    done = cli("batch", "echo {2}{1}", "--zip", "--from", "names", "--from", "-", "--run-id", "r", input="1\n2\n")
    assert (done.returncode, done.stdout) == (0, "1a\n2b\n")
    assert "nothing new to run" in cli("batch.resume", "r").stderr
    assert cli("batch", "echo {x}{y}", "--zip", "--each", "x=1,2", "--each", "y=3,4", "--quiet").stdout == "13\n24\n"
    assert cli("batch", "echo {1}{2}", "--from", "names", "--from", "names", "--quiet").stdout == "aa\nab\nba\nbb\n"


def test_a_word_of_the_command_line_that_would_become_code(cli: Cli, tmp_path: Path) -> None:
    """Nothing runs, and no run is left; from a file, what stands before it has been done, as with any row that cannot be read."""
    done = cli("batch", "sh -c 'echo {}'", "--", "a", "b;c")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the input 'b;c' would become a part of the code that sh reads" in done.stderr
    assert cli("batch.list").stdout == ""
    (tmp_path / "inputs").write_text("a\nb;c\n")
    done = cli("batch", "sh -c 'echo {}'", "--from", "inputs")
    assert (done.returncode, done.stdout) == (1, "a\n")
    assert "mend the inputs, then do the rest: " in done.stderr
