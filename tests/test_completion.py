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

from conftest import HERE, LIB


@pytest.fixture
def path(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """An environment in which ``manyhands`` is a program on PATH."""
    program = tmp_path / "bin" / "manyhands"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={LIB} exec {sys.executable} -m manyhands "$@"\n')
    program.chmod(0o755)
    return {**environment, "PATH": f"{program.parent}:{environment['PATH']}"}


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
    assert ask("batch.export", "--format", "", environment=path) == ["jsonl", "csv", "joblog"]
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
