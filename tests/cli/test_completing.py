"""Shell completion really completes, in each shell that is here."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from invoke import Program
from invoke.parser import Parser, ParserContext

from conftest import HERE, LIB
from manyhands.cli.completing import candidates
from manyhands.cli.loaded_tasks import load_tasks


@pytest.fixture
def path(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """An environment in which ``manyhands`` is a program on PATH."""
    program = tmp_path / "bin" / "manyhands"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={LIB} exec {sys.executable} -m manyhands "$@"\n')
    program.chmod(0o755)
    return {**environment, "PATH": f"{program.parent}:{environment['PATH']}"}


@pytest.fixture
def runs(own_state: Path) -> list[str]:
    """Two runs, the newer first."""
    for age, name in enumerate(("nightly", "c0ffee12")):
        (own_state / "runs" / name).mkdir(parents=True)
        os.utime(own_state / "runs" / name, (1000 + age, 1000 + age))
    return ["c0ffee12", "nightly"]


def run(shell: str, script: str, environment: dict[str, str]) -> list[str]:
    """What a script in ``shell`` prints, in words."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [program, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()


BASH = """
source <(manyhands --print-completion-script bash)
complete_line() {{ COMP_LINE="$1"; COMP_POINT=${{#1}}; COMP_WORDS=($1 ""); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
  [ "${{1% }}" = "$1" ] && COMP_CWORD=$((COMP_CWORD - 1))
  _complete_manyhands manyhands "${{COMP_WORDS[COMP_CWORD]}}" ""; printf '%s\\n' "${{COMPREPLY[@]}}"; }}
complete_line '{line}'
"""


def test_bash_completes_tasks_and_options(path: dict[str, str]) -> None:
    """Tasks by their beginnings, options after a task."""
    assert "batch.resume" in run("bash", BASH.format(line="manyhands batch.re"), path)
    assert "--keep-order" in run("bash", BASH.format(line="manyhands batch --"), path)


@pytest.mark.parametrize("task", ["resume", "show", "retry", "export", "remove"])
def test_every_task_about_a_run_completes_runs(task: str, runs: list[str]) -> None:
    """Their names as they were given, the newest first, and no names of tasks."""
    assert asked(f"batch.{task}", "") == runs


def test_bash_completes_runs_and_files(path: dict[str, str], runs: list[str], tmp_path: Path) -> None:
    """A run by its beginning; where a file is wanted, the shell is left to find it; elsewhere it offers none."""
    (tmp_path / "inputs.txt").touch()
    typed = "complete_line '{line}'"
    script = BASH.replace(typed, "compopt() {{ echo no-files; }}; " + typed)
    assert run("bash", BASH.format(line="manyhands batch.resume "), path) == runs
    assert run("bash", BASH.format(line="manyhands batch.show nig"), path) == ["nightly"]
    assert run("bash", script.format(line="manyhands batch x --from "), path) == []
    assert run("bash", script.format(line="manyhands batch x --jobs "), path)[:1] == ["no-files"]


def test_fish_completes_runs_and_files(path: dict[str, str], runs: list[str], tmp_path: Path) -> None:
    """The same in fish."""
    (tmp_path / "inputs.txt").touch()
    load = f"cd {tmp_path}; manyhands --print-completion-script fish | source; "
    assert run("fish", load + "complete -C 'manyhands batch.resume '", path) == sorted(runs)
    assert run("fish", load + "complete -C 'manyhands batch x --from inp'", path) == ["inputs.txt"]
    assert run("fish", load + "complete -C 'manyhands batch x --jobs '", path) == []


def test_fish_completes_tasks_and_options(path: dict[str, str]) -> None:
    """The same in fish."""
    load = "manyhands --print-completion-script fish | source; "
    assert "batch.resume" in run("fish", load + "complete -C 'manyhands batch.re'", path)
    assert "--keep-order" in run("fish", load + "complete -C 'manyhands batch --k'", path)


def test_zsh_completes_tasks_and_options(path: dict[str, str]) -> None:
    """The same in zsh, at a real prompt."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    assert "batch.resume" in typed_into_zsh("manyhands batch.res\t", "batch.resume", path)
    assert "--keep-order" in typed_into_zsh("manyhands batch --keep-o\t", "--keep-order", path)


def test_zsh_completes_runs_and_files(path: dict[str, str], runs: list[str], tmp_path: Path) -> None:
    """The same in zsh."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "inputs.txt").touch()
    assert "nightly" in typed_into_zsh("manyhands batch.resume ni\t", "nightly", path)
    assert "inputs.txt" in typed_into_zsh(f"cd {tmp_path}\nmanyhands batch x --from inp\t", "inputs.txt", path)


def typed_into_zsh(keys: str, wanted: str, environment: dict[str, str]) -> str:
    """What the terminal shows after ``keys``, waiting for ``wanted``."""
    terminal, inside = pty.openpty()
    settings = {**environment, "TERM": "dumb", "PS1": "> "}
    zsh = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=inside, stdout=inside, stderr=inside, env=settings, start_new_session=True
    )
    os.close(inside)
    setup = "autoload -Uz compinit; compinit -u -D; source <(manyhands --print-completion-script zsh); echo rea''dy\n"
    os.write(terminal, setup.encode())
    try:
        assert "ready" in read_until(terminal, "ready")
        os.write(terminal, keys.encode())
        return read_until(terminal, wanted)
    finally:
        os.close(terminal)
        zsh.kill()
        zsh.wait()


