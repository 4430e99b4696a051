"""`run_batch` takes keyword arguments or an object, and means the same by both."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from manyhands.api.map_batch import map_batch
from manyhands.api.run_batch import run_batch
from manyhands.api.run_options import RunOptions
from manyhands.core.errors import UsageError
from manyhands.options.batch import CommandOptions, FunctionOptions

DECLARED = {one.name: one for one in fields(RunOptions)}
NOT_KEYWORDS = ("work", "inputs", "options")


def test_its_keywords_are_the_fields() -> None:
    """The same names, types and defaults: what `help` shows, says nothing else."""
    keywords = {name: one for name, one in inspect.signature(run_batch).parameters.items() if name not in NOT_KEYWORDS}
    assert {name: (one.annotation, one.default) for name, one in keywords.items()} == {
        name: (one.type, one.default) for name, one in DECLARED.items()
    }
    assert all(one.kind is one.KEYWORD_ONLY for one in keywords.values())


def test_map_batch_has_the_same_defaults_for_the_same_names() -> None:
    """But for the order, and for what is printed: it is the short form, and its results are all that is wanted."""
    shared = {name: one.default for name, one in inspect.signature(map_batch).parameters.items() if name in DECLARED}
    assert {name for name, default in shared.items() if DECLARED[name].default != default} == {"ordered", "output"}
    assert len(shared) > 6


def test_a_program_and_a_task_share_declarations() -> None:
    """What both have, is declared once, and so has one default, unless what a program gives is of another kind."""
    for cls in (CommandOptions, FunctionOptions):
        both = {one.name: one.default for one in fields(cls) if one.name in DECLARED}
        assert {name for name, default in both.items() if DECLARED[name].default != default} <= {
            "backend",
            "chunk",
            "env",
            "initargs",
            "output",
            "result",
        }
        assert len(both) > 20


def test_an_object_does_what_keywords_do(tmp_path: Path) -> None:
    """It serves many batches; a keyword beside it is what is different this time."""
    options = RunOptions(state_dir=tmp_path, ordered=True, env={"WHO": "b"}, shell=True)
    ways: list[dict[str, Any]] = [
        {"options": options},
        {"state_dir": tmp_path, "ordered": True, "env": {"WHO": "b"}, "shell": True},
    ]
    for given in ways:
        outcomes = list(run_batch("echo $WHO {}", ["x", "y"], **given))
        assert [one.stdout.data for one in outcomes] == [b"b x\n", b"b y\n"]
    (one,) = run_batch("echo $WHO {}", ["x"], options=options, env={"WHO": "c"})
    assert one.stdout.data == b"c x\n"
    assert options == replace(options)
    assert options.env == {"WHO": "b"}


def test_a_keyword_that_there_is_not() -> None:
    """As with any function; type checkers see it, too, and the types (each comment is needed, or mypy would complain of it)."""
    with pytest.raises(TypeError, match=r"^run_batch\(\) got an unexpected keyword argument 'job'"):
        run_batch("echo {}", ["a"], job=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^RunOptions\(\) got an unexpected keyword argument 'job'"):
        RunOptions(job=3)  # type: ignore[call-arg]
    for options in (RunOptions(order=3), replace(RunOptions(), order=3)):  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            run_batch("echo {}", ["a"], options=options)
    with pytest.raises(UsageError):
        run_batch("echo {}", ["a"], jobs=[3])  # type: ignore[call-overload]
