"""CI notices what it no longer tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from allowed_skips import LIST, allowed

SUITE = """
import pytest

@pytest.mark.skipif(True, reason="no such program")
def test_by_mark(): pass

def test_within():
    pytest.skip("there they are")

def test_module():
    pytest.importorskip("no_such_module")

@pytest.mark.xfail(reason="not yet", strict=True)
def test_expected(): assert False
"""


@pytest.mark.parametrize(
    ("ci", "ended"), [("true", "1 failed, 1 skipped, 1 xfailed, 1 error"), ("", "3 skipped, 1 xfailed")]
)
def test_only_listed_skips_are_accepted(ci: str, ended: str, tmp_path: Path) -> None:
    """By mark or by call; elsewhere than in CI every skip is."""
    (tmp_path / "test_it.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["allowed_skips"]\n')
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(LIST.parent), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended in done.stdout, done.stdout
    assert ("which allowed_skips.txt does not list: Skipped: no such program" in done.stdout) == bool(ci)


def test_a_module_that_is_skipped_as_a_whole_counts(tmp_path: Path) -> None:
    """It is skipped while tests are collected."""
    (tmp_path / "test_it.py").write_text('import pytest\npytest.importorskip("no_such_module")\n')
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["allowed_skips"]\n')
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(LIST.parent), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "does not list" in done.stdout


def test_a_line_is_for_its_platform() -> None:
    """The reason is a pattern."""
    lines = ["# comment", "", "darwin  *Linux*", "any     there they are"]
    assert allowed("needs Linux", lines, "darwin")
    assert not allowed("needs Linux", lines, "linux")
    assert allowed("there they are", lines, "linux")
