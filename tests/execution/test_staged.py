"""Lines of stages: what went well goes on, in its own time; a full belt holds back the stage before; nothing is lost by a kill."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import functions
from conftest import Cli, wait_for, with_tag
from handlers.test_batch_call import real_pictures
from manyhands import Status, UsageError, run_batch
from manyhands.core.events import Began, Finished, Summary
from manyhands.core.job import Job
from manyhands.core.limits import Backoff, Halt, Limits
from manyhands.execution.begin import begin
from manyhands.execution.stage_queue import StageQueue
from manyhands.storage.journal import Tally
from manyhands.storage.runs import Store
from manyhands.storage.stage_journals import Journals
from manyhands.work.plan import Plan, Stage
from manyhands.work.template import Template

STOPPED = f"stopped{os.getpid()}"
pytestmark = pytest.mark.usefixtures("nothing_left")


def plan_of(*lines: str, jobs: tuple[int, ...] = (), inputs: list[str], **limits: Any) -> Plan:
    """Shell lines as stages."""
    works = [Template.parse(line, shell="/bin/bash") for line in lines]
    jobs = jobs or (2,) * len(works)
    then = tuple(Stage(work, number, "commands") for work, number in zip(works[1:], jobs[1:], strict=True))
    return Plan(
        work=works[0],
        then=then,
        source={"kind": "args", "values": inputs},
        workdir=os.getcwd(),
        limits=Limits(jobs=jobs[0], backoff=Backoff(0), **limits),
    )


def values(outcomes: Any) -> list[Any]:
    return [one.value for one in outcomes]


# -- what goes through ---------------------------------------------------------------------------------------------------


def test_functions_get_what_the_one_before_returned() -> None:
    """On backends of their own; results in the order of the inputs, of the last stage only."""
    results = run_batch(
        functions.double,
        range(40),
        then=[functions.double, functions.double],
        jobs="2,1,2",
        ordered=True,
        backend="processes,serial,threads",
    )
    assert values(results) == [8 * n for n in range(40)]
    assert results.summary is not None
    assert results.summary.counts == {Status.OK: 40}


def test_commands_get_the_same_input(tmp_path: Path) -> None:
    """Each stage after the one before, for each input."""
    ledger = tmp_path / "ledger"
    stages = [f"echo {n} {{}} >> {ledger}; echo out{n}" for n in "abc"]
    results = list(run_batch(stages[0], [str(n) for n in range(20)], then=stages[1:], shell=True, ordered=True))
    assert [one.stdout.data for one in results] == [b"outc\n"] * 20
    noted = [line.split() for line in ledger.read_text().splitlines()]
    assert len(noted) == 60
    for number in range(20):
        assert [stage for stage, one in noted if one == str(number)] == ["a", "b", "c"]


def test_a_list_is_one_argument_for_the_next() -> None:
    """What was returned is handed on as it is."""
    assert values(run_batch(functions.describe, [(1, 2)], then=[functions.size_of], backend="threads")) == [2]


def test_what_failed_does_not_go_on() -> None:
    """It ends where it failed, is told once, and the others are not touched."""
    results = run_batch(functions.odd_fails, range(10), then=[functions.double], ordered=True, backend="threads")
    outcomes = list(results)
    assert [one.status for one in outcomes] == [Status.OK, Status.FAILED] * 5
    assert [one.value for one in outcomes if one.ok] == [0, 4, 8, 12, 16]
    assert results.summary is not None
    assert (results.summary.counts, results.summary.left) == ({Status.OK: 5, Status.FAILED: 5}, 0)


def test_each_stage_tries_again_by_itself(tmp_path: Path) -> None:
    """The stages before are not repeated."""
    once = tmp_path / "once"
    ledger = tmp_path / "ledger"
    results = list(
        run_batch(
            f": {{}}; echo one >> {ledger}",
            ["x"],
            then=[f": {{}}; echo two >> {ledger}; test -e {once} || ! touch {once}"],
            shell=True,
            retries=2,
            backoff=0,
        )
    )
    assert [(one.status, one.attempt.number) for one in results] == [(Status.OK, 2)]
    assert ledger.read_text().split() == ["one", "two", "two"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"jobs": "1,2,3"}, "jobs=1,2,3: there are 2 stages"),
        ({"backend": "threads,commands"}, "backend='commands': it does not run functions"),
        ({"then": [functions.describe, functions.die]}, "cannot be called with"),
    ],
)
def test_what_cannot_be_meant(more: dict[str, Any], said: str, own_state: Path) -> None:
    """It is said before anything is made."""
    with pytest.raises(UsageError, match=said):
        run_batch(functions.double, [1], **{"then": [functions.double], **more})
    assert not own_state.exists()


# -- order and room ------------------------------------------------------------------------------------------------------


def test_a_slow_stage_holds_back_the_one_before(tmp_path: Path) -> None:
    """Between them lies what the belt holds and what was already handed out, however many inputs there are."""
    plan = plan_of("true {}", "sleep 0.02; true {}", jobs=(2, 1), inputs=[str(n) for n in range(400)], delay=0.001)
    line = begin(plan, Store(tmp_path / "state"))
    done, most, lead = [0, 0], 0, 0
    for event in line.events():
        if isinstance(event, Finished):
            done[event.stage - 1] += 1
            lead = done[0] - done[1]
            most = max(most, lead)
    assert done == [400, 400]
    assert most <= 8 + 2 + 2 + 10  # the belt, both stages' hands, and what is on its way


def test_a_full_line_has_more_room_where_the_next_stage_empties_it() -> None:
    """A slow stage finds the belt as it was; a quick one finds it longer each time, so that it can take chunks."""
    belt, job = StageQueue(4), Job(1, b"k", (b"x",))
    assert [belt.put(job) for _ in range(4)] == [True, False, False, False]
    assert belt.full
    assert [belt.take() is job and belt.tell_before() for _ in range(4)] == [True, False, False, False]
    assert (belt.take(), belt.room) == (None, 8)
    assert (belt.take(), belt.room) == (None, 8)  # nobody was held back since
    for _ in range(20):
        while not belt.full:
            belt.put(job)
        assert belt.take()
        assert belt.put(job) is False
        assert belt.room == 8  # it was never empty
    for _ in range(20):
        while not belt.full:
            belt.put(job)
        while belt.take():
            pass
    assert belt.room == 4096


@pytest.mark.parametrize(
    ("lines", "limits"),
    [
        (("true {}", "true {}", "true {}"), {}),
        (("test {} != 7", "test {} != 9", "test {} != 11"), {"retries": 1}),
        (("true {}", "test {} != 5", "true {}"), {"halt": Halt.parse("soon,fail=1")}),
        (("sleep 0.01; true {}", "true {}"), {"halt": Halt.parse("now,success=9")}),
    ],
)
def test_the_sum_is_what_the_journals_say(lines: tuple[str, ...], limits: dict[str, Any], tmp_path: Path) -> None:
    """Done, failed and left, of all stages together."""
    line = begin(plan_of(*lines, inputs=[str(n) for n in range(60)], **limits), Store(tmp_path / "state"))
    (summary,) = (one for one in line.events() if isinstance(one, Summary))
    with closing(Journals.open(line.run)) as journals:
        assert Tally(summary.counts, summary.left) == journals.tally()


def test_stages_work_at_the_same_time(tmp_path: Path) -> None:
    """The second begins before the first has ended."""
    plan = plan_of("sleep 0.05; true {}", "sleep 0.05; true {}", inputs=[str(n) for n in range(20)])
    seen = [
        (event.stage, event.attempt.job.number)
        for event in begin(plan, Store(tmp_path / "state")).events()
        if isinstance(event, Began)
    ]
    assert seen.index((2, 1)) < seen.index((1, 20))


def test_a_halt_rule_holds_for_the_line(tmp_path: Path) -> None:
    """Failures count wherever they are; success only at the end."""
    plan = plan_of("true {}", "test {} != 5", inputs=[str(n) for n in range(3000)], halt=Halt.parse("soon,fail=1"))
    (summary,) = (one for one in begin(plan, Store(tmp_path / "a")).events() if isinstance(one, Summary))
    assert (summary.halted, summary.counts[Status.FAILED]) == ("soon,fail=1", 1)
    assert summary.jobs < 3000
    plan = plan_of(
        "true {}", "sleep 0.01; true {}", inputs=[str(n) for n in range(3000)], halt=Halt.parse("now,success=7")
    )
    (summary,) = (one for one in begin(plan, Store(tmp_path / "b")).events() if isinstance(one, Summary))
    assert summary.counts[Status.OK] >= 7
    assert summary.jobs < 3000


def test_leaving_early_leaves_nothing(tmp_path: Path) -> None:
    """Threads, processes, files."""
    line = begin(plan_of("true {}", "sleep 60; : {}", inputs=[str(n) for n in range(100)]), Store(tmp_path / "state"))
    with closing(line.events()) as events:
        assert any(isinstance(event, Began) and event.stage == 2 for event in events)
        assert with_tag(f"MH_RUN={line.run.id}") != []
    assert with_tag(f"MH_RUN={line.run.id}") == []


def test_an_error_of_one_stage_ends_the_line() -> None:
    """And is raised as it is; the others are ended."""
    with pytest.raises(Exception, match="the initializer failed"):
        list(
            run_batch(
                functions.double,
                range(1000),
                then=[functions.double],
                backend="threads",
                initializer=functions.refuse,
            )
        )


# -- by its users --------------------------------------------------------------------------------------------------------


def test_a_line_is_told_as_one_run(cli: Cli, tmp_path: Path) -> None:
    """stdout of the last stage, one summary; show, export and list know the stages."""
    done = cli(
        "batch",
        "echo one {}",
        "--then",
        "test {} != 2",
        "--then",
        "echo three {}",
        "-j",
        "2,1,3",
        "--run-id",
        "l",
        "--",
        "1",
        "2",
        "3",
    )
    assert (done.returncode, done.stdout) == (1, "three 1\nthree 3\n")
    assert "job 2 failed with exit status 1: test 2 '!=' 2" in done.stderr
    assert "3 jobs: 2 ok, 1 failed" in done.stderr
    shown = cli("batch.show", "l").stdout
    assert "stage 1  3 ok, 0 failed, 0 left (-j 2): echo one {}" in shown
    assert "stage 2  2 ok, 1 failed, 0 left (-j 1): test {} != 2" in shown
    assert "stage 3  2 ok, 0 failed, 0 left (-j 3): echo three {}" in shown
    records = [json.loads(line) for line in cli("batch.export", "l").stdout.splitlines()]
    assert [(one["stage"], one["status"], one["argv"][0]) for one in records] == [
        (3, "ok", "echo"),
        (2, "failed", "test"),
        (3, "ok", "echo"),
    ]
    assert "echo one {} --then" in cli("batch.list").stdout
    one = cli("batch.show", "l", "--job", "2").stdout
    assert one.count("stage    ") == 2
    assert "one 2" in one
    assert cli("batch", "echo {}", "--then", "wc -c {}", "--dry-run", "--", "a").stdout == "echo a\nwc -c a\n"


def test_what_failed_on_a_stage_is_retried_there(cli: Cli, tmp_path: Path) -> None:
    """And goes on from there."""
    stages = [
        "batch",
        "echo one {} >> ledger",
        "--then",
        "echo two {} >> ledger; test -e ok",
        "--then",
        "echo three {} >> ledger",
    ]
    done = cli(*stages, "--shell", "--run-id", "l", "-j", "1", "--", "a", "b")
    assert done.returncode == 1
    (tmp_path / "ok").touch()
    again = cli("batch.retry", "l")
    assert again.returncode == 0, again.stderr
    assert "2 jobs: 2 ok" in again.stderr
    noted = (tmp_path / "ledger").read_text().splitlines()
    assert sorted(noted) == sorted(["one a", "one b", "two a", "two b", "two a", "two b", "three a", "three b"])


def test_another_line_is_refused(cli: Cli) -> None:
    """A run is gone on with only by the same stages."""
    assert cli("batch", "true {}", "--then", "true {}", "--run-id", "l", "--", "a").returncode == 0
    other = cli("batch", "true {}", "--then", "false {}", "--run-id", "l", "--", "a")
    assert other.returncode == 2
    assert "another command" in other.stderr
    more = cli("batch", "true {}", "--then", "true {}", "--run-id", "l", "--", "a", "b")
    assert more.returncode == 0
    assert "2 jobs: 2 ok" in more.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["batch", "true {}", "--then", "true {", "--", "a"], "column"),
        (["batch", "true {}", "--then", "true {x}", "--", "a"], "there is no column 'x'"),
        (["batch", "true {}", "--then", "true {}", "-j", "1,2,3", "--", "a"], "--jobs 1,2,3: there are 2 stages"),
        (
            ["batch", "true {}", "--then", "true {}", "--backend", "commands,threads", "--", "a"],
            "it does not run commands",
        ),
        (["batch.call", "math:sqrt", "--then", "math:nosuch", "--", "1"], "math has no nosuch"),
        (["batch.call", "math:sqrt", "--then", "math:sqrt", "--result", "repr", "--", "1"], "--result repr"),
        (["batch", "true {}", "--then", "true {}", "--fail-if-empty"], "no inputs"),
    ],
)
def test_mistakes_in_a_line(cli: Cli, own_state: Path, args: list[str], said: str) -> None:
    """One line, exit 2, no run."""
    done = cli(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert Store(own_state).all() == []


def test_ctrl_c_ends_all_stages(environment: dict[str, str], tmp_path: Path, own_state: Path) -> None:
    """In good order; the rest can be resumed, and each job goes on where it was."""
    args = [sys.executable, "-m", "manyhands"]
    stages = [
        "batch",
        "echo one {} >> ledger",
        "--then",
        "sleep 0.2; echo two {} >> ledger",
        "--then",
        "echo three {} >> ledger",
        "--shell",
        "-j",
        "2",
        "--run-id",
        STOPPED,
        "--",
        *map(str, range(20)),
    ]
    process = subprocess.Popen([*args, *stages], env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "ledger").exists() and (tmp_path / "ledger").read_text().count("three") >= 2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == -signal.SIGINT
    assert "stopped by SIGINT" in said
    assert with_tag(f"MH_RUN={STOPPED}") == []
    done = subprocess.run(
        [*args, "batch.resume", STOPPED], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    noted = (tmp_path / "ledger").read_text().splitlines()
    for word in ("one", "two", "three"):  # what was stopped after its echo, but before its end, is done again
        counts = [noted.count(f"{word} {n}") for n in range(20)]
        assert min(counts) == 1
        assert sum(counts) <= 20 + 2
    with closing(Journals.open(Store(own_state).find(STOPPED))) as journals:
        assert (journals.tally().counts, journals.tally().left) == ({Status.OK: 20}, 0)


IMAGES = """
import hashlib, os
from PIL import Image

