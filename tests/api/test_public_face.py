"""What `import manyhands` gives: the names that docs/library.md lists, each usable, typed and explained."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import pydoc
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, UnionType
from typing import Any, get_args, get_type_hints

import pytest

import manyhands
from conftest import HERE
from manyhands.api.keywords import CallKeywords, MapKeywords
from manyhands.api.run_options import RunOptions
from manyhands.core import package_location

PACKAGE = Path(package_location.PACKAGE)
NAMES = sorted(manyhands.__all__)
CLASSES = [name for name in NAMES if isinstance(getattr(manyhands, name), type)]
FUNCTIONS = [name for name in NAMES if isinstance(getattr(manyhands, name), FunctionType)]
MADE_FOR_PROGRAMS = {"MapResults", "Pipeline", "Results", "Template"}
"""Classes that programs get from a function or a classmethod: what their constructors take is ours."""
OURS = {"Template.bind", "Template.difference", "Pipeline.run_on"}
"""Methods for the inside of the package."""


def test_the_page_lists_the_public_names() -> None:
    """docs/library.md has each in the first column of a table, once, and nothing else."""
    text = (HERE / "docs" / "library.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == NAMES
    assert len(set(listed)) == len(listed)


def test_the_examples_of_the_page_run(tmp_path: Path, environment: dict[str, str]) -> None:
    """As they are printed, each as a program of its own."""
    for name in ("a.log", "b.log"):
        (tmp_path / name).touch()
    text = (HERE / "docs" / "library.md").read_text()
    printed = []
    for example in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / "example.py").write_text(example)
        done = subprocess.run(
            [sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        printed.append(sorted(done.stdout.splitlines()))
    assert printed == [["a.log True 0 ", "b.log True 0 "], ["1 True", "2 True", "3 True"], []]


def test_no_name_is_that_of_a_module() -> None:
    """`from manyhands import NAME` cannot give a module instead, whatever has been imported before."""
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert modules.isdisjoint(NAMES)


def test_every_name_is_there_and_no_other() -> None:
    """For `import *`, for `dir`, and for a type checker; one that is mistyped is refused."""
    space: dict[str, Any] = {}
    exec("from manyhands import *", space)
    assert {name for name in space if name != "__builtins__"} == set(NAMES)
    assert set(NAMES) <= set(dir(manyhands))
    text = (PACKAGE / "__init__.py").read_text()
    checked = text[text.index("if TYPE_CHECKING:") : text.index("_NAMES = {")]
    imported = re.findall(
        r"\b(\w+)(?=[,)\n])",
        re.sub(r"from [\w.]+ import", "", checked.replace("if TYPE_CHECKING:\n    from typing import Any\n", "")),
    )
    assert sorted(imported) == NAMES
    with pytest.raises(AttributeError, match="module 'manyhands' has no attribute 'run_bacth'"):
        _ = manyhands.run_bacth  # type: ignore[attr-defined]


def members(name: str) -> Iterator[tuple[str, Any]]:
    """The functions by which a program uses a public name."""
    found = getattr(manyhands, name)
    if isinstance(found, FunctionType):
        yield name, found
        return
    for one, value in vars(found).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        is_public = not one.startswith("_") or (one == "__init__" and name not in MADE_FOR_PROGRAMS)
        if isinstance(function, FunctionType) and is_public and f"{name}.{one}" not in OURS:
            yield f"{name}.{one}", function


def classes_of(hint: Any) -> set[type]:
    """The classes of ours that an annotation is made of."""
    if isinstance(hint, type) and not get_args(hint):
        return {hint} if hint.__module__.split(".")[0] == "manyhands" else set()
    found: set[type] = set()
    for one in (typing.get_origin(hint), *get_args(hint)):
        if one is not None and one is not UnionType:
            found |= {part for item in (one if isinstance(one, list) else [one]) for part in classes_of(item)}
    return found


def test_what_appears_in_a_public_signature_is_public() -> None:
    """Each class that is taken, returned, or a part of a record; and the annotations are such as `typing` can read."""
    public = {getattr(manyhands, name) for name in CLASSES}
    hidden = set()
    for name in NAMES:
        hints = {place: get_type_hints(function) for place, function in members(name)}
        if name in CLASSES and name not in MADE_FOR_PROGRAMS:
            hints[name] = {
                one: hint for one, hint in get_type_hints(getattr(manyhands, name)).items() if not one.startswith("_")
            }
        for place, found in hints.items():
            hidden |= {f"{place}: {one.__name__}" for hint in found.values() for one in classes_of(hint) - public}
    assert hidden == set()


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS])
def test_every_name_is_explained(name: str) -> None:
    """A docstring of its own for each, and for whatever it has that is public."""
    found = getattr(manyhands, name)
    assert found.__doc__
    assert not found.__doc__.startswith(f"{name}("), "dataclass has written it"
    bare = [place for place, function in members(name) if not place.endswith("__init__") and not function.__doc__]
    assert [place for place in bare if not hasattr(object, place.rpartition(".")[2])] == []


def test_every_public_class_travels_by_a_name_that_leads_back_to_it() -> None:
    """Classes are pickled by where they are; errors by their public names, which outlive a move of the module."""
    for name in CLASSES:
        assert pickle.loads(pickle.dumps(getattr(manyhands, name))) is getattr(manyhands, name)
    error = manyhands.JobFailedError(3, "given", "why", "where")
    assert b"manyhands.core" not in pickle.dumps(error)
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), back.args, back.number, back.__notes__) == (
        manyhands.JobFailedError,
        error.args,
        3,
        ["In the job:\nwhere"],
    )


def test_errors_are_called_in_a_traceback_as_programs_call_them() -> None:
    """`manyhands.UsageError`, whichever module has it."""
    errors = [getattr(manyhands, name) for name in CLASSES if issubclass(getattr(manyhands, name), Exception)]
    assert len(errors) == 13
    assert {error.__module__ for error in errors} == {"manyhands"}
    assert {error.exit_code for error in errors if not issubclass(error, Warning)} == {1, 2, 73, 74, 75}


@pytest.mark.parametrize(
    ("function", "taken", "keywords", "own"),
    [
        (
            manyhands.run_batch,
            {**get_type_hints(RunOptions), "options": RunOptions},
            CallKeywords,
            {"then", "max_args", "on", "on_each", "send", "fetch", "cleanup", "ssh", "result"},
        ),
        (manyhands.map_batch, get_type_hints(manyhands.map_batch), MapKeywords, {"return_exceptions"}),
    ],
)
def test_type_checkers_see_the_keywords_that_there_are(
    function: Any, taken: dict[str, Any], keywords: type, own: set[str]
) -> None:
    """Those of the typed dict and of the overloads are those that the function takes, with the same types."""
    given = {
        name: taken[name]
        for name, one in inspect.signature(function).parameters.items()
        if one.kind is inspect.Parameter.KEYWORD_ONLY and name not in own
    }
    assert given == get_type_hints(keywords)
    overloads = [inspect.signature(one).parameters for one in typing.get_overloads(function)]
    assert {name for one in overloads for name in one if name not in ("work", "function", "inputs", "more")} == own


def plain_help(thing: Any) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


def test_help_of_the_package_begins_with_what_people_come_for() -> None:
    """The purpose, an example, and every function with a word on what it is for, on the first screens."""
    text = plain_help(manyhands)
    assert (
        text.index("NAME\n    manyhands - Run one command")
        < text.index("from manyhands import run_batch")
        < text.index("PACKAGE")
    )
    first = text[: text.index("PACKAGE CONTENTS")]
    assert [name for name in FUNCTIONS if name not in first] == []
    assert max(map(len, first.splitlines())) <= 140


def test_help_of_run_batch_explains_every_argument() -> None:
    """Each is in the list of its concern, or in a paragraph of its own."""
    text = inspect.getdoc(manyhands.run_batch) or ""
    lists = "\n".join(re.findall(r"^(?:- |  ).*", text, re.MULTILINE))
    parameters = set(inspect.signature(manyhands.run_batch).parameters)
    assert parameters - set(re.findall(r"``(\w+)``", lists)) == {"work", "inputs", "options"}
    assert all(f"``{name}``" in text for name in ("work", "inputs", "options"))
    assert max(map(len, text.splitlines())) <= 140


def test_importing_the_package_costs_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    """Neither `typing` nor asyncio nor any module of ours is loaded before a name is used."""
    script = "import sys, manyhands; print([m for m in sys.modules if m in ('typing', 'asyncio') or m.startswith('manyhands.')])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={**environment, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_a_record_is_still_a_plain_one() -> None:
    """Generic for a type checker only: an outcome is a tuple without a dict, and compares as one."""
    attempt = manyhands.Attempt(manyhands.Job(1, b"", (b"x",)), 1, ())
    plain = manyhands.Outcome(attempt, manyhands.Status.OK)
    assert plain == manyhands.Outcome[int](attempt, manyhands.Status.OK)
    assert not hasattr(plain, "__dict__")
    assert dataclasses.is_dataclass(plain.stdout)
