"""The scripts of a checkout: what they make is whole, or not there, and what lacks is said in one line.

The interpreter is a stand-in that notes what it is asked for, so that nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import HERE

PYTHON = """#!/bin/sh
echo "$*" >>"$STUB/calls"
case "$*" in
  *'import pip'*) test -e "$(dirname "$0")/pip" ;;
  *version_info*'<'*) test ! -e "$STUB/is-old" ;;
  *python%d*) echo python3.99-venv ;;
  *ensurepip*) test ! -e "$STUB/no-ensurepip" ;;
  '-m venv '*) if test -e "$STUB/slow"; then sleep 0.5; fi; mkdir -p .venv/bin && cp "$STUB/python3" .venv/bin/python && test ! -e "$STUB/venv-fails" && touch .venv/bin/pip ;;
  '-m pytest'*) test ! -e "$STUB/tests-fail" ;;
  '-m pip install'*) test ! -e "$STUB/pip-fails" && printf '#!%s/.venv/bin/python\\n' "$PWD" >.venv/bin/invoke ;;
esac
"""
Need = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the scripts, and no .venv yet."""
    place = tmp_path / "a checkout"
    (place / "scripts").mkdir(parents=True)
    shutil.copy(HERE / "scripts" / "venv.sh", place / "scripts")
    (place / "pyproject.toml").touch()
    return place


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """The folder of the stand-in; files in it say what is wrong with it."""
    folder = tmp_path / "stub"
    folder.mkdir()
    (folder / "python3").write_text(PYTHON)
    (folder / "python3").chmod(0o755)
    (folder / "python3.99").symlink_to("python3")
    return folder


@pytest.fixture
def no_flock(tmp_path: Path) -> str:
    """A PATH with what the script needs, but without flock(1), as on macOS."""
    folder = tmp_path / "without flock"
    folder.mkdir()
    for name in ("bash", "sh", "cat", "mkdir", "rm", "sleep", "head", "grep", "cp", "touch", "dirname", "env"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


@pytest.fixture
def need(checkout: Path, stub: Path) -> Need:
    """``need_venv none``, as scripts/run asks for it."""

    def call(group: str = "none", place: Path = checkout, **more: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "STUB": str(stub), "PATH": f"{stub}:/usr/bin:/bin", **more}
        command = ["bash", "-euc", f". scripts/venv.sh; need_venv {group}"]
        return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)

    return call


def test_what_is_there_is_not_made_again(checkout: Path, stub: Path, need: Need) -> None:
    """Made once; installed again when pyproject.toml has changed, not otherwise."""
    assert need().returncode == 0
    (stub / "calls").unlink()
    assert need().returncode == 0
    assert (stub / "calls").read_text() == "-c import pip\n"
    os.utime(checkout / "pyproject.toml", (2**31, 2**31))
    need()
    assert "-m pip install" in (stub / "calls").read_text()
    assert "-m venv" not in (stub / "calls").read_text()


@pytest.mark.parametrize(
    ("lack", "said"),
    [
        ("no-ensurepip", "python3 cannot make a virtual environment; on Debian: apt install python3-venv\n"),
        ("is-old", "manyhands needs Python 3.11 or later, and python3 is older; name another with PYTHON=...\n"),
    ],
)
def test_what_lacks_is_said_in_one_line_and_nothing_is_left(
    lack: str, said: str, checkout: Path, stub: Path, need: Need
) -> None:
    """With the package to install; and when that has been done, all goes well."""
    (stub / lack).touch()
    done = need()
    assert (done.returncode, done.stderr) == (1, said)
    assert not (checkout / ".venv").exists()
    (stub / lack).unlink()
    assert need().returncode == 0


def test_the_package_is_that_of_the_interpreter(stub: Path, need: Need) -> None:
    """One that was named by PYTHON has a package of its own; one that is not there is said so."""
    (stub / "no-ensurepip").touch()
    assert need(PYTHON="python3.99").stderr.endswith("apt install python3.99-venv\n")
    assert need(PYTHON="no-python").stderr == "there is no no-python; on Debian: apt install python3 python3-venv\n"


