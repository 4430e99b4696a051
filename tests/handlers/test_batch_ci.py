"""``--ci`` and ``--output``: sixty jobs in the environment of each CI system, and what is on its page afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ci.ci_systems import READERS
from conftest import Cli, wait_for

ENVIRON = {
    "github": {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": "summary.md"},
    "gitlab": {"GITLAB_CI": "true"},
    "azure": {"TF_BUILD": "True", "AGENT_TEMPDIRECTORY": "."},
    "plain": {},
}
JOB = "echo out {}; echo ::error::{} >&2; expr {} % 5 > null"


@pytest.mark.parametrize("system", READERS)
def test_sixty_jobs(system: str, cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """48 are well and twelve fail: groups, open failures, ten annotations, one summary; nothing on standard error."""
    inputs = map(str, range(1, 61))
    done = cli("batch", JOB, "--shell", "--ci", "auto", "--", *inputs, env=environment | ENVIRON[system], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    seen = READERS[system](done.stdout)
    counts = Counter(name for name, _ in seen.commands)
    groups = {"github": ("group", "endgroup"), "gitlab": ("start", "end"), "azure": ("group", "endgroup"), "plain": ()}
    assert [counts[name] for name in groups[system]] == [48] * len(groups[system])
    assert counts["error"] + counts["task.logissue"] == (10 if system in ("github", "azure") else 0)
    failures = [f"out {n}" for n in range(5, 61, 5)]
    assert [line for line in seen.text if line.startswith("out ")] == (
        failures if system != "plain" else [f"out {n}" for n in range(1, 61)]
    )
    assert seen.text[-2].startswith("60 jobs: 48 ok, 12 failed in ")
    (summary,) = [*tmp_path.glob("*.md")] if system in ("github", "azure") else [None]
    if summary:
        assert "Run " in summary.read_text()
        assert summary.read_text().count("<details>") == 10
        assert counts["task.uploadsummary"] == (system == "azure")


def test_secrets_of_a_run(cli: Cli, tmp_path: Path) -> None:
    """What is given by --env under the name of a secret is hidden by the runner; the rest is not."""
    done = cli("batch", "true", "--ci", "github", "--env", "API_TOKEN=s3cret", "--env", "A=b", "--", "1", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "::add-mask::s3cret"
    assert "b" not in [data for name, data in READERS["github"](done.stdout).commands if name == "add-mask"]


def test_passed_on_a_retry(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """In the summary it is told from a job that was well at once; a resumed run writes a summary of its own."""
    line = "test -e {} || { touch {}; exit 1; }".replace("{ ", "{{ ").replace("; }", "; }}")
    environ = environment | {"GITHUB_STEP_SUMMARY": "summary.md"}
    options = ["--retries", "1", "--backoff", "0", "--ci", "github", "--run-id", "r"]
    assert cli("batch", line, "--shell", *options, "--", "a", env=environ, cwd=tmp_path).returncode == 0
    assert "| 1 | a | passed at attempt 2 |" in (tmp_path / "summary.md").read_text()
    assert cli("batch.resume", "r", "--ci", "github", env=environ, cwd=tmp_path).returncode == 0
    assert (tmp_path / "summary.md").read_text().count("Run r: ") == 2


@pytest.mark.parametrize(("which", "out"), [("all", "well\nbad\n"), ("failures", "bad\n"), ("none", "")])
def test_output(which: str, out: str, cli: Cli, tmp_path: Path) -> None:
    """Without --ci, too; what failed is always told."""
    done = cli("batch", "echo {}; test {} = well", "--shell", "--output", which, "--", "well", "bad", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, out)
    assert "job 2 failed with exit status 1" in done.stderr
    done = cli("batch.call", "math:sqrt", "--type", "int", "--output", which, "--", "4", "-1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "2.0\n" if which == "all" else "")
    assert "ValueError" in done.stderr


def test_ctrl_c(environment: dict[str, str], tmp_path: Path) -> None:
    """The log ends in order: no group is open, and the summary is written."""
    command = [sys.executable, "-m", "manyhands", "batch", "sh -c 'touch {}; sleep {}'", "-j", "1", "--ci", "github"]
    environ = environment | {"GITHUB_STEP_SUMMARY": "summary.md"}
    with subprocess.Popen(
        [*command, "--", "0", "600", "601"], env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        wait_for((tmp_path / "600").exists)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert READERS["github"](out).text[-2].startswith("1 of 3 jobs done: 1 ok, 2 not run")
    assert "stopped by" in (tmp_path / "summary.md").read_text()


def test_inputs_that_end_in_a_mistake(cli: Cli, tmp_path: Path) -> None:
    """That is told in the log, too, where it is no command."""
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3\n")
    done = cli("batch", "echo {a}", "--csv", "x.csv", "--ci", "github", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "row 3: 1 column where the first line names 2" in READERS["github"](done.stdout).text[-2]


def test_a_summary_that_cannot_be_written(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """One line; the run itself is whole."""
    environ = environment | {"GITHUB_STEP_SUMMARY": str(tmp_path / "none" / "summary.md")}
    done = cli("batch", "true", "--ci", "github", "--", "1", env=environ, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "summary.md: No such file or directory" in done.stdout


def test_a_setting_gives_way(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """$MANYHANDS_BATCH_CI is for the calls that say nothing else."""
    environ = environment | {"MANYHANDS_BATCH_CI": "github", "MANYHANDS_BATCH_OUTPUT": "none"}
    done = cli("batch", "echo {}", "--json", "--", "1", env=environ, cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[0])["schema"]
    done = cli("batch", "echo {}", "--quiet", "--", "1", env=environ, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = cli("batch", "echo {}", "--output", "all", "--", "1", "2", env=environ, cwd=tmp_path)
    assert done.stdout.count("::group::") == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["batch", "true", "--ci", "jenkins", "--", "x"], "jenkins"),
        (["batch", "true", "--output", "some", "--", "x"], "some"),
        (["batch", "true", "--ci", "github", "--json", "--", "x"], "--json"),
        (["batch", "true", "--ci", "github", "--quiet", "--", "x"], "--quiet"),
        (["batch", "true", "--output", "none", "--json", "--", "x"], "--json"),
        (["batch.call", "math:sqrt", "--no-journal", "--ci", "auto", "--", "4"], "--ci needs the journal"),
    ],
)
def test_mistakes(args: list[str], said: str, cli: Cli, tmp_path: Path) -> None:
    """One line, before anything is run."""
    done = cli(*args, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
