"""Settings from files and the environment: what nobody reads is refused by its place, and what is wrong is blamed on its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from invoke import Collection

from conftest import Cli, Said
from manyhands.cli import task
from manyhands.cli.known_settings import known_by, refuse_unknown, scopes_of, variable_of
from manyhands.cli.loaded_tasks import load_tasks

BATCH = ["batch", "true", "--", "a"]
WRONG = [
    ("# a comment\njobs: many\n", BATCH, "jobs in FILE, line 2: --jobs 'many'"),
    ("batch:\n  run:\n    timeout: soon\n", BATCH, "batch.run.timeout in FILE, line 3: --timeout 'soon'"),
    ("batch:\n  halt: wrong\n", BATCH, "batch.halt in FILE, line 2: --halt 'wrong'"),
    ("run: {output-cap: x}\n", BATCH, "run.output_cap in FILE, line 1: --output-cap 'x'"),
    ("retries: x\n", BATCH, "retries in FILE, line 1: expected a whole number, got 'x'"),
    ("cmd: {every: x}\n", ["cmd.watch", "true"], "cmd.every in FILE, line 1: --every 'x'"),
    ("\njbos: 3\n", ["host.time"], "jbos in FILE, line 2: no task has such an option; did you mean jobs?"),
    (
        "batch:\n  retires: 3\n",
        ["host.time"],
        "batch.retires in FILE, line 2: batch has no such option; did you mean retries?",
    ),
    ("batch: {resume: {tag: true}}\n", BATCH, "batch.resume.tag in FILE, line 1: batch.resume has no such option"),
    ("host: {jobs: 3}\n", BATCH, "host.jobs in FILE, line 1: host has no such option"),
    ("batch: 3\n", BATCH, "batch in FILE, line 1: expected options of it and their values"),
    ("env: {A: 1}\n", BATCH, "env in FILE, line 1: expected a value, not names and values"),
    ("template: x\n", BATCH, "template in FILE, line 1: no task has such an option"),
]


@pytest.mark.parametrize(("text", "args", "why"), WRONG)
def test_a_setting_that_is_wrong_is_named_with_file_and_line(
    text: str, args: list[str], why: str, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown, in the wrong place, or with a value that cannot be; the file is not the command line, which is not blamed."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "manyhands.yaml"
    path.write_text(text)
    status, found = said(*args)
    assert status == 2
    assert found.startswith(f"manyhands: {why.replace('FILE', str(path))}"), found


def test_the_same_in_files_of_invoke(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in one that is given by ``--config``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".invoke.yaml").write_text("run: {echo: false}\nmanyhands:\n  jobs: many\n")
    assert f"jobs in {tmp_path}/.invoke.yaml, line 3: --jobs 'many'" in said(*BATCH)[1]
    (tmp_path / "other.yaml").write_text("manyhands:\n  jobs: 3\n  jbos: 3\n")
    assert "jbos in other.yaml, line 3: no task has such an option" in said("-f", "other.yaml", *BATCH)[1]
    (tmp_path / "other.yaml").write_text("manyhands: 3\n")
    assert "invoke's settings: Can't cleanly merge" in said("-f", "other.yaml", *BATCH)[1]
    (tmp_path / ".invoke.yaml").unlink()
    assert "manyhands in other.yaml: expected options and their values" in said("-f", "other.yaml", *BATCH)[1]


def test_variables_of_invoke_that_cannot_be_are_one_line(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """invoke shows a traceback."""
    monkeypatch.setenv("INVOKE_RUN_WATCHERS", "x")
    assert said("host.time") == (2, "manyhands: a variable INVOKE_...: " + said("host.time")[1].partition("...: ")[2])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("MANYHANDS_JOBS", "MANYHANDS_JOBS: --jobs 'x'"),
        ("MANYHANDS_JBOS", "MANYHANDS_JBOS: no task has such an option; did you mean MANYHANDS_JOBS?"),
        ("MANYHANDS_HOST_JOBS", "MANYHANDS_HOST_JOBS: no task has such an option"),
        ("MH_JOBS", "MH_JOBS is not read; did you mean MANYHANDS_JOBS?"),
        ("INVOKE_JOBS", "INVOKE_JOBS is not read; did you mean MANYHANDS_JOBS?"),
        ("INVOKE_MANYHANDS_JOBS", "INVOKE_MANYHANDS_JOBS is not read; did you mean MANYHANDS_JOBS?"),
    ],
)
def test_a_variable_that_is_wrong_is_named(name: str, why: str, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one with another prefix that would be right with ours."""
    monkeypatch.setenv(name, "x")
    status, found = said(*BATCH)
    assert (status, found.startswith(f"manyhands: {why}")) == (2, True), found