def thumbnail(path):
    with Image.open(path) as image:
        image.thumbnail((24, 24))
        target = os.path.join("small", os.path.basename(path) + ".png")
        image.convert("RGBA").save(target)
    note("thumbnail", path)
    return target

def grey(path):
    target = os.path.join("grey", os.path.basename(path))
    with Image.open(path) as image:
        image.convert("L").save(target)
    note("grey", path)
    return target

def digest(path):
    with open(path, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    note("digest", path)
    return [path, found]

def note(what, path):
    with open("ledger", "a") as file:
        file.write(what + " " + os.path.basename(path).removesuffix(".png") + "\\n")
"""


@pytest.mark.slow
def test_real_pictures_through_three_stages_killed_and_resumed(
    environment: dict[str, str], tmp_path: Path, own_state: Path
) -> None:
    """Made small, made grey, hashed, each in processes; killed with -9 three times; every result right, nothing lost."""
    pytest.importorskip("PIL.Image")
    pictures = [str(path) for path in real_pictures()]
    (tmp_path / "images.py").write_text(IMAGES)
    for name in ("small", "grey"):
        (tmp_path / name).mkdir()
    manyhands = [sys.executable, "-m", "manyhands"]
    args = [
        *manyhands,
        "batch.call",
        "images:thumbnail",
        "--then",
        "images:grey",
        "--then",
        "images:digest",
        "-j",
        "2,1,1",
        "--backend",
        "processes,processes,threads",
        "--run-id",
        "l",
        "--chunk",
        "1",
        "--",
        *pictures,
    ]
    ledger = tmp_path / "ledger"
    for kill in range(1, 4):
        process = subprocess.Popen(
            args, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        least = kill * len(pictures) // 2
        wait_for(lambda least=least: ledger.exists() and ledger.read_text().count("\n") >= least, 60)  # type: ignore[misc]
        process.kill()
        process.wait()
        args = [*manyhands, "batch.resume", "l"]
    done = subprocess.run(args, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    with closing(Journals.open(Store(own_state).find("l"))) as journals:
        records = list(journals.records())
        assert (journals.tally().counts, journals.tally().left) == ({Status.OK: len(pictures)}, 0)
    for record, picture in zip(records, pictures, strict=True):
        assert record.outcome is not None
        path, found = record.outcome.value
        assert Path(path).name == Path(picture).name + ".png"
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == found
    noted = ledger.read_text().splitlines()
    assert len(noted) <= 3 * len(pictures) + 3 * (2 + 1 + 64 + 1)
    for what, most in (("thumbnail", 2), ("grey", 1)):
        assert sum(line.startswith(what) for line in noted) <= len(pictures) + 3 * most
