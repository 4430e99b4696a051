"""What is missing is named with a line that installs it, from no stranger."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from conftest import HERE
from manyhands.core import extras
from manyhands.core.package_location import PACKAGE

EXTRAS = sorted(tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_line_installs_into_the_environment_that_we_run_in(extra: str) -> None:
    """By the Python that runs us, and it names packages, not ours."""
    python, *words = shlex.split(extras.install_line(extra))
    assert python == sys.executable
    assert words[:3] == ["-m", "pip", "install"]
    assert words[3:] == extras.requirements(extra)
    assert words[3:]
    assert not [one for one in words if one.startswith("manyhands")]


def test_an_environment_of_pipx_or_uv_gets_the_line_of_its_own_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They manage their environments, and those of uv have no pip."""
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert extras.install_line("gevent").startswith(f"uv pip install --python {sys.executable} 'gevent")
    (tmp_path / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert extras.install_line("gevent").startswith("pipx inject manyhands-tasks 'gevent")


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_wheel_knows_the_same_as_the_checkout(extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metadata say what pyproject.toml said."""
    listed = extras.requirements(extra)
    shown = ["invoke>=3.0", *(f'{one} ; extra == "{extra}"' for one in listed), "other>=1; extra == 'else'"]
    monkeypatch.setattr(extras, "CHECKOUT", str(tmp_path))
    monkeypatch.setattr("importlib.metadata.requires", lambda _: shown)
    assert extras.requirements(extra) == listed


def test_no_line_anywhere_could_fetch_a_stranger() -> None:
    """Neither in the program nor in its pages: nobody is told to install ``manyhands`` from an index."""
    pages = [*Path(PACKAGE).rglob("*.py"), *HERE.glob("*.md"), *(HERE / "docs").rglob("*.md"), HERE / "tasks.py"]
    stranger = re.compile(r"(install|inject|--with)\s[^\n#]*?(?<![\w./-])manyhands(\[|'|\"|\s|$)(?!-)")
    for page in pages:
        for line in page.read_text(encoding="utf-8").splitlines():
            command = line.partition("`pip")[2] if "`pip" in line else line
            assert "manyhands[" not in command, (page, line)
            assert not re.search(rf"\b(pip|pipx|uv)\b.*{stranger.pattern}", line), (page, line)
