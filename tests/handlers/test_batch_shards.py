"""``--shard K/N``, ``batch.merge``, ``batch.export --archive`` and ``batch.import`` as they are typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from conftest import Cli, Said, wait_for
from manyhands import Lines, UsageError, run_batch
from manyhands.execution.carrying import export_to, import_from
from manyhands.execution.merging import merge
from manyhands.storage.runs import Store

FILE = "in.txt"


def lines(cli: Cli, *args: str, **more: Any) -> list[str]:
    """What is printed, when all goes well."""
    done = cli(*args, **more)
    assert done.returncode == 0, done.stderr
    return [*done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--shard", "4/3"], "--shard '4/3': expected K/N, part K of N, such as 2/4, with K from 1 to N"),
        (["--shard", "0/3"], "--shard '0/3': expected K/N, part K of N, such as 2/4, with K from 1 to N"),
        (["--shard", "x/y"], "--shard 'x/y': expected K/N, part K of N, such as 2/4, with K from 1 to N"),
        (["--shard", "auto"], "--shard auto: CI_NODE_INDEX and CI_NODE_TOTAL are not set; give K/N, such as 2/4"),
        (["--times", "t"], "--times has no effect without --shard"),
        (["--shard", "1/2", "--times", "none"], "--times none: No such file or directory"),
    ],
)
def test_mistakes(args: list[str], told: str, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, exit 2, for all three tasks."""
    for name in ("CI_NODE_INDEX", "CI_NODE_TOTAL"):
        monkeypatch.delenv(name, raising=False)
    for task in (["batch", "echo"], ["batch.call", "math:sqrt"], ["batch.script", "x.py", "--python", "python3"]):
        assert said(*task, *args, "--", "1") == (2, f"manyhands: {told}")


def test_no_journal(said: Said) -> None:
    """A shard is a run on disk."""
    assert said("batch.call", "math:sqrt", "--no-journal", "--shard", "1/2", "--", "1") == (
        2,
        "manyhands: --no-journal: --shard needs the journal; leave one of the two out",
    )


