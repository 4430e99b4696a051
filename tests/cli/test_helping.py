"""Help says what a task is for, how it is called, and an example that can be typed; all from the task itself."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import Literal

import pytest
from invoke import Collection, Context
from invoke.parser import Parser

from conftest import Cli
from manyhands.cli import task
from manyhands.cli.helping import Page, columns, in_short, listing, overview, page_of, parts, sections, text
from manyhands.cli.loaded_tasks import load_tasks

NAMESPACE = load_tasks().namespace


@task(
    omittable=["runs"],
    short={"jobs": "j"},
    remainder=True,
    metavar={"jobs": "N", "times": "COUNT", "from": "FILE", "runs": "RUN"},
    help={
        "template": "the command",
        "runs": "which",
        "jobs": "how many (default: as many as cores)",
        "times": "so often",
        "order": "first what",
        "tag": "mark lines",
        "keep_order": "as they came",
        "where": "a place",
        "from_": "a list",
    },
)
def sample(
    _ctx: Context,
    template: str,
    runs: list[str] = [],  # noqa: B006
    jobs: str = "100%",
    times: int = 3,
    tag: bool = False,
    order: Literal["up", "down"] = "up",
    keep_order: bool = True,
    where: Path | None = None,
    from_: str | None = None,
    rest: list[str] | None = None,
) -> None:
    """Try a thing: carefully.

    Twice if need
    be.

        manyhands sample 'echo {}' a
        seq 3 | manyhands sample 'echo {}'
    """


@pytest.fixture
def page() -> Page:
    """What is said of the sample."""
    return page_of(sample, "sample", ["sample", "other"])


def test_a_page_begins_with_the_purpose_then_the_usage(page: Page) -> None:
    """Positional arguments by their metavariables, those that may lack in brackets, lists with dots, what may follow ``--``."""
    assert page.purpose == "Try a thing: carefully."
    assert page.usage == "sample TEMPLATE [RUN ...] [OPTIONS] [-- INPUT ...]"
    assert page.more == ("Twice if need be.",)
    assert page.also == ("other",)
    assert text(page, "x").startswith("Try a thing: carefully.\n\nUsage: x sample TEMPLATE")


def test_options_show_what_they_take_and_what_they_are_by_default(page: Page) -> None:
    """In the order of the signature; a default that the help names is not named twice."""
    assert [(one.typed, one.meaning) for one in page.options] == [
        ("-j, --jobs N", "how many (default: as many as cores)"),
        ("--times COUNT", "so often (default: 3)"),
        ("--tag", "mark lines"),
        ("--order up|down", "first what (default: up)"),
        ("--[no-]keep-order", "as they came"),
        ("--where PATH", "a place"),
        ("--from FILE", "a list"),
    ]


def test_examples_begin_as_the_program_was_called(page: Page) -> None:
    """Also behind a pipe."""
    shown = text(page, "scripts/run")
    assert "\n  scripts/run sample 'echo {}' a\n" in shown
    assert "\n  seq 3 | scripts/run sample 'echo {}'\n" in shown


def test_what_is_too_long_stands_in_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "60")
    page = page_of(NAMESPACE["batch.call"], "batch.call")
    lines = list(columns(page.options))
    assert "  --type str|int|float|json|path|bytes" in lines
    assert max(map(len, lines)) < 60


def test_the_list_folds_the_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By collections in their order, second names in brackets, and the scenes of the tour as one line."""
    monkeypatch.setenv("COLUMNS", "100")
    shown = listing(NAMESPACE, "mh")
    assert shown.splitlines()[0].startswith("Run one command, or call one Python function")
    assert "batch.run (batch) " in shown
    assert "cmd.check (check-output) " in shown
    assert shown.index("batch.run") < shown.index("cmd.output") < shown.index("proc.list") < shown.index("tour.NAME")
    scenes = [name for name in NAMESPACE.task_names if name.startswith("tour.") and not NAMESPACE[name].listed]
    assert f"{len(scenes)} more: mh --list tour\n" in shown
    assert not [name for name in scenes if f"{name} " in shown]
    assert len(shown.splitlines()) <= 125


def test_the_overview_is_one_screen_and_names_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Purpose, usage, examples, names."""
    monkeypatch.setenv("COLUMNS", "100")
    shown = overview(NAMESPACE, "mh", []).splitlines()
    assert shown[0].startswith("Run one command, or call one Python function")
    assert "Usage: mh TASK [ARGUMENTS] [OPTIONS]" in shown
    assert "  mh batch.resume" in shown
    assert any("run, script, call, compare, resume" in line for line in shown)
    assert any(line.startswith("  fork-demo ") for line in shown)
    assert len(shown) <= 27


def test_a_list_of_tasks_without_collections_is_a_list() -> None:
    """A small tasks file of a user has neither titles nor sections."""
    assert listing(Collection(sample), "invoke").splitlines()[0].split() == ["sample", "Try", "a", "thing"]
    assert [one.name for one in sections(Collection(sample))] == [""]


@pytest.mark.parametrize(
    ("docstring", "short"),
    [("List the runs, newest first: id.", "List the runs, newest first"), ("Do it; or not.", "Do it"), ("Be.", "Be")],
)
def test_a_list_shows_the_first_clause(docstring: str, short: str) -> None:
    """Up to a colon, a semicolon, or the end."""
    assert in_short(docstring) == short


def examples() -> list[str]:
    """Every example of every task."""
    found = [one for name in NAMESPACE.task_names for one in parts(inspect.getdoc(NAMESPACE[name]) or "")[2]]
    return [*parts(NAMESPACE.__doc__ or "")[2], *dict.fromkeys(found)]


@pytest.mark.parametrize("example", examples())
def test_every_example_can_be_typed(example: str) -> None:
    """Its task and its options are there, and nothing that it needs is left out."""
    words = shlex.split(example)
    given = words[words.index("manyhands") + 1 :]
    given = given[: next((at for at, word in enumerate(given) if word in ("--", ">", "|")), None)]
    found = [one for one in Parser(contexts=NAMESPACE.to_contexts()).parse_argv(given) if one.name]
    assert [one.name for one in found] == [NAMESPACE.transform(found[0].name or "")]


def test_every_task_with_arguments_of_its_own_has_an_example() -> None:
    """Scenes of the tour and tasks that need nothing do without."""
    missing = [
        name
        for name in NAMESPACE.task_names
        if NAMESPACE[name].listed and NAMESPACE[name].positional and not parts(inspect.getdoc(NAMESPACE[name]) or "")[2]
    ]
    assert set(missing) <= {"batch.remove", "batch.pause", "batch.continue", "proc.show"}


def test_help_is_asked_for_in_every_usual_way(cli: Cli) -> None:
    """Behind the task, before it, and of the program."""
    behind, before = cli("batch.resume", "--help"), cli("--help", "batch.resume")
    assert behind.stdout == before.stdout
    assert behind.stdout.startswith("Continue a run")
    assert "batch.resume [RUN] [OPTIONS]\n" in behind.stdout
    assert cli().stdout == cli("--help").stdout
    assert cli("--list", "tour").stdout.count("\n") > 46
