"""The action for GitHub: what its shell does with what it is given, and that it is what its documentation says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ci.ci_systems import github
from conftest import HERE

yaml = pytest.importorskip("yaml")
ACTION = HERE / ".github" / "actions" / "batch"


@pytest.fixture
def runner(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a runner on which manyhands is installed already."""
    program = tmp_path / "tools" / "manyhands" / "bin" / "manyhands"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m manyhands "$@"\n')
    program.chmod(0o755)
    return environment | {"RUNNER_TEMP": str(tmp_path / "tools"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}


def run(runner: dict[str, str], folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """The step of the action, as the runner runs it."""
    environ = runner | {f"BATCH_{name.upper()}": value for name, value in given.items()}
    return subprocess.run(
        [ACTION / "run.sh"],
        env=environ,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_batch(runner: dict[str, str], tmp_path: Path) -> None:
    """One input a line, one word of the options a line; nothing is split, expanded or run on the way."""
    words = "a b\n\n$(touch pwned)\n*\n"
    done = run(runner, tmp_path, command="echo {}", inputs=words, options="--env\nNAME=a b\n-j\n1\n--junit\nj.xml\n")
    assert (done.returncode, done.stderr) == (0, "")
    groups = [text for name, text in github(done.stdout).commands if name == "group"]
    assert [one.partition("echo ")[2] for one in groups] == ["'a b'", "'$(touch pwned)'", "'*'"]
    assert {one.name for one in tmp_path.iterdir()} >= {"j.xml", "summary.md"}
    assert not (tmp_path / "pwned").exists()


def test_inputs_by_an_option_and_a_failure(runner: dict[str, str], tmp_path: Path) -> None:
    """Without inputs nothing is read from standard input; the exit status is that of the batch."""
    (tmp_path / "one.yml").touch()
    done = run(runner, tmp_path, command="test -s {}", options="--glob\n*.yml\n")
    assert done.returncode == 1
    assert [name for name, _ in github(done.stdout).commands] == ["error"]
    assert run(runner, tmp_path, command="echo {}").returncode == 0


def test_a_mistake(runner: dict[str, str], tmp_path: Path) -> None:
    """Is one line, and exit 2."""
    done = run(runner, tmp_path, command="echo {}", inputs="x", options="--jbos\n3")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert run(runner, tmp_path, inputs="x").returncode != 0


def test_what_it_takes_goes_to_the_shell_by_its_environment() -> None:
    """Each input is a variable: none is written into the script, where it would be code."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    (step,) = action["runs"]["steps"]
    assert step["env"] == {f"BATCH_{name.upper()}": f"${{{{ inputs.{name} }}}}" for name in action["inputs"]}
    assert "${{" not in step["run"]
    assert all(f"${{{name}:" in (ACTION / "run.sh").read_text() for name in step["env"])


def test_the_examples_are_yaml() -> None:
    """And those for GitHub name the action's own inputs."""
    page = (HERE / "docs" / "ci.md").read_text()
    found = [yaml.safe_load(part.partition("```")[0]) for part in page.split("```yaml\n")[1:]]
    inputs = yaml.safe_load((ACTION / "action.yml").read_text())["inputs"]
    (used,) = [step["with"] for one in found for step in (one if isinstance(one, list) else []) if "with" in step]
    assert set(used) <= set(inputs)
    assert len(json.dumps(found)) > 200
