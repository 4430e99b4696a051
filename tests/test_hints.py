"""Commands in messages can be typed as they stand: with the name that was used, and quoted."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import HERE, Cli
from manyhands import hints
from manyhands.cli.naming import called_as
from manyhands.runs import Store


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
        ["manyhands"], [sys.executable, "-m", "manyhands"], ["invoke", "--search-root", str(HERE)],
    ]  # fmt: skip
    for number, way in enumerate(ways):
        state = f"my runs {number}"
        done = subprocess.run(
            [*way, "batch", "sh -c 'test -e {}'", "--state-dir", state, "--", "file"], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
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
