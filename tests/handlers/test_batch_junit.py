"""``--junit FILE``: the jobs of a run as JUnit XML, however the run has ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from junitparser import Failure, JUnitXml

from conftest import Cli, wait_for


def cases(path: Path) -> list[tuple[str, str | None]]:
    """(the name of each case, what is told of it)"""
    (suite,) = JUnitXml.fromfile(str(path))
    return [(case.name, case.result[0].message if case.result else None) for case in suite]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "junit.xml"


def test_after_failures(cli: Cli, file: Path) -> None:
    """Written when the run ends, and again when it is tried again; each time the whole run."""
    flag = file.with_name("flag")
    line = f"sh -c 'test {{}} = well || test -e {flag}'"
    done = cli("batch", line, "--run-id", "r", "--junit", str(file), "--", "well", "bad")
    assert (done.returncode, cases(file)) == (1, [("1: well", None), ("2: bad", "exit 1")])
    flag.touch()
    assert cli("batch.retry", "r", "--junit", str(file)).returncode == 0
    assert cases(file) == [("1: well", None), ("2: bad", None)]
    assert [one.name for one in file.parent.iterdir() if one.name.startswith(".")] == []


def test_of_functions(cli: Cli, file: Path) -> None:
    """An exception is a failure."""
    done = cli("batch.call", "math:sqrt", "--type", "int", "--junit", str(file), "--", "4", "-1")
    assert done.returncode == 1
    (suite,) = JUnitXml.fromfile(str(file))
    well, bad = suite
    found: Any = bad.result[0]
    assert (well.result, type(found)) == ([], Failure)
    assert found.message == found.text.strip() == "ValueError: math domain error"


def test_after_ctrl_c(environment: dict[str, str], file: Path) -> None:
    """What was done, and what was not."""
    command = [sys.executable, "-m", "manyhands", "batch", "sh -c 'touch {}; sleep {}'", "-j", "1", "--junit", str(file)]
    with subprocess.Popen([*command, "--", "0", "600", "601"], env=environment, cwd=file.parent) as process:
        wait_for(file.with_name("600").exists)
        process.send_signal(signal.SIGINT)
    assert process.returncode == -signal.SIGINT
    assert cases(file)[:2] == [("1: 0", None), ("2: 600", "not run")]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["batch", "touch {}", "--junit", "none/j.xml", "--", "x"], "--junit 'none/j.xml': there is no such folder"),
        (["batch", "touch {}", "--junit", ".", "--", "x"], "--junit '.': it is a folder"),
        (["batch.call", "math:sqrt", "--no-journal", "--junit", "j.xml", "--", "4"], "--junit needs the journal"),
    ],
)
def test_mistakes(args: list[str], said: str, cli: Cli, tmp_path: Path) -> None:
    """Told before anything is run."""
    done = cli(*args, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_file_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    """One line, and exit 1, because who wanted it has not got it; the run itself is whole."""
    done = cli("batch", "true", "--run-id", "r", "--junit", "/dev/full", "--", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "--junit /dev/full: is no regular file" in done.stderr
    assert "1 job: 1 ok in" in done.stderr
