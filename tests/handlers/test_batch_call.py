"""``batch.call`` as its users meet it: results, failures, mistakes, resume, and real work checked by other programs."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from conftest import Cli
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Store
from manyhands.storage.schema import SCHEMA_VERSION

MINE = """
import hashlib, sys

def double(x): return x + x
def fails(x):
    print("tried", x)
    if x % 2: raise ValueError(f"odd {x}")
def strange(x): return {1, 2}
def sha(path):
    with open(path, "rb") as file: return hashlib.sha256(file.read()).hexdigest()
def pair(name, size="big"): return f"{name} is {size}"
async def waits(x): return x
number = 3
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A module of the user's own, in the folder where he works."""
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def test_results_are_json_lines(cli: Cli, mine: Path) -> None:
    """In the order of the inputs, one a line; nothing is said of None."""
    done = cli("batch.call", "mine:double", "--type", "int", "-j", "2", "--", "1", "2", "3")
    assert (done.returncode, done.stdout) == (0, "2\n4\n6\n")
    assert "3 jobs: 3 ok" in done.stderr
    done = cli("batch.call", "mine.py:double", "--tag", "--quiet", input="a\nb\n")
    assert (done.stdout, done.stderr) == ('a\t"aa"\nb\t"bb"\n', "")


def test_workers_do_not_import_the_program(cli: Cli, mine: Path) -> None:
    """What is called is found by its name: the tasks, and invoke, stay with the program that was called."""
    (mine / "looks.py").write_text("import sys\ndef loaded(_): return sorted({'invoke', 'asyncio'} & set(sys.modules))\n")
    done = cli("batch.call", "looks:loaded", "--quiet", "--", "x")
    assert (done.returncode, done.stdout) == (0, "[]\n")


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_failures_are_told_with_their_place(cli: Cli, mine: Path, backend: str) -> None:
    """Each in a line, the traceback once for each kind, a count at the end; exit 1; what was printed is there."""
    done = cli("batch.call", "mine:fails", "--type", "int", "--backend", backend, "--", "1", "2", "3", "5")
    assert done.returncode == 1
    assert done.stdout == "tried 1\ntried 2\ntried 3\ntried 5\n"
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.count("manyhands: job ") == 3
    assert "job 1 failed: ValueError: odd 1: mine:fails 1" in done.stderr
    assert "3 times ValueError at mine.py, line 7" in done.stderr
    assert "manyhands batch.retry" in done.stderr.partition("; again: ")[2]


def test_a_run_of_calls_is_shown_and_exported(cli: Cli, mine: Path) -> None:
    """Results and tracebacks are in the journal, as JSON and for people."""
    cli("batch.call", "mine:fails", "--type", "int", "--run-id", "f", "--", "1", "2")
    first, second = map(json.loads, cli("batch.export", "f").stdout.splitlines())
    assert (first["status"], first["error"], first["result"], first["argv"]) == (
        "failed",
        "ValueError: odd 1",
        None,
        ["mine:fails", "1"],
    )
    assert "mine.py" in first["traceback"]
    assert (second["status"], second["traceback"]) == ("ok", None)
    shown = cli("batch.show", "f", "--job", "1").stdout
    assert "ValueError: odd 1" in shown
    assert "Traceback" in shown
    assert "mine:fails" in cli("batch.show", "f").stdout
    assert "mine:fails" in cli("batch.list").stdout
    cli("batch.call", "mine:pair", "--csv", "/dev/stdin", "--run-id", "p", input="name,size\nx,small\n")
    assert json.loads(cli("batch.export", "p").stdout)["result"] == "x is small"
    assert 'result   "x is small"' in cli("batch.show", "p", "--job", "1").stdout
    assert '"x is small"' in cli("batch.export", "p", "--format", "csv").stdout.replace('""', '"')
    events = [json.loads(line) for line in cli("batch.call", "mine:double", "--json", "--", "a").stdout.splitlines()]
    assert [one["result"] for one in events if one["event"] == "finished"] == ["aa"]


