"""Shell completion really completes, in each shell that is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import LIB


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


def test_zsh_gets_its_completions(path: dict[str, str]) -> None:
    """The script loads in zsh, and its function asks the program for what fits."""
    script = (
        "autoload -Uz compinit; compinit -u -D; source <(manyhands --print-completion-script zsh) && "
        "whence -w _complete_manyhands && read() { : } ; collection_arg=''; "
        "manyhands --complete -- manyhands batch.re"
    )
    found = run("zsh", script, path)
    assert "function" in found
    assert "batch.resume" in found