def test_an_environment_that_could_not_be_made_is_removed(checkout: Path, stub: Path, need: Need) -> None:
    """Whatever the reason."""
    (stub / "venv-fails").touch()
    assert need().returncode == 1
    assert not (checkout / ".venv").exists()


def test_an_earlier_half_environment_is_made_anew(checkout: Path, stub: Path, need: Need) -> None:
    """A Python without pip, as Debian leaves it behind without python3-venv."""
    need()
    (checkout / ".venv" / "bin" / "pip").unlink()
    (stub / "calls").unlink()
    assert need().returncode == 0
    assert "-m venv --clear .venv" in (stub / "calls").read_text()


def test_what_was_not_installed_wholly_is_installed_again(stub: Path, need: Need) -> None:
    """The line says that there may be no network."""
    (stub / "pip-fails").touch()
    done = need("test")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pip could not install what manyhands needs")
    (stub / "pip-fails").unlink()
    assert need("test").returncode == 0


def test_a_checkout_that_was_moved_gets_a_new_environment(tmp_path: Path, checkout: Path, stub: Path, need: Need) -> None:
    """The programs in the old one begin with a path that is gone."""
    need()
    moved = checkout.rename(tmp_path / "elsewhere")
    (stub / "calls").unlink()
    assert need(place=moved).returncode == 0
    assert "-m venv --clear .venv" in (stub / "calls").read_text()
    assert (moved / ".venv" / "bin" / "invoke").read_text() == f"#!{moved}/.venv/bin/python\n"


def test_the_tests_say_how_long_they_take(checkout: Path, stub: Path) -> None:
    """About, the first time; then what they took; nothing for a few of them. The status is that of pytest."""
    shutil.copy(HERE / "scripts" / "test", checkout / "scripts")

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "STUB": str(stub), "PATH": f"{stub}:/usr/bin:/bin"}
        return subprocess.run(["scripts/test", *args], cwd=checkout, env=env, capture_output=True, text=True, check=False)

    assert "this takes about a quarter of an hour on two cores" in call().stderr
    assert call().stderr == "the last time this took 0 min\n"
    assert "this takes about" in call("--fast").stderr
    assert call("--fast").stderr == "the last time this took 0 min\n"
    assert call("tests/test_x.py").stderr == ""
    assert call("--fast", "-x").stderr == ""
    assert "--dist worksteal -m not slow -x\n" in (stub / "calls").read_text()
    (stub / "tests-fail").touch()
    assert call().returncode == 1


@pytest.mark.parametrize("with_flock", [True, False])
def test_two_at_once_make_one_environment(
    checkout: Path, stub: Path, need: Need, no_flock: str, *, with_flock: bool
) -> None:
    """The second waits, says so, and finds it there."""
    if with_flock and not shutil.which("flock"):
        pytest.skip("there is no flock")
    path = {} if with_flock else {"PATH": f"{stub}:{no_flock}"}
    (stub / "slow").touch()
    with ThreadPoolExecutor() as threads:
        done = [one.result() for one in [threads.submit(need, **path) for _ in range(3)]]
    assert [one.returncode for one in done] == [0, 0, 0]
    calls = (stub / "calls").read_text().splitlines()
    assert (sum("-m venv" in one for one in calls), sum("-m pip install" in one for one in calls)) == (1, 1)
    assert any("waiting for another process" in one.stderr for one in done)
    assert not (checkout / ".venv.lock.d").exists()


def test_a_lock_of_a_process_that_was_killed_is_removed(checkout: Path, stub: Path, need: Need, no_flock: str) -> None:
    """Where a folder is the lock, it stays behind."""
    (checkout / ".venv.lock.d").mkdir()
    (checkout / ".venv.lock.d" / "pid").write_text("4194999\n")
    assert need(PATH=f"{stub}:{no_flock}").returncode == 0
    assert not (checkout / ".venv.lock.d").exists()
