"""docs/tutorial.md is typed from top to bottom into one shell, and shows what it says it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HERE, LIB
from typed_pages import Step, matches, steps

PAGE = (HERE / "docs" / "tutorial.md").read_text(encoding="utf-8")
PIPX = f"""#!/bin/sh
[ "$*" = "install ." ] && grep -qx 'name = "manyhands-tasks"' pyproject.toml || exit 1
mkdir -p "$HOME/.local/bin" && ln -s {Path(sys.executable).parent}/manyhands "$HOME/.local/bin/manyhands"
"""
"""Stands in for pipx: the wheel of this checkout is tested elsewhere, here its program is only put where pipx puts it."""


@pytest.fixture
def shell(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a newcomer: an empty home, no program called manyhands yet, and pipx."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pipx").write_text(PIPX)
    (programs / "pipx").chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    path = f"{tmp_path}/.local/bin:{programs}:{os.environ['PATH']}"
    return {**environment, "PYTHONPATH": str(LIB), "PATH": path, "HOME": str(tmp_path)}


UNTIL_FOUR_HAVE_ENDED = 'until [ "$(cat *.log 2>/dev/null | grep -c finished)" -ge 4 ]; do sleep 0.1; done\n'


def typed(step: Step, number: int, folder: str = "$HOME/try-manyhands") -> str:
    """A block as lines of a script: what it shows goes to a file of its own, with its status in another. Four seconds may be too short
    for the four jobs that end in them: it is waited for these."""
    if step.language == "python":
        name = step.text.splitlines()[0].removeprefix("# ")
        return f"cat >{folder}/{name} <<'END'\n{step.text}END\n"
    log = f'"$HOME/steps/{number}"'
    text = step.text.replace("sleep 4\n", UNTIL_FOUR_HAVE_ENDED)
    return f"{{\n{text}}} >{log} 2>&1 </dev/null\necho $? >>{log}\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the tutorial speaks of Linux")
def test_the_tutorial(tmp_path: Path, shell: dict[str, str]) -> None:
    """Every command succeeds, in the state that those before it have left."""
    (tmp_path / "steps").mkdir()
    found = steps(PAGE)
    script = "".join(typed(step, number) for number, step in enumerate(found))
    subprocess.run(["bash", "-c", script], cwd=HERE, env=shell, check=True, timeout=100)
    for number, step in enumerate(found):
        if step.language == "python":
            continue
        log = (tmp_path / "steps" / str(number)).read_text(encoding="utf-8")
        said, status = log[: log[:-1].rfind("\n") + 1], log.splitlines()[-1]
        assert status == "0", (step.text, said)
        assert step.shown is None or matches(step.shown, said), (step.text, said)
    assert not (tmp_path / "try-manyhands").exists()


def test_no_block_of_the_tutorial_is_left_out() -> None:
    """Every block is one that is typed, one that is saved, or one that is shown."""
    found = steps(PAGE)
    assert PAGE.count("```") == 2 * (len(found) + sum(step.shown is not None for step in found))
    assert {step.language for step in found} == {"sh", "python"}
