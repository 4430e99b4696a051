"""Commands in messages can be typed as they stand, with the name that was used, and quoted; options are called what the caller calls them."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import HERE, Cli
from manyhands import Args, Csv, Glob, Lines, UsageError, Zip, map_batch, run_batch
from manyhands.cli.naming import called_as
from manyhands.core import hints
from manyhands.storage.runs import Store


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What one test says of the program's name holds for no other."""
    words = hints._Called.words
    yield
    hints.call_it(words)


def test_a_command_is_quoted_for_a_shell() -> None:
    """Whatever stands in it; a state folder only if one was given."""
    hints.call_it(lambda: ("scripts/my run",))
    assert hints.typed("batch.resume", "7f3a") == "'scripts/my run' batch.resume 7f3a"
    line = hints.typed("batch", "echo {}", "--", "a b", state_dir="it's here")
    assert shlex.split(line) == ["scripts/my run", "batch", "echo {}", "--", "a b", "--state-dir", "it's here"]


def test_examples_in_texts_have_the_name_too() -> None:
    """But only where the text is a command of ours."""
    hints.call_it(lambda: ("python", "-m", "manyhands"))
    assert hints.typed_as_here("manyhands proc.tree") == "python -m manyhands proc.tree"
    assert hints.typed_as_here("concurrent.futures") == "concurrent.futures"


@pytest.mark.parametrize(
    ("argv", "orig", "words"),
    [
        (["/p/manyhands/__main__.py", "x"], ["python3", "-m", "manyhands", "x"], ["python3", "-m", "manyhands"]),
        (["/p/x.py", "-m"], ["python3", "-X", "dev", "-m", "x", "-m"], ["python3", "-X", "dev", "-m", "x"]),
        (["prog.py", "x"], ["python3", "prog.py", "x"], ["python3", "prog.py"]),
        (["gone", "x"], ["python3", "/elsewhere", "x"], ["gone"]),
        ([""], ["python3"], ["manyhands"]),
    ],
)
def test_how_python_was_called_is_how_it_is_called_again(argv: list[str], orig: list[str], words: list[str]) -> None:
    """A module, or a file that is no program."""
    assert list(called_as(argv, orig)) == words


