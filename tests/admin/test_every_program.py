"""Every program of scripts/admin is a task with the same options, and has a sample, a page and a test of its own."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HERE, Cli, checkout_tasks
from manyhands.cli.task import Task

SCRIPTS = sorted((HERE / "scripts" / "admin").glob("*.py"))
TASKS = {
    name.removeprefix("admin."): checkout_tasks()[name]
    for name in checkout_tasks().task_names
    if name.startswith("admin.")
}


def test_every_task_stands_alone() -> None:
    """The scripts and the tasks are the same."""
    assert {path.stem for path in SCRIPTS} == set(TASKS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_shows_a_sample_of_its_output(script: Path) -> None:
    """In its docstring, below the command that prints it; it can be started as it is."""
    docstring = ast.get_docstring(ast.parse(script.read_text())) or ""
    assert f"$ scripts/admin/{script.name}" in docstring
    assert re.search(r"\b(OK|WARNING|CRITICAL|UNKNOWN) - ", docstring)
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("name", TASKS)
def test_a_program_has_a_page_and_a_test(name: str) -> None:
    """A page of some ten lines, whose commands its test runs; the page of all leads there."""
    page = HERE / "docs" / "admin" / f"{name}.md"
    assert 5 <= len(page.read_text().splitlines()) <= 40
    assert f"admin/{name}.md" in (HERE / "docs" / "admin.md").read_text()
    test = HERE / "tests" / "admin" / f"test_{name.replace('-', '_')}.py"
    assert f'check_page("{name}"' in test.read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_has_an_example_to_type(script: Path, environment: dict[str, str]) -> None:
    """By the script's own name, without that of the task."""
    done = subprocess.run(
        [sys.executable, str(script), "--help"], env=environment, capture_output=True, text=True, check=True
    )
    assert f"Usage: {script}" in done.stdout or f"Usage: {sys.executable} {script}" in done.stdout
    assert re.search(r"^Examples?:\n  \S", done.stdout, re.MULTILINE)
    assert "--json" in done.stdout
    assert "admin." not in done.stdout


@pytest.mark.parametrize("name", TASKS)
def test_a_mistake_is_unknown_to_a_monitor(name: str, cli: Cli) -> None:
    """1 and 2 are for findings, so an option that is not there exits with 3."""
    task = TASKS[name]
    assert isinstance(task, Task)
    assert task.monitor
    for mistake in (["--no-such-option"], ["--", "a word"], ["--pty"]):
        done = cli(f"admin.{name}", *mistake)
        assert done.returncode == 3
        assert done.stderr.count("\n") == 1