def test_variables_of_others_and_of_jobs_are_let_alone() -> None:
    """A job that runs our program has MH_TAG; invoke has settings of its own, and an empty variable is none."""
    environ = dict.fromkeys(
        ["MH_TAG", "MH_JOB", "MH_TREE", "MH_ANYTHING", "INVOKE_RUN_SHELL", "INVOKE_RUN_ECHO", "INVOKE_X"], "x"
    )
    refuse_unknown([], environ | {"MANYHANDS_JBOS": "", "MANYHANDS_BATCH_JOBS": "3"}, load_tasks().namespace)


def test_every_option_of_every_task_can_be_set() -> None:
    """By each of its names; positional arguments cannot."""
    collection = load_tasks().namespace
    known = known_by(collection)
    environ = {variable_of(scope, option): "1" for scope, options in known.items() for option in options}
    refuse_unknown([], environ, collection)
    assert [tuple(one) for one in scopes_of("batch.run")] == [("batch", "run"), ("run",), ("batch",), ()]
    assert {"jobs", "keep_order", "from"} <= known[("batch",)] & known[("run",)] & known[()]
    assert "template" not in known[("run",)]


def test_settings_for_our_tasks_do_not_disturb_those_of_a_user() -> None:
    """A file in the home folder serves all programs; what none of them reads is refused there, too."""

    @task
    def deploy(_ctx: object, target: str = "here") -> None:
        """Deploy."""

    own = Collection(deploy)
    refuse_unknown([], {"MANYHANDS_JOBS": "3", "MANYHANDS_TARGET": "there"}, own)
    with pytest.raises(Exception, match="MANYHANDS_TARGTE: no task has such an option; did you mean MANYHANDS_TARGET"):
        refuse_unknown([], {"MANYHANDS_TARGTE": "3"}, own)


@pytest.mark.parametrize("task_name", ["host.time", "batch.list", "cmd.retry"])
def test_dry_set_elsewhere_is_a_dry_run_or_refused(
    task_name: str, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``--dry`` is: by the variable of invoke, or its file."""
    words = [task_name, "touch made"] if task_name == "cmd.retry" else [task_name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INVOKE_RUN_DRY", "1")
    status, found = said(*words)
    assert (status, "has no dry run: nothing was done" in found) == (2, True), found
    monkeypatch.delenv("INVOKE_RUN_DRY")
    (tmp_path / ".invoke.yaml").write_text("run: {dry: true}\n")
    assert said(*words)[0] == 2
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("words", [["--dry"], ["-R"]])
@pytest.mark.parametrize("before", [True, False])
def test_dry_is_a_dry_run(words: list[str], before: bool, cli: Cli, tmp_path: Path) -> None:
    """Before and after the task; nothing is done."""
    (tmp_path / "victim").touch()
    line = ["batch", "rm {}"]
    done = cli(*words, *line, "--", "victim") if before else cli(*line, *words, "--", "victim")
    assert (done.returncode, done.stdout) == (0, "rm victim\n")
    assert (tmp_path / "victim").exists()
