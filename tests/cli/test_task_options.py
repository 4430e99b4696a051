"""A task whose options are declared in a class, and that all of ours are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
from invoke import Collection, Context
from invoke.parser import Parser, ParserContext

from manyhands.cli import Program, task
from manyhands.cli.completing import candidates
from manyhands.cli.helping import page_of, text
from manyhands.cli.loaded_tasks import load_tasks
from manyhands.cli.task import Task
from manyhands.options.declaration import Options, option

SEEN: list[Options] = []
Shape = Literal["round", "square"]


class Base(Options):
    """What is common."""

    json: bool = option(False, help="as JSON")
    every: str = option("2", needs="watch", metavar="TIME", help="how often")


class CakeOptions(Base):
    """What a cake can be."""

    name: str | None = option(None, positional=True, metavar="NAME", help="which one")
    shape: Shape = option("round", short="s", help="its shape")
    layers: int | None = option(None, help="how many")
    weight: float | str = option(1.5, help="how heavy")
    toppings: Sequence[str] = option((), metavar="FILE", help="what is on it")
    watch: bool = option(False, excludes=("json",), help="look at it")
    rest: Sequence[str] | None = None
    oven: Any = None


@task(options=CakeOptions)
def cake(_ctx: Context, options: CakeOptions) -> None:
    """Bake a cake."""
    SEEN.append(options)


def called(*words: str) -> Options:
    """What the task got."""
    SEEN.clear()
    Program(name="p", binary="p", namespace=Collection(cake)).run(["p", "cake", *words], exit=False)
    return SEEN[0]


def test_the_function_gets_an_object_of_the_class() -> None:
    """Typed as declared, with the defaults of the class for what nobody has said, and what stands after ``--``."""
    assert called() == CakeOptions()
    assert called(
        "x", "-s", "square", "--layers", "3", "--weight", "2k", "--toppings", "a", "--toppings=b", "--", "c d"
    ) == CakeOptions(name="x", shape="square", layers=3, weight="2k", toppings=("a", "b"), rest=("c d",))


def test_settings_are_read_as_for_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of the environment is typed, too."""
    monkeypatch.setenv("MANYHANDS_CAKE_LAYERS", "7")
    assert called("--json") == CakeOptions(layers=7, json=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "3"], "--every has no effect without --watch"),
        (["--json", "--watch"], "--json has no effect with --watch"),
        (["--shape", "oval"], "--shape: expected one of round, square, got 'oval'"),
        (["--layers", "x"], "--layers: expected a whole"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By what the class says of its options."""
    with pytest.raises(IndexError):
        called(*words)
    assert said in capsys.readouterr().err


def test_help_and_completion_say_what_the_class_says() -> None:
    """In its order; what only programs have is in none of them."""
    shown = text(page_of(cake, "cake"), "p")
    assert "Usage: p cake [NAME] [OPTIONS] [-- WORD ...]" in shown
    assert "-s, --shape round|square   its shape (default: round)" in shown
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("  -")] == [
        "-s,",
        "--layers",
        "--weight",
        "--toppings",
        "--watch",
        "--json",
        "--every",
    ]
    assert "oven" not in shown
    parser, core = Parser(contexts=Collection(cake).to_contexts()), ParserContext()
    assert candidates(["p", "cake", "--shape", ""], parser, core) == ["round", "square"]
    assert candidates(["p", "cake", "--toppings", ""], parser, core) is None


def test_called_from_python_it_takes_keywords() -> None:
    """As a task whose options are parameters."""
    SEEN.clear()
    cake(Context(), layers=2)
    assert [CakeOptions(layers=2)] == SEEN


def test_nothing_is_said_of_them_elsewhere() -> None:
    """What would be ignored is refused when the tasks file is loaded."""
    with pytest.raises(TypeError, match=r"^help: all that is said of the options of CakeOptions is said there$"):

        @task(options=CakeOptions, help={"layers": "of what"})
        def other(_ctx: Context, options: CakeOptions) -> None: ...

    with pytest.raises(ValueError, match=r"parameters are described, but do not exist: layer$"):

        @task(help={"layer": "of what"})
        def third(_ctx: Context, layers: int = 1) -> None: ...


def test_ours_declare_their_options_in_classes() -> None:
    """All but those for work on the project itself and the scenes, which have a table of their own."""
    namespace = load_tasks().namespace
    ours = [namespace[name] for name in namespace.task_names if not name.startswith("dev.")]
    assert [one.name for one in ours if isinstance(one, Task) and one.listed and one.options is None and one.kinds] == []
