"""The options of a task are made when a command line calls it, and for each reading of one anew."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from invoke import Collection, Context
from invoke.parser import Parser, ParserContext

import manyhands.cli  # noqa: F401 - it makes invoke parse as we do
from manyhands.cli import task
from manyhands.cli.lazy_context import LazyContext
from manyhands.cli.task import Task
from manyhands.options.declaration import Options, option


class CakeOptions(Options):
    """What a cake takes."""

    flavour: str = option("plain", short="f", help="its taste")
    eggs: int = option(2, help="how many")


@task(options=CakeOptions, aliases=["a-cake"])
def cake(_ctx: Context, options: CakeOptions) -> None:
    """Bake one."""


@task(options=CakeOptions)
def pie(_ctx: Context, options: CakeOptions) -> None:
    """Bake another."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tasks whose options were made."""
    names: list[str] = []
    usual = Task.get_arguments

    def noted(self: Task, ignore_unknown_help: bool | None = None) -> Any:
        names.append(self.name)
        return usual(self, ignore_unknown_help)

    monkeypatch.setattr(Task, "get_arguments", noted)
    return names


def parser_of(*tasks: Task) -> Parser:
    space = Collection()
    for one in tasks:
        space.add_task(one)
    return Parser(initial=ParserContext(), contexts=space.to_contexts())


def test_only_what_is_called_is_made(made: list[str]) -> None:
    """Whatever else there is; a name alone needs no options."""
    parser = parser_of(cake, pie)
    assert [one.name for one in parser.contexts.values()] == ["cake", "pie"]
    assert made == []
    _, called = parser.parse_argv(["a-cake", "--eggs", "3", "-f", "nut"])
    assert (called.name, called.args.eggs.value, called.args["flavour"].value) == ("cake", "3", "nut")
    assert set(made) == {"cake"}


def test_a_second_reading_knows_nothing_of_the_first() -> None:
    """Also if the same task is called twice on one line."""
    parser = parser_of(cake)
    for line in (["cake", "--eggs", "3", "cake"], ["cake"]):
        called = parser.parse_argv(line)[-1]
        assert not called.args.eggs.got_value
    assert [one.args.eggs.got_value for one in parser.parse_argv(["cake", "--eggs", "3", "cake"])[1:]] == [True, False]


def test_it_is_the_context_that_invoke_would_have_made() -> None:
    """With the same names, options, and order; and what it has not is an AttributeError."""
    lazy, usual = LazyContext(cake, "cake", ["c"]), ParserContext("cake", ["c"], cake.get_arguments())
    assert repr(lazy) == "<parser/Context 'cake'>"
    assert [*lazy.args] == [*usual.args]
    assert [*lazy.flags] == [*usual.flags]
    assert (lazy.inverse_flags, lazy.missing_positional_args, lazy.name, lazy.aliases) == ({}, [], "cake", ["c"])
    assert repr(lazy) == repr(usual)
    assert lazy.help_for("--eggs") == usual.help_for("--eggs")
    assert "args" not in vars(deepcopy(lazy))
    with pytest.raises(AttributeError, match="'LazyContext' object has no attribute 'other'"):
        lazy.other  # noqa: B018


def test_a_task_that_is_not_ours_is_as_it_was(made: list[str]) -> None:
    """Its context is invoke's own."""
    from invoke import task as plain

    space = Collection(t=plain(lambda ctx, name="x": None))
    (context,) = space.to_contexts()
    assert type(context) is ParserContext
    assert [*context.flags] == ["--name"]
    assert made == []