def test_numbers_are_those_of_the_whole(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """From a pipe, a file, and arguments; also in a dry run; in the order in which they begin, whatever that is."""
    text = "".join(f"i{n}\n" for n in range(1, 8))
    (tmp_path / FILE).write_text(text)
    expected = ["2 i2", "5 i5"]
    assert lines(cli, "batch", "echo {#} {}", "--shard", "2/3", input=text) == expected
    assert lines(cli, "batch", "echo {#} {}", "--shard", "2/3", "--from", FILE) == expected
    assert lines(cli, "batch", "echo {#} {}", "--shard", "2/3", "--dry-run", "--", *text.split()) == [
        f"echo {one}" for one in expected
    ]
    for order in ("random", "longest"):
        assert sorted(lines(cli, "batch", "echo {#} {}", "--shard", "2/3", "--order", order, "--from", FILE)) == expected
    auto = {"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "manyhands", "batch", "echo {#} {}", "--shard", "auto", "--from", FILE],
        env=environment | auto,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == expected


def test_every_kind_of_batch(cli: Cli, tmp_path: Path) -> None:
    """Groups, stages, hosts, functions, scripts and tables of several columns are divided, too."""
    inputs = ["--", *"abcde"]
    assert lines(cli, "batch", "echo {#} {}", "--max-args", "2", "--shard", "1/2", *inputs) == ["1 a b", "3 e"]
    assert lines(cli, "batch", "true {}", "--then", "echo {#} {}", "--shard", "2/2", *inputs) == ["2 b", "4 d"]
    hosts = ["--on-each", "x,y", "--ssh", "true"]
    assert lines(cli, "batch", "echo {host} {}", *hosts, "--shard", "2/4", "--dry-run", *inputs) == [
        "echo y a",
        "echo y c",
        "echo y e",
    ]
    assert lines(cli, "batch.call", "builtins:len", "--shard", "2/2", "--", "a", "bb", "ccc", "dddd") == ["2", "4"]
    (tmp_path / "s.py").write_text("import sys; print(sys.argv[1:])\n")
    assert lines(cli, "batch.script", "s.py {#}", "--shard", "2/2", "--", "a", "b") == ["['2']"]
    (tmp_path / "t.csv").write_text("name,size\nx,1\ny,2\n")
    assert lines(cli, "batch", "echo {size} {name}", "--csv", "t.csv", "--shard", "2/2") == ["2 y"]


def test_a_shard_says_which_it_is(cli: Cli, own_state: Path, tmp_path: Path) -> None:
    """In show, in the list, in the report; a run of all jobs says nothing, and what is no shard does no harm."""
    lines(cli, "batch", "echo {}", "--shard", "2/3", "--run-id", "p", "--", "a", "b", "c")
    lines(cli, "batch", "echo {}", "--run-id", "whole", "--", "a")
    assert lines(cli, "batch.show", "p")[0] == "run      p (complete), shard 2/3"
    assert lines(cli, "batch.show", "whole")[0] == "run      whole (complete)"
    listed = lines(cli, "batch.list")
    assert ["  shard 2/3: " in line for line in listed] == [False, False, True]
    records = [json.loads(line) for line in lines(cli, "batch.list", "--json")]
    assert [record["shard"] for record in records] == [None, "2/3"]
    assert cli("batch.report", "p", "-o", "p.html").returncode == 0
    assert "<dt>shard</dt><dd>2/3</dd>" in (tmp_path / "p.html").read_text()
    path = own_state / "runs" / "p" / "run.json"
    path.write_text(path.read_text().replace('"count": 3', '"count": "x"'))
    assert cli("batch.list").returncode == 0


def test_more_shards_than_inputs(cli: Cli) -> None:
    """An empty one is a run, which can be merged; no inputs at all, too, and with --fail-if-empty a failure."""
    for k in ("1", "2", "3"):
        assert lines(cli, "batch", "echo {}", "--shard", f"{k}/3", "--run-id", f"p{k}", "--fail-if-empty", "--", "a") == [
            "a"
        ] * (k == "1")
    assert lines(cli, "batch.merge", "p1", "p2", "p3", "--run-id", "all") == []
    assert [json.loads(one)["ok"] for one in lines(cli, "batch.list", "--json", "--name", "all")] == [1]
    done = cli("batch", "echo {}", "--shard", "1/2", "--run-id", "e1", input="")
    assert (done.returncode, done.stderr) == (0, "manyhands: no inputs: nothing to run\n")
    assert lines(cli, "batch", "echo {}", "--shard", "2/2", "--run-id", "e2", input="") == []
    assert lines(cli, "batch.merge", "e1", "e2", "--run-id", "none") == []
    assert cli("batch", "echo {}", "--shard", "1/2", "--fail-if-empty", input="").returncode == 2


def test_a_shard_that_was_killed(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """Keeps its share: a resume, or the same command, does the rest of it, and each job is done once; another shard, or other inputs, do
    not take its name."""
    script = f"echo {{}} >> {tmp_path}/done; test -e {tmp_path}/go || {{{{ touch {tmp_path}/held; sleep 600; }}}}"
    command = ["batch", script, "--shell", "--shard", "2/2", "--run-id", "p2", "-j", "1", "--order", "random"]
    inputs = ["--", "a", "b", "a", "b", "a", "b"]
    process = subprocess.Popen([sys.executable, "-m", "manyhands", *command, *inputs], env=environment, cwd=tmp_path)
    wait_for((tmp_path / "held").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "go").touch()
    other = cli(*(word.replace("2/2", "1/2") for word in command), *inputs)
    assert other.returncode == 2 and "run p2 exists and is shard 2/2, this is 1/2" in other.stderr
    more = cli(*command, *inputs, "c")
    assert more.returncode == 2 and "run p2 exists and was divided from other inputs" in more.stderr
    whole = cli(*(word for word in command if word not in ("--shard", "2/2")), *inputs)
    assert whole.returncode == 2 and "run p2 exists and is shard 2/2, this is the whole" in whole.stderr
    archive = cli("batch.export", "p2", "--archive", "half.zip")  # before it is resumed: what has not ended is lost there
    assert archive.returncode == 0, archive.stderr
    assert cli("batch.import", "half.zip", "--run-id", "half").returncode == 0
    half = [json.loads(one) for one in lines(cli, "batch.export", "half")]
    assert {(one["input"], one["status"]) for one in half} == {("b", "lost")}
    assert cli("batch.resume", "p2").returncode == 0
    found = [json.loads(one) for one in lines(cli, "batch.export", "p2")]
    assert sorted((one["job"], one["input"], one["status"]) for one in found) == [(n, "b", "ok") for n in (2, 4, 6)]
    assert sorted((tmp_path / "done").read_text().split()) == ["b"] * 4  # one of them twice: it was killed
    assert "nothing new to run" in cli(*command, *inputs).stderr


def test_the_way_through_ci(cli: Cli, tmp_path: Path) -> None:
    """Two machines, an archive of each, and one report of all elsewhere; then the times divide the next run."""
    (tmp_path / FILE).write_text("0.2\nx\n0\n0\n")
    for k in ("1", "2"):
        state = ["--state-dir", f"m{k}"]
        cli("batch", "sleep {}", "--from", FILE, "--shard", f"{k}/2", "--run-id", f"p{k}", "--retries", "0", *state)
        assert lines(cli, "batch.export", f"p{k}", "--archive", f"p{k}.zip", *state) == []
        assert lines(cli, "batch.import", f"p{k}.zip", "--state-dir", "report") == []
    here = ["--state-dir", "report"]
    merged = cli("batch.merge", "p1", "p2", "--run-id", "all", *here)
    assert merged.stderr == "manyhands: merged 2 shards into run all: 4 jobs, 3 ok, 1 failed\n"
    (tmp_path / "junit.xml").write_text(cli("batch.export", "all", "--format", "junit", *here).stdout)
    (suite,) = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert [case.name for case in suite] == ["1: 0.2", "2: x", "3: 0", "4: 0"]
    summary = cli("batch.export", "all", "--format", "summary", *here).stdout
    assert "Run all: 4 jobs: 3 ok, 1 failed" in summary and "| 2 | x | failed with exit status 1 |" in summary
    (tmp_path / "times").write_text(cli("batch.export", "all", "--format", "times", *here).stdout)
    assert lines(cli, "batch", "echo {}", "--from", FILE, "--shard", "1/2", "--times", "times") == ["0.2"]
    for task in ("batch.resume", "batch.retry"):
        done = cli(task, "all", *here)
        assert done.returncode == 2 and "it can only be read" in done.stderr and done.stderr.count("\n") == 1
    lines(cli, "batch.import", "p1.zip", "--run-id", "mine", "--trust", *here)
    assert cli("batch.resume", "mine", *here).returncode == 0


def test_an_import_that_is_killed(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """Leaves no run, and can be repeated."""
    lines(cli, "batch", "echo {}", "--run-id", "r", "--", "a")
    lines(cli, "batch.export", "r", "--archive", "r.zip")
    script = """
import os, signal
from pathlib import Path
from manyhands.execution.carrying import import_from
from manyhands.storage.runs import Store
from manyhands.storage.unpacking import Archive
Archive._check = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
import_from(Store(Path("there")), Path("r.zip"), run_id=None, trusted=False, most=1 << 20)
"""
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name[:5] for path in (tmp_path / "there" / "runs").iterdir()] == [".new-"]
    assert cli("batch.list", "--state-dir", "there").stderr == "there are no runs yet\n"
    assert cli("batch.import", "r.zip", "--state-dir", "there").returncode == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["batch.merge", "--run-id", "x"], "no runs to merge: name all shards of one run"),
        (["batch.merge", "r"], "batch.merge: name the new run with --run-id"),
        (["batch.merge", "r", "--run-id", "x"], "the run r is no shard: --shard makes one"),
        (["batch.import", "none.zip"], "none.zip: No such file or directory"),
        (["batch.import", "r.zip", "--max-size", "1k"], "r.zip: it holds"),
        (["batch.import", "r.zip"], "the run r exists: choose another name with --run-id"),
        (["batch.import", "r.zip", "--run-id", "../x"], "--run-id '../x': use letters"),
        (["batch.export", "r", "--archive", "/nowhere/x"], "--archive '/nowhere/x': there is no such folder"),
        (["batch.export", "r", "--archive", "."], "--archive '.': it is a folder"),
    ],
)
def test_mistakes_about_runs(args: list[str], told: str, cli: Cli) -> None:
    """One line, exit 2."""
    lines(cli, "batch", "echo {}", "--run-id", "r", "--", "a")
    lines(cli, "batch.export", "r", "--archive", "r.zip")
    done = cli(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"manyhands: {told}") and done.stderr.count("\n") == 1


def test_in_a_program(tmp_path: Path) -> None:
    """Items come back as they were given, also those of an iterator, which is read to its end first; a source, too."""
    items = [(1, {"a"}), (2, {"b"}), (3, {"c"})]
    for given in (items, iter(items)):
        found = list(run_batch(len_of, given, shard="2/2", backend="threads", jobs=1, state_dir=tmp_path / "s"))
        assert [(one.number, one.input, one.value) for one in found] == [(2, (2, {"b"}), 3)]
    (tmp_path / FILE).write_text("a\nb\nc\n")
    sourced = run_batch("echo {}", Lines(str(tmp_path / FILE)), shard="1/2", ordered=True, state_dir=tmp_path / "s")
    assert [(one.number, one.input) for one in sourced] == [(1, "a"), (3, "c")]
    named = run_batch("echo {x}", [{"x": "p"}, {"x": "q"}], shard="2/2", state_dir=tmp_path / "s")
    assert [(one.number, one.input, one.stdout.text) for one in named] == [(2, {"x": "q"}, "q\n")]
    with pytest.raises(UsageError, match=r"shard='4/3': expected K/N"):
        run_batch("true", ["a"], shard="4/3")
    with pytest.raises(UsageError, match="times has no effect without shard"):
        run_batch("true", ["a"], times="x")


def len_of(number: int, some: set[str]) -> int:
    return number + len(some)


def test_a_hundred_thousand_inputs(tmp_path: Path) -> None:
    """Each is done in exactly one of three shards, and the shards become one run, there and after a journey."""
    store, there = Store(tmp_path / "s"), Store(tmp_path / "t")
    inputs = [f"{number} é" for number in range(100_000)]
    for k in (1, 2, 3):
        with run_batch(
            str.upper, inputs, shard=f"{k}/3", run_id=f"p{k}", backend="threads", state_dir=store.state
        ) as results:
            assert sum(one.ok for one in results) == len(range(k, 100_001, 3))
        export_to(store.find(f"p{k}"), tmp_path / f"p{k}.zip")
        import_from(there, tmp_path / f"p{k}.zip", run_id=None, trusted=True, most=1 << 30)
    found, _ = merge(there, there.all(), "all")
    with closing(found.journal()) as journal:
        numbers = [record.job.number for record in journal.records()]
    assert numbers == list(range(1, 100_001))
    assert list(run_batch(str.upper, inputs, run_id="all", backend="threads", state_dir=there.state)) == []
