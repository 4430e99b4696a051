"""A script of a checkout works with any Python: it goes on with that of the checkout's environment, or says how to make one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HERE, LIB

pytestmark = pytest.mark.skipif(not (HERE / "lib").is_dir(), reason="a wheel is tested, which no script goes with")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script of a checkout without an environment."""
    place = tmp_path / "checkout"
    (place / "scripts" / "admin").mkdir(parents=True)
    (place / "lib").symlink_to(LIB)
    shutil.copy(HERE / "scripts" / "admin" / "reach.py", place / "scripts" / "admin")
    return place / "scripts" / "admin" / "reach.py"


def run(script: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """By a Python that has none of our packages."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", str(script), *args]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_without_an_environment(script: Path) -> None:
    """One line, as a monitor wants it, with what makes one."""
    done = run(script)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (3, "", 1)
    assert done.stdout.startswith(f"UNKNOWN - {script} needs packages that are not installed: ")
    assert done.stdout.endswith("/scripts/run -l installs them\n")


def test_with_an_environment(script: Path) -> None:
    """Its Python runs the script, with the same arguments."""
    python = script.parents[2] / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nfor one; do echo "<$one>"; done\n')
    python.chmod(0o755)
    done = run(script, "a b", "--json")
    assert (done.returncode, done.stdout) == (0, f"<{script}>\n<a b>\n<--json>\n")


def test_another_program_that_imports_us(script: Path, tmp_path: Path) -> None:
    """Sees the import fail, as always."""
    other = tmp_path / "other.py"
    other.write_text(f"import sys; sys.path.insert(0, {str(LIB)!r}); import manyhands.cli")
    done = run(other)
    assert "ModuleNotFoundError: No module named 'invoke'" in done.stderr