def test_a_program_on_path_goes_by_its_name_and_others_by_their_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was typed, which need not be where PATH would find another."""
    for folder in ("bin", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mh").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert list(called_as([str(tmp_path / "bin/mh")], [])) == ["mh"]
    assert list(called_as([str(tmp_path / "other/mh")], [])) == [str(tmp_path / "other/mh")]


def test_a_store_says_where_its_runs_are_only_if_that_was_asked_for(tmp_path: Path) -> None:
    """Else the next command finds them anyway."""
    hints.call_it(lambda: ("mh",))
    assert Store(tmp_path).typed("batch.list") == "mh batch.list"
    assert Store(tmp_path, given="my runs").typed("batch.list") == "mh batch.list --state-dir 'my runs'"


def test_what_a_summary_advises_can_be_typed(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """By every way to call the program, with a state folder that has a blank in its name: the second command finds the run."""
    ways = [
        ["manyhands"],
        [sys.executable, "-m", "manyhands"],
        ["invoke", "--search-root", str(HERE)],
    ]
    for number, way in enumerate(ways):
        state = f"my runs {number}"
        done = subprocess.run(
            [*way, "batch", "sh -c 'test -e {}'", "--state-dir", state, "--", "file"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        command = done.stderr.strip().rpartition("; again: ")[2]
        assert command.startswith(shlex.join(way))
        (tmp_path / "file").touch()
        again = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert again.returncode == 0, again.stderr
        (tmp_path / "file").unlink()


def test_scripts_run_is_named_and_jobs_do_not_inherit_that(cli: Cli, environment: dict[str, str]) -> None:
    """It tells by a variable how it was called."""
    named = {**environment, "MH_CALLED_AS": "scripts/run"}
    done = cli("batch", "sh -c 'env; exit 1'", "--", "a", env=named)
    assert "; again: scripts/run batch.retry" in done.stderr
    assert "MH_CALLED_AS" not in done.stdout


# -- options ---------------------------------------------------------------------------------------------------------------

SPARED = {"web", "admin", "cli", "handlers", "host", "options", "render", "tour"}
"""What only tasks reach says options as they are typed."""
TASKS_ONLY = {
    "allowed.py",  # it tells of the options of a consumer, which is always a command
    "expect.py",
    "retry.py",
    "listing.py",
    "fork_demo.py",
    "start.py",
    "lean_invoke.py",
    "hints.py",
    "__main__.py",
    "_tasks.py",  # the tasks themselves, which a wheel has within the package
}
BOTH_WAYS = ("(in a program", "in a program;", "Csv, JsonLines")
ASKED = {"option_name", "given_as", "switch_name"}


def spelt(path: Path) -> Iterator[str]:
    """The texts of a module that name an option as it is typed, other than for the functions that spell them for the caller."""
    tree = ast.parse(path.read_text())
    asked = {
        id(argument)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ASKED
        for argument in call.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts = [one.value for one in node.values if isinstance(one, ast.Constant)]
        elif isinstance(node, ast.Raise) and node.exc:
            texts = [one.value for one in ast.walk(node.exc) if isinstance(one, ast.Constant) and id(one) not in asked]
        else:
            continue
        whole = "".join(str(one) for one in texts)
        if re.search(r"(?<![\w-])--[a-z]", whole) and not any(words in whole for words in BOTH_WAYS):
            yield f"{path.name}:{node.lineno}: {whole}"


def test_messages_ask_how_the_caller_writes_an_option() -> None:
    """Whoever calls from a program reads ``jobs=``: no module that programs reach spells ``--jobs`` by itself."""
    package = Path(hints.__file__).parents[1]
    paths = [
        path
        for path in package.rglob("*.py")
        if path.name not in TASKS_ONLY and not SPARED & set(path.relative_to(package).parts)
    ]
    assert len(paths) > 100
    assert [text for path in paths for text in spelt(path) if " --then " not in text] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"jobs": "many"}, "jobs='many': expected a number"),
        ({"jobs": "-99999"}, "jobs=-99999 leaves none"),
        ({"timeout": "soon"}, "timeout='soon': expected"),
        ({"timeout": 0}, "timeout=0: expected more than 0"),
        ({"grace": "x"}, "grace='x': expected"),
        ({"retries": -1}, "retries=-1: cannot"),
        ({"retry_on": "75"}, "retry_on=75: how often? add retries=N"),
        ({"delay": -1}, "delay=-1: a"),
        ({"backoff": "1,x"}, "backoff='1,x': expected"),
        ({"halt": "x"}, "halt='x': expected"),
        ({"output_cap": "x"}, "output_cap='x': expected"),
        ({"retry_on": "x y", "retries": 1}, "retry_on='x y': expected"),
        ({"run_id": "a/b"}, "run_id='a/b': use"),
        ({"keep": "x"}, "keep='x': expected"),
        ({"backend": "none"}, "backend='none': there"),
        ({"start_method": "fork"}, "start_method='fork': a fork"),
        ({"chunk": 0}, "chunk=0: at"),
        ({"max_jobs_per_worker": 0}, "max_jobs_per_worker=0: at"),
        ({"jobs": "1,2"}, "jobs=1,2: there are 1 stages"),
        ({"chunk": 3}, "backend=commands cannot honour chunk:"),
        ({"retry_on": "ValueError", "retries": 1}, "retry_on=ValueError: a command"),
    ],
)
def test_a_program_reads_what_it_has_written(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    """Not the option of a command line that it has not."""
    with pytest.raises(UsageError) as told:
        run_batch("echo {}", ["a"], **{"state_dir": tmp_path} | options)
    assert str(told.value).startswith(said)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: run_batch("ls | wc", ["a"]), "add shell=True, or quote it"),
        (lambda: run_batch("echo {name}", ["a"]), "in a program Csv, JsonLines"),
        (lambda: run_batch(len, ["a"], result="x"), "result='x': choose"),  # type: ignore[call-overload]
        (lambda: map_batch(len, ["a"], jobs="x"), "jobs='x': expected"),
        (lambda: map_batch(len, ["a"], chunk=0), "chunk=0: at least"),
        (lambda: map_batch(len, ["a"], start_method="x"), "start_method='x'; choose"),
        (lambda: Glob(["/no/such/*"]), "Glob('/no/such/*'): no file"),
        (lambda: Zip([Args(["a"]), Args(["b", "c"])]), "Zip: the sources are not"),
        (lambda: Args.each("a b.c=1"), "Args.each('a b.c=1'): "),
        (lambda: Csv("x.csv", delimiter="ab"), "delimiter='ab': expected"),
        (lambda: Lines("x", separator="("), "separator='(' is not"),
    ],
)
def test_so_do_sources_templates_and_map_batch(make: Callable[[], Any], said: str) -> None:
    """Every way in for programs."""
    with pytest.raises(UsageError) as told:
        list(make())
    assert said in str(told.value)


def test_at_the_command_line_options_are_typed(cli: Cli) -> None:
    """As ever, and only while a task is carried out."""
    assert "--jobs 'many': expected a number" in cli("batch", "echo {}", "--jobs", "many", "--", "a").stderr
    with hints.typed_options():
        assert hints.given_as("--run-id", "x") == "--run-id x"
        assert hints.switch_name("--shell") == "--shell"
    assert hints.given_as("--run-id", "x") == "run_id=x"
