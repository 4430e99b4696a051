"""``admin.updates``: what apt tells, by a stand-in and by the real one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from admin.pages import check_page
from conftest import Cli
from manyhands.admin.updates import pending
from manyhands.core.level import Level

SAID = """\
Reading package lists...
Inst openssl [3.0.14-1~deb12u2] (3.0.15-1~deb12u1 Debian-Security:12/stable-security [amd64])
Inst libnew (1.0 Debian:12.8/stable [all])
Conf openssl (3.0.15-1~deb12u1 Debian-Security:12/stable-security [amd64])
"""


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """A stand-in for apt-get, the first on PATH."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    (folder / "said").write_text(SAID)
    path = folder / "apt-get"
    path.write_text(f"#!/bin/sh\ncat {folder}/said\n")
    path.chmod(0o755)
    return path


def put_first(environment: dict[str, str], program: Path) -> dict[str, str]:
    return {**environment, "PATH": f"{program.parent}:{environment['PATH']}"}


def test_security_updates_are_critical(apt: Path, environment: dict[str, str], cli: Cli) -> None:
    """The others are counted, and listed with --all; without a security update all is well."""
    there = put_first(environment, apt)
    done = cli("admin.updates", env=there)
    assert done.returncode == 2
    assert done.stdout.splitlines()[0] == "CRITICAL - 1 security update pending, 1 other"
    assert "libnew" not in done.stdout
    records = [json.loads(line) for line in cli("admin.updates", "--all", "--json", env=there).stdout.splitlines()]
    assert [(one["package"], one["installed"], one["security"]) for one in records] == [
        ("openssl", "3.0.14-1~deb12u2", True),
        ("libnew", None, False),
    ]
    (apt.parent / "said").write_text(SAID.replace("ecurity", "nything"))
    done = cli("admin.updates", env=there)
    assert (done.returncode, done.stdout) == (0, "OK - 0 security updates pending, 2 others\n")


def test_apt_fails(apt: Path, environment: dict[str, str], cli: Cli) -> None:
    """Its reason in one line; the status says that nothing is known."""
    apt.write_text("#!/bin/sh\necho 'E: no lists' >&2\nexit 100\n")
    done = cli("admin.updates", env=put_first(environment, apt))
    assert (done.returncode, done.stdout) == (3, "UNKNOWN - apt-get: E: no lists (exit status 100)\n")


def test_there_is_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    from manyhands.admin.programs import ProgramError, program

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="no-such-apt is not installed; on Debian: apt install apt"):
        program("no-such-apt", package="apt")


def test_the_real_apt() -> None:
    """As many security updates as grep counts."""
    if not shutil.which("apt-get"):
        pytest.skip("apt-get is not installed")
    said = subprocess.run(["apt-get", "-s", "dist-upgrade"], capture_output=True, text=True, check=True).stdout
    found = list(pending(said))
    assert len(found) == len(re.findall("^Inst ", said, re.MULTILINE))
    assert sum(one.level is Level.CRITICAL for one in found) == len(re.findall("^Inst .*[sS]ecurity", said, re.MULTILINE))


def test_the_page(apt: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Its commands print what it shows."""
    (apt.parent / "said").write_text(SAID)
    check_page("updates", tmp_path, put_first(environment, apt))