def test_inputs_become_arguments(cli: Cli, mine: Path) -> None:
    """Columns by position and by name, and whole JSON values."""
    lines = '["a"]\n{"name": "a", "size": "b"}\n{"size": 1, "name": "n"}\n"s"\n'
    done = cli("batch.call", "mine:pair", "--jsonl", "/dev/stdin", "--quiet", input=lines)
    assert done.stdout.splitlines() == ["\"['a'] is big\"", '"a is b"', '"n is 1"', '"s is big"']
    assert cli("batch.call", "mine:pair", "--colsep", ",", "--quiet", input="a,b\n").stdout == '"a is b"\n'
    done = cli("batch.call", "mine:pair", "--each", "name=x,y", "--each", "size=1,2", "--quiet")
    assert done.stdout.splitlines() == ['"x is 1"', '"x is 2"', '"y is 1"', '"y is 2"']
    assert cli("batch.call", "mine:double", "--dry-run", "--", "a b").stdout == "mine:double 'a b'\n"
    mean = cli(
        "batch.call", "statistics:mean", "--jsonl", "/dev/stdin", "--backend", "threads", "--quiet", input="[1, 2]\n"
    )
    assert mean.stdout == "1.5\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["mine:double", "--backend", "dusk"],
            "--backend 'dusk': there is no such backend; choose one of processes, threads",
        ),
        (["mine:double", "--backend", "commands"], "--backend 'commands': it does not run functions"),
        (["mine:double", "--backend", "asyncio"], "mine:double is not one"),
        (["nosuch:double"], "there is no module 'nosuch'"),
        (["mine:doubel"], "mine has no doubel; did you mean double?"),
        (["mine:number"], "mine:number is not a function but an int"),
        (["mine.double"], "perhaps mine:double"),
        (["mine:pair", "--colsep", " "], "too many positional arguments"),
        (["mine:double", "--type", "int"], "the input 'a b c' is not of type int"),
        (["mine:double", "--type", "list"], "--type: expected one of str, int"),
        (["mine:double", "--result", "yaml"], "--result: expected one of json"),
        (["mine:double", "--chunk", "-1"], "--chunk -1: at least one is needed"),
        (["mine:double", "--chunk", "0"], "--chunk 0: at least one is needed"),
        (["mine:double", "--chunk", "many"], "--chunk 'many': expected a number, or auto"),
        (["mine:double", "--max-jobs-per-worker", "0"], "--max-jobs-per-worker 0: at least one is needed"),
        (["mine:double", "--start-method", "fork"], "--start-method: expected one of forkserver, spawn, got 'fork'"),
        (["mine:double", "--initargs", "[1]"], "--initargs needs --initializer, which is called with these"),
        (["mine:double", "--initializer", "mine:x", "--initargs", "1"], "expected a JSON list"),
        (["mine:double", "--initializer", "mine:x"], "mine has no x"),
        (["mine:double", "--order", "best"], "--order: expected one of input, random"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, mine: Path, own_state: Path, args: list[str], said: str) -> None:
    """Exit 2, nothing is run, and no run is left."""
    done = cli("batch.call", *args, input="a b c\n")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert Store(own_state).all() == []


def test_a_result_that_cannot_be_kept_fails_that_job(cli: Cli, mine: Path) -> None:
    """The others go on; exit 1, with what to ask for."""
    done = cli("batch.call", "mine:strange", "--", "a", "b")
    assert done.returncode == 1
    assert "2 jobs: 0 ok, 2 failed" in done.stderr
    assert "it returned a set, which JSON cannot hold" in done.stderr
    assert "--result repr, none or pickle-file" in done.stderr
    assert cli("batch.call", "mine:strange", "--result", "repr", "--quiet", "--", "a").stdout == '"{1, 2}"\n'


def test_async_functions_run_everywhere(cli: Cli, mine: Path) -> None:
    """In a loop of their own where the backend has none."""
    for backend in ("asyncio", "threads", "processes", "serial", "gevent"):
        assert cli("batch.call", "mine:waits", "--backend", backend, "--quiet", "--", "x").stdout == '"x"\n'


def test_a_run_is_gone_on_with(cli: Cli, mine: Path) -> None:
    """New inputs only; another function is refused; what failed is tried again."""
    assert cli("batch.call", "mine:double", "--run-id", "d", "--quiet", "--", "a").stdout == '"aa"\n'
    assert cli("batch.call", "mine:double", "--run-id", "d", "--quiet", "--", "a", "b").stdout == '"bb"\n'
    other = cli("batch.call", "mine:pair", "--run-id", "d", "--", "a")
    assert (other.returncode, other.stdout) == (2, "")
    assert "runs another function (mine:double)" in other.stderr
    cli("batch.call", "mine:fails", "--type", "int", "--run-id", "f", "--", "1", "2")
    (mine / "mine.py").write_text(MINE.replace("x % 2", "False"))
    again = cli("batch.retry", "f", cwd="/")
    assert again.returncode == 0
    assert again.stdout == "tried 1\n"


def test_a_journal_of_the_first_schema_is_read_and_brought_on(cli: Cli, mine: Path, own_state: Path) -> None:
    """Reading leaves it as it is; going on adds what functions return."""
    cli("batch", "false {}", "--run-id", "old", "--", "a")
    path = own_state / "runs/old/journal.db"
    with closing(sqlite3.connect(path)) as db:
        columns = {"began": ["sum"], "ended": ["sum", "result", "traceback", "host"], "execution": ["sum"]}
        for table, name in ((table, name) for table, names in columns.items() for name in names):
            db.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
        db.executescript("DROP TABLE seal; PRAGMA user_version = 1")
    assert json.loads(cli("batch.export", "old").stdout)["status"] == "failed"
    with closing(Journal.open(path)) as journal:
        assert journal._db.execute("PRAGMA user_version").fetchone() == (1,)
    assert cli("batch.retry", "old").returncode == 1
    with closing(Journal.open(path)) as journal:
        assert journal._db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert json.loads(cli("batch.export", "old").stdout)["attempts"] == 2


