"""An option that a backend cannot honour is refused by name before anything runs; a default never is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import functions
from conftest import Cli
from manyhands import Status, UsageError, run_batch
from manyhands.posix.cores import usable_cores

pytestmark = pytest.mark.usefixtures("options_typed")

MANY = usable_cores() + 3
GIVEN: dict[str, dict[str, Any]] = {
    "--workdir": {"workdir": "/"},
    "--env": {"env": {"FOO": "x"}},
    "--nice": {"nice": 3},
    "--grace": {"grace": 2},
    "--chunk": {"chunk": 2},
    "--max-jobs-per-worker": {"max_jobs_per_worker": 3},
    "--start-method": {"start_method": "spawn"},
    "--stdin": {"stdin": "/dev/null"},
    "--allow-daemons": {"allow_daemons": True},
    "--jobs": {"jobs": MANY},
    "--timeout": {"timeout": 60},
    "--output-cap": {"output_cap": 100_000},
}
OF_WORKERS = {"--chunk", "--max-jobs-per-worker", "--start-method"}
OF_PROCESSES = {"--workdir", "--env", "--nice"}
OF_COMMANDS = {"--stdin", "--allow-daemons"}
REFUSED = {
    "processes": OF_COMMANDS,
    "gevent": OF_COMMANDS | OF_WORKERS,
    "asyncio": OF_COMMANDS | OF_WORKERS | OF_PROCESSES,
    "threads": OF_COMMANDS | OF_WORKERS | OF_PROCESSES | {"--grace"},
    "serial": OF_COMMANDS | OF_WORKERS | OF_PROCESSES | {"--grace", "--jobs"},
    "auto": OF_COMMANDS,
    "commands": OF_WORKERS,
    "command-threads": OF_WORKERS,
}


def work(backend: str) -> Any:
    if "command" in backend:
        return "true {}"
    return functions.a_double if backend == "asyncio" else functions.double


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("backend", REFUSED)
def test_an_option_is_honoured_or_refused(backend: str, name: str, own_state: Path) -> None:
    """By name, and nothing is made; or the batch runs with it."""
    if name in REFUSED[backend]:
        with pytest.raises(UsageError, match=f"--backend {backend} cannot honour {name}: ") as caught:
            run_batch(work(backend), ["a"], backend=backend, **GIVEN[name])
        assert "\n" not in str(caught.value)
        assert not own_state.exists() or not list((own_state / "runs").iterdir())
    else:
        assert [one.status for one in run_batch(work(backend), ["a"], backend=backend, **GIVEN[name])] == [Status.OK]


@pytest.mark.parametrize(
    "backend", [name for name in REFUSED if "--workdir" not in REFUSED[name] and "command" not in name]
)
def test_where_they_are_honoured_they_have_an_effect(backend: str, tmp_path: Path) -> None:
    """Folder, environment and priority are what the job finds; with ``auto`` jobs that wait stay in processes, too."""
    given = {"workdir": tmp_path, "env": {"GIVEN": "yes"}, "nice": 4}
    outcomes = list(run_batch(functions.surroundings, [0.02] * 20, backend=backend, jobs=2, **given))  # type: ignore[call-overload]
    assert {tuple(one.value) for one in outcomes} == {(str(tmp_path), "yes", os.nice(0) + 4)}


def test_an_async_function_stays_in_processes_for_them(tmp_path: Path) -> None:
    """``auto`` would take the event loop of this process."""
    (outcome,) = run_batch(functions.a_surroundings, [0.01], backend="auto", workdir=tmp_path)
    assert outcome.value[0] == str(tmp_path)


def test_a_stage_that_cannot_honour_an_option() -> None:
    """It is refused for the line; what only concerns workers may concern one stage alone."""
    with pytest.raises(UsageError, match="--backend threads cannot honour --workdir"):
        run_batch(functions.double, [1], then=[functions.double], backend="processes,threads", workdir="/")
    with pytest.raises(UsageError, match="--backend threads cannot honour --chunk"):
        run_batch(functions.double, [1], then=[functions.double], backend="threads", chunk=2)
    results = run_batch(functions.double, [1], then=[functions.double], backend="processes,threads", chunk=2, grace=1)
    assert [one.value for one in results] == [4]


def test_the_command_line_refuses_in_one_line(cli: Cli) -> None:
    """Exit status 2, nothing on standard output."""
    done = cli("batch.call", "math:sqrt", "--type", "int", "--backend", "threads", "--workdir", "/", "--", "4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "--backend threads cannot honour --workdir" in done.stderr


def test_a_run_is_resumed_where_its_functions_find_their_folder(cli: Cli, tmp_path: Path) -> None:
    """In-process backends have the folder of the program that resumes them."""
    (tmp_path / "here.py").write_text("import os\ndef go(x): return os.getcwd() if x != '2' else 1 / 0\n")
    cli("batch.call", "here:go", "--backend", "threads", "--run-id", "here", "--", "1", "2")
    elsewhere = cli("batch.retry", "here", cwd="/")
    assert elsewhere.returncode == 2
    assert "--backend threads cannot honour --workdir" in elsewhere.stderr
    assert cli("batch.retry", "here").returncode == 1