def read_until(terminal: int, wanted: str) -> str:
    """What a terminal shows until ``wanted`` is there, or for ten seconds."""
    seen, deadline = "", time.monotonic() + 10
    while wanted not in seen and select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
        seen += os.read(terminal, 4096).decode()
    return seen


def asked(*words: str) -> list[str] | None:
    """The candidates in this process."""
    parser = Parser(contexts=load_tasks().namespace.to_contexts())
    return candidates(["manyhands", *words], parser, ParserContext(args=Program().core_args()))


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["batch", "x", "--backend", ""], ["commands", "command-threads"]),
        (["batch.call", "m:f", "--backend", ""], ["processes", "threads", "asyncio", "gevent", "interpreters", "serial"]),
        (["batch.call", "m:f", "--type", ""], ["str", "int", "float", "json", "path", "bytes"]),
        (["batch.export", "--format=c"], ["--format=jsonl", "--format=csv", "--format=joblog"]),
        (["proc.stop", "--signal", ""], ["TERM", "KILL", "HUP"]),
        (["--list", ""], ["batch", "cmd", "proc", "host", "tour"]),
        (["--help", ""], ["batch", "batch.resume"]),
        (["batch.resume", "nightly", ""], ["--jobs", "--quiet"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_can_be_chosen_is_offered(words: list[str], wanted: list[str]) -> None:
    """Backends by what the task does, choices, signals, collections; when all arguments are there, the options."""
    found = asked(*words) or []
    assert set(wanted) <= set(found)
    assert "batch.retry" not in found or words[0] == "--help"


@pytest.mark.parametrize(
    "words",
    [
        ["batch", ""],
        ["batch", "x", "--csv", ""],
        ["batch", "x", "--workdir", ""],
        ["batch", "x", "--", ""],
        ["cmd.check", ""],
    ],
)
def test_where_a_file_is_wanted_the_shell_completes_it(words: list[str]) -> None:
    """Files, folders, commands and what stands after ``--``."""
    assert asked(*words) is None


@pytest.mark.parametrize("words", [["batch", "x", "--jobs", ""], ["batch", "x", "--timeout", ""], ["proc.port", ""]])
def test_where_nothing_fits_nothing_is_offered(words: list[str]) -> None:
    """Not the names of files either."""
    assert asked(*words) == []


def test_runs_are_looked_for_where_the_line_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[str]
) -> None:
    """By ``--state-dir``, or by what is configured; a folder that is not there has none."""
    (tmp_path / "mine" / "runs" / "own").mkdir(parents=True)
    assert asked("batch.show", "--state-dir", str(tmp_path / "mine"), "") == ["own"]
    assert asked("batch", "x", "--run-id", "") == runs
    monkeypatch.setenv("MANYHANDS_STATE_DIR", str(tmp_path / "mine"))
    assert asked("batch.show", "") == ["own"]
    monkeypatch.setenv("MANYHANDS_STATE_DIR", str(tmp_path / "nowhere"))
    assert asked("batch.show", "") == []


def ask(*words: str, environment: dict[str, str]) -> list[str]:
    """The candidates for the last of ``words``, as the scripts ask for them."""
    command = ["manyhands", "--complete", "--", "manyhands", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_candidates_fit_their_place(path: dict[str, str]) -> None:
    """Tasks, options, words to choose from; nothing where the shell's own names of files are better."""
    assert "batch" in ask("", environment=path)
    assert "--list" in ask("--", environment=path)
    assert "--keep-order" in ask("batch", "gzip {}", "--", environment=path)
    assert "--full" not in ask("batch", "--", environment=path)
    assert ask("batch.export", "--format", "", environment=path) == [
        "jsonl",
        "csv",
        "joblog",
        "junit",
        "times",
        "summary",
    ]
    assert "--format=csv" in ask("batch.export", "--format=c", environment=path)
    assert "--format=csv" in ask("batch.export", "--format", "=", "c", environment=path)  # as bash cuts it
    assert ask("batch", "x", "--from", "", environment=path) == []
    assert ask("batch", "x", "--", "a", environment=path) == []


def test_a_line_that_is_not_finished_is_no_error(path: dict[str, str]) -> None:
    """Neither a quote that is not closed, nor a mistake earlier in the line."""
    ask("batch", "'gzip -9", environment=path)
    assert "--keep-order" in ask("batch", "--jbos", "--", environment=path)
    assert "--keep-order" in ask("batch", "'gzip -9", "*", "--k", environment=path)


def test_invokes_own_script_completes_the_same(path: dict[str, str]) -> None:
    """`invoke --print-completion-script` is invoke's; it asks our tasks file all the same."""
    script = BASH.replace("manyhands", "invoke").replace("source <(invoke", f"cd {HERE}; source <(invoke")
    assert "batch.resume" in run("bash", script.format(line="invoke batch.re"), path)
    assert "--keep-order" in run("bash", script.format(line="invoke batch --k"), path)
