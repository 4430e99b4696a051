"""Every recipe of docs/cookbook.md is run as it is printed, and shows what it says it shows."""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import with_tag
from manyhands.posix import linux
from typed_pages import matches, steps

HERE = Path(__file__).parents[1]
PAGE = HERE / "docs" / "cookbook.md"


@dataclass(frozen=True)
class Recipe:
    """A title, and what is to be typed, each with what is shown (None: not told)."""

    title: str
    steps: tuple[tuple[str, str | None], ...]


def recipes() -> list[Recipe]:
    found = []
    for part in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        title, _, rest = part.partition("\n")
        found.append(Recipe(title, tuple((step.text, step.shown) for step in steps(rest))))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the recipes work on."""
    place = tmp_path / "work"
    (place / "odd").mkdir(parents=True)
    lines = [f"10.0.0.{number} GET /\n" for number in (1, 2, 1, 3, 2, 1)]
    files = {
        "access.log": "".join(lines),
        "worker.log": "started\n",
        "hosts.csv": "host,port\none,22\ntwo,23\n",
        "probe.sh": '[ "$1" = one ] || exit 1\necho "$1 $2 is up"\n',
        "inputs.txt": "one\ntwo\n",
        "odd/a b.txt": "abc",
        "odd/new\nline.txt": "xyz",
        "app.log": "INFO\nERROR\nERROR\nINFO\n",
        "install.sh": "printf 'Continue? [y/n] '\nread go\n[ $go = y ] || exit 1\nprintf 'Folder: '\nread f\necho installed in $f\n",
    }
    for name, text in files.items():
        (place / name).write_text(text)
    with gzip.open(place / "app.log.gz", "wb") as packed:
        packed.write(files["app.log"].encode())
    (place / "picture.bin").write_bytes(bytes(range(256)) * 300)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "manyhands").write_text(f'#!/bin/sh\nexec {sys.executable} -m manyhands "$@"\n')
    (programs / "manyhands").chmod(0o755)
    return place


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: re.sub(r"\W+", "-", recipe.title)[:50])
def test_a_recipe(recipe: Recipe, folder: Path, environment: dict[str, str]) -> None:
    """Each command of it succeeds, and shows what is printed below it."""
    if "app.log.gz" in recipe.steps[0][0]:
        (folder / "app.log").unlink()
    elif "gzip -k" in recipe.steps[0][0]:
        (folder / "app.log.gz").unlink()
    port, tag = free_port(), f"cook{os.getpid()}"
    path = f"{folder.parent / 'programs'}:{environment['PATH']}"
    try:
        for script, shown in recipe.steps:
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", re.sub(r"\b641\b", f"641.{os.getpid()}", script.replace("8765", port))],
                cwd=folder,
                env={**environment, "PATH": path, "MH_TEST": tag},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=90,
            )
            assert done.returncode == 0, (script, done.stdout)
            said = done.stdout.replace(port, "8765").replace(f"641.{os.getpid()}", "641")
            assert shown is None or matches(shown, said), (script, said)
    finally:
        for one in with_tag(f"MH_TEST={tag}"):
            linux.send_signal_exact(one.pid, one.start, signal.SIGKILL)


def test_there_are_enough_of_them() -> None:
    """At least twenty, each with something to type."""
    found = recipes()
    assert len(found) >= 20
    assert all(recipe.steps for recipe in found)
    assert PAGE.read_text().count("```sh\n") == sum(len(recipe.steps) for recipe in found)
    assert matches("a ... c\n...\nend\n", "a b c\nx\ny\nend\n")
    assert not matches("a ... c\n", "a b d\n")
