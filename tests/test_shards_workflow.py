"""The workflow that others call to run a batch in shards: what its shell does, job by job, and that it is what its documentation says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from conftest import HERE

yaml = pytest.importorskip("yaml")
PATH = HERE / ".github" / "workflows" / "shards.yml"


@pytest.fixture(scope="module")
def workflow() -> Any:
    return yaml.safe_load(PATH.read_text())


def script(workflow: Any, job: str, name: str) -> str:
    (found,) = [step["run"] for step in workflow["jobs"][job]["steps"] if step.get("name") == name]
    return str(found)


class Runner:
    """A machine on which manyhands is installed already."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.temp = folder
        program = folder / "manyhands" / "bin" / "manyhands"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m manyhands "$@"\n')
        program.chmod(0o755)
        self.environ = environment | {
            "RUNNER_TEMP": str(folder),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_OUTPUT": str(folder / "output"),
        }

    def run(self, text: str, checkout: Path, **given: str) -> subprocess.CompletedProcess[str]:
        """A step, as the runner runs it with ``shell: bash``."""
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
            env=self.environ | given,
            cwd=checkout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def test_from_the_plan_to_the_report(workflow: Any, environment: dict[str, str], tmp_path: Path) -> None:
    """A list of shards, each on a machine of its own, one of them with a failing job; their archives become one report. Nothing that is given
    is split, expanded or run."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    planner = Runner(tmp_path / "plan", environment)
    assert planner.run(script(workflow, "plan", "number the shards"), checkout, SHARDS="3").returncode == 0
    assert json.loads((planner.temp / "output").read_text().removeprefix("shards=")) == [1, 2, 3]
    reporter = Runner(tmp_path / "report", environment)
    (reporter.temp / "shards").mkdir()
    statuses = []
    for k in ("1", "2", "3"):
        machine = Runner(tmp_path / f"m{k}", environment)
        given = {"NAME": "b", "SHARD": k, "SHARDS": "3", "BATCH_COMMAND": "test {} != 'a b'", "BATCH_TIMES": ""}
        inputs = "a b\n\n$(touch pwned)\n*\nx\n"
        done = machine.run(
            script(workflow, "shard", "do this share"), checkout, **given, BATCH_INPUTS=inputs, BATCH_OPTIONS="-j\n1\n"
        )
        statuses.append(done.returncode)
        assert machine.run(script(workflow, "shard", "pack"), checkout, **given).returncode == 0
        shutil.copy(machine.temp / f"b-{k}.zip", reporter.temp / "shards")
    assert statuses == [1, 0, 0] and not (checkout / "pwned").exists()
    done = reporter.run(script(workflow, "merge", "merge"), checkout, NAME="b")
    assert done.returncode == 0, done.stderr
    whole = reporter.temp / "whole"
    assert {path.name for path in whole.iterdir()} == {"b.zip", "junit.xml", "times.jsonl"}
    (suite,) = JUnitXml.fromfile(str(whole / "junit.xml"))
    assert [case.name for case in suite] == ["1: a b", "2: $(touch pwned)", "3: *", "4: x"]
    assert "Run b: 4 jobs: 3 ok, 1 failed" in (reporter.temp / "summary.md").read_text()
    assert len((whole / "times.jsonl").read_text().splitlines()) == 4


def test_a_shard_that_is_missing(workflow: Any, environment: dict[str, str], tmp_path: Path) -> None:
    """Fails the report, which says which."""
    machine = Runner(tmp_path / "m", environment)
    given = {"NAME": "b", "SHARD": "2", "SHARDS": "2", "BATCH_COMMAND": "true {}", "BATCH_TIMES": ""}
    step = script(workflow, "shard", "do this share")
    assert machine.run(step, tmp_path, **given, BATCH_INPUTS="a\nb", BATCH_OPTIONS="").returncode == 0
    assert machine.run(script(workflow, "shard", "pack"), tmp_path, **given).returncode == 0
    (machine.temp / "shards").mkdir()
    shutil.move(machine.temp / "b-2.zip", machine.temp / "shards")
    shutil.rmtree(machine.temp / "runs")
    done = machine.run(script(workflow, "merge", "merge"), tmp_path, NAME="b")
    assert done.returncode == 2 and done.stderr.endswith("manyhands: shard 1 of 2 is missing\n")


def test_recorded_times_and_inputs_by_an_option(workflow: Any, environment: dict[str, str], tmp_path: Path) -> None:
    """Go to the batch as they are."""
    (tmp_path / "times").write_text('{"input": "c", "wall": 9}\n{"input": "a", "wall": 1}\n')
    machine = Runner(tmp_path / "m", environment)
    given = {"NAME": "b", "SHARD": "1", "SHARDS": "2", "BATCH_COMMAND": "echo got {}", "BATCH_TIMES": "times"}
    step = script(workflow, "shard", "do this share")
    done = machine.run(step, tmp_path, **given, BATCH_INPUTS="", BATCH_OPTIONS="--each\na,b,c")
    assert done.returncode == 0, done.stderr
    assert "got c" in done.stdout and "got a" not in done.stdout


@pytest.mark.parametrize("shards", ["0", "257", "x", "", "1.5", "-1", "2; touch pwned"])
def test_no_number_of_shards(shards: str, workflow: Any, environment: dict[str, str], tmp_path: Path) -> None:
    """Is refused before anything runs."""
    machine = Runner(tmp_path / "m", environment)
    done = machine.run(script(workflow, "plan", "number the shards"), tmp_path, SHARDS=shards)
    assert (done.returncode, done.stderr) == (2, "shards: expected 1 to 256\n")
    assert not (tmp_path / "pwned").exists()


def test_what_it_takes_goes_to_the_shell_by_its_environment(workflow: Any) -> None:
    """Nothing is written into a script, where it would be code; no job may do more than read the repository."""
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job.get("permissions", {}) in ({}, {"contents": "read"})
        assert all("${{" not in step.get("run", "") for step in job["steps"])


def test_the_linters_have_nothing_to_say() -> None:
    """Of the workflows and of the action; actionlint, where there is a wheel of it."""
    folder = Path(sys.executable).parent
    tools = [
        [str(folder / "zizmor"), "--offline", "--quiet", "--no-progress", str(HERE / ".github")],
        [str(folder / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(PATH)],
        [str(folder / "actionlint"), "-shellcheck=", "-pyflakes=", *map(str, sorted(PATH.parent.glob("*.yml")))],
    ]
    ran = 0
    for command in tools:
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            ran += 1
    assert ran or not (folder / "ruff").exists()


def test_the_documentation_calls_it_with_what_it_takes(workflow: Any) -> None:
    """YAML reads ``on`` as true."""
    page = (HERE / "docs" / "ci.md").read_text()
    found = [yaml.safe_load(part.partition("```")[0]) for part in page.split("```yaml\n")[1:]]
    inputs = workflow[True]["workflow_call"]["inputs"]
    (used,) = [
        job["with"] for one in found if isinstance(one, dict) for job in one.get("jobs", {}).values() if "with" in job
    ]
    assert set(used) <= set(inputs)
    assert {name for name, one in inputs.items() if one.get("required")} <= set(used)
