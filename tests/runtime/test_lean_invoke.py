"""Invoke without what it hardly ever uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from manyhands.runtime.lean_invoke import import_invoke
import_invoke()
assert not {"unittest", "asyncio", "email", "importlib.metadata"} & set(sys.modules)
import invoke
from importlib import metadata
assert invoke.__version__ == metadata.version("invoke")
assert not hasattr(invoke, "other")
assert invoke.MockContext(run=invoke.Result("said")).run("anything").stdout == "said"
from unittest import mock
assert mock.MagicMock
"""


def test_what_was_left_out_is_there_when_it_is_used(environment: dict[str, str]) -> None:
    """Neither module is imported at first; invoke's version, its MockContext, and whoever imports them later get the real ones."""
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)


def test_an_invoke_that_is_there_is_left_as_it_is(environment: dict[str, str]) -> None:
    """A program that has imported invoke itself sees no difference."""
    given = "import invoke; before = dict(vars(invoke))\nfrom manyhands.runtime.lean_invoke import import_invoke as lean\nlean()\nassert vars(invoke) == before"
    subprocess.run([sys.executable, "-c", given], env=environment, check=True)


@pytest.mark.parametrize("forbidden", [False, True])
def test_our_modules_are_compiled_once(
    program: list[str], environment: dict[str, str], tmp_path: Path, forbidden: bool
) -> None:
    """What invoke forbids while it reads its own options is allowed again, unless the user has forbidden it."""
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path / "compiled")
    if not forbidden:
        del environment["PYTHONDONTWRITEBYTECODE"]
    subprocess.run([*program, "batch", "true", "--dry-run", "--", "1"], env=environment, check=True, cwd=tmp_path)
    compiled = {path.name.partition(".")[0] for path in (tmp_path / "compiled").rglob("*.pyc")}
    assert ({"plan", "template"} <= compiled) is not forbidden