# -- real work -----------------------------------------------------------------------------------------------------------


@pytest.mark.sampled
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_hashes_of_real_files(cli: Cli, mine: Path, backend: str) -> None:
    """Every file of Python's own library, checked against sha256sum."""
    folder = Path(os.__file__).parent
    pattern = "**/*.py" if len(list(folder.glob("*.py"))) > 50 else "**/*"
    done = cli(
        "batch.call",
        f"{mine}/mine.py:sha",
        "--glob",
        f"{folder}/{pattern}",
        "--backend",
        backend,
        "--tag",
        "--quiet",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.split("\t") for line in done.stdout.splitlines())
    assert len(found) > 500
    names = "".join(f"{name}\0" for name in found)
    sums = subprocess.run(
        ["xargs", "-0", "sha256sum", "--"], input=names, capture_output=True, text=True, check=True
    ).stdout
    assert {name: json.loads(text) for name, text in found.items()} == {
        line[66:]: line[:64] for line in sums.splitlines()
    }


THUMBNAIL = """
import os
import random
from PIL import Image

def thumbnail(path, folder):
    with Image.open(path) as image:
        image.thumbnail((32, 32))
        target = os.path.join(folder, os.path.basename(path) + ".png")
        image.convert("RGBA").save(target)
        return list(image.size)
"""


def real_pictures() -> list[Path]:
    """Up to 200 pictures that Debian's icon themes or Python's own library have, each name once."""
    found = {
        path.name: path for path in [*Path("/usr/share/icons").rglob("*.png"), *Path(os.__file__).parent.rglob("*.gif")]
    }
    if len(found) < 10:
        pytest.skip("needs some pictures, as the Debian package adwaita-icon-theme has them")
    return sorted(found.values())[:200]


@pytest.mark.slow
def test_thumbnails_of_real_images(cli: Cli, tmp_path: Path) -> None:
    """Icons of the system, made small in worker processes, and looked at again."""
    image = pytest.importorskip("PIL.Image")
    pictures = real_pictures()
    (tmp_path / "images.py").write_text(THUMBNAIL)
    (tmp_path / "small").mkdir()
    rows = "".join(json.dumps({"path": str(path), "folder": "small"}) + "\n" for path in pictures)
    done = cli(
        "batch.call", "images:thumbnail", "--jsonl", "-", "-j", "2", "--timeout", "30", "--quiet", input=rows, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for path, line in zip(pictures, done.stdout.splitlines(), strict=True):
        with image.open(tmp_path / "small" / (path.name + ".png")) as small:
            assert list(small.size) == json.loads(line)
            assert max(small.size) <= 32


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_files_named_as_modules_of_python_disturb_nothing(start_method: str, cli: Cli, tmp_path: Path) -> None:
    """A random.py beside the function takes no module's place, neither in the function nor in what starts the workers."""
    for name in ("random", "tempfile", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    (tmp_path / "mine.py").write_text("import random\ndef inside(x): return random.__file__\n")
    done = cli("batch.call", "mine:inside", "--start-method", start_method, "--", "x", cold=True)
    assert (done.returncode, json.loads(done.stdout)) == (0, random.__file__), done.stderr


def test_inputs_that_end_early_without_a_journal(cli: Cli, tmp_path: Path) -> None:
    """What stands before the bad line is told and summed up; that is no mistake in what was typed."""
    (tmp_path / "x.jsonl").write_text("1\n4\nbad\n9\n")
    done = cli("batch.call", "math:sqrt", "--jsonl", "x.jsonl", "--no-journal", "-j", "1")
    assert (done.returncode, done.stdout) == (1, "1.0\n2.0\n")
    assert "2 jobs: 2 ok, further inputs not read" in done.stderr
    assert "line 3: not JSON" in done.stderr
    assert "run all again: nothing has been recorded" in done.stderr


def test_what_the_error_of_a_result_advises_can_be_done(cli: Cli, tmp_path: Path) -> None:
    """In the same run, which keeps what is done."""
    (tmp_path / "mine.py").write_text("def letters(x): return set(x)\n")
    call = ["batch.call", "mine:letters", "--run-id", "r"]
    refused = cli(*call, "--", "a")
    assert (refused.returncode, "choose --result repr" in refused.stderr) == (1, True)
    done = cli(*call, "--retry-failed", "--result", "repr", "--", "a")
    assert (done.returncode, json.loads(done.stdout)) == (0, "{'a'}"), done.stderr
