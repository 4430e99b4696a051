"""Which interpreter and which script a template runs: read as python(1), env(1) and the kernel do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manyhands.core.errors import UsageError
from manyhands.work.python_command import PythonCommand, python_command, python_of_first_line, warmed
from manyhands.work.template import Template


def read(text: str, folder: Path = Path("/"), search: bytes = b"/usr/bin:/bin") -> PythonCommand:
    return python_command(Template.parse(text), (), str(folder), search)


@pytest.mark.parametrize(
    ("template", "words", "python", "target"),
    [
        ("python3 process.py", 2, [b"python3"], b"process.py"),
        ("python process.py {}", 2, [b"python"], b"process.py"),
        ("/opt/x/bin/python3.13t 'a b.py' --fast {} -o {.}", 2, [b"/opt/x/bin/python3.13t"], b"a b.py"),
        (
            "python3 -O -W error -Xdev -X utf8 -uB process.py {}",
            9,
            [b"python3", b"-O", b"-W", b"error", b"-Xdev", b"-X", b"utf8", b"-uB"],
            b"process.py",
        ),
        ("python3 --check-hash-based-pycs never p.py", 4, [b"python3", b"--check-hash-based-pycs", b"never"], b"p.py"),
    ],
)
def test_a_script_stands_after_the_options_of_the_interpreter(
    template: str, words: int, python: list[bytes], target: bytes
) -> None:
    """With or without values, in one word or in two."""
    assert read(template) == PythonCommand(words=words, python=tuple(python), target=target)


@pytest.mark.parametrize("template", ["python3 -I -m package.tool {}", "python3 -I -mpackage.tool {}"])
def test_a_module(template: str) -> None:
    """What stands after -m, in the same word or in the next one."""
    found = read(template)
    assert (found.python, found.target, found.module) == ((b"python3", b"-I"), b"package.tool", True)
    assert found.words == len(template.split()) - 1


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("gzip {}", "neither with python nor"),
        ("{} x", "the program is taken from the input"),
        ("python3 {}", "not the same for each job"),
        ("python3 -O {} x", "not the same for each job"),
        ("python3 lib/{}.py", "not the same for each job"),
        ("python3 -m {}", "the module is not the same"),
        ("python3", "names no script"),
        ("python3 -", "names no script"),
        ("python3 -i process.py", "with -i it runs no script"),
        ("python3 -c 'print(1)' {}", "with -c it runs no script"),
        ("python3 -x process.py", "with -x"),
        ("python3 --version", "with --version"),
        ("ipython process.py", "neither with python nor"),
    ],
)
def test_what_cannot_be_warm_says_why(template: str, why: str) -> None:
    """In one line, with the template."""
    with pytest.raises(UsageError, match=why) as caught:
        read(template)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "python"),
    [
        (b"#!/usr/bin/python3\n", (b"/usr/bin/python3",)),
        (b"#! /usr/bin/python3 -u\n", (b"/usr/bin/python3", b"-u")),
        (b"#!/usr/bin/env python3\n", (b"python3",)),
        (b"#!/usr/bin/env -S python3 -O -u\n", (b"python3", b"-O", b"-u")),
        (b"#!/bin/sh\n", None),
        (b"#!/usr/bin/env ruby\n", None),
        (b"#!\n", None),
        (b"import sys\n", None),
        (b"", None),
    ],
)
def test_the_first_line_of_a_script(line: bytes, python: tuple[bytes, ...] | None) -> None:
    """Names its interpreter, or none, or one that is no Python."""
    assert python_of_first_line(line) == python


def test_a_script_that_is_a_program_is_read_where_it_is_found(tmp_path: Path) -> None:
    """By PATH or by its place below the working folder; one that may not be executed is no program."""
    script = tmp_path / "tool"
    script.write_text("#!/usr/bin/env -S python3 -O\n")
    script.chmod(0o755)
    expected = PythonCommand(words=1, python=(b"python3", b"-O"), target=bytes(script))
    assert read("tool {}", search=bytes(tmp_path)) == expected
    assert read("./tool {}", tmp_path).target == b"./tool"
    script.chmod(0o644)
    with pytest.raises(UsageError, match="neither with python"):
        read("./tool {}", tmp_path)


def test_a_shell_and_whole_commands_cannot_be_warm() -> None:
    """The shell starts Python by itself, and lines of --commands may be anything."""
    for template in (Template.parse("python3 p.py {}", shell="/bin/sh"), Template.each_line()):
        with pytest.raises(UsageError, match="leave one of the two out"):
            python_command(template, (), "/", b"")


def test_of_several_stages_those_in_python_are_warm() -> None:
    """Others are commands as ever; if none is in Python, the first one's reason is given."""
    first, second = Template.parse("gzip {}"), Template.parse("python3 p.py {}")
    marked = warmed([first, second], "a, b.c", "/", b"")
    assert [one.warm for one in marked] == [None, ("a", "b.c")]
    with pytest.raises(UsageError, match="gzip"):
        warmed([first], None, "/", b"/usr/bin")


@pytest.mark.parametrize("names", ["a-b", "a,,b.", "os;x", "1a"])
def test_only_names_of_modules_can_be_preloaded(names: str) -> None:
    """Anything else is refused before anything is run."""
    with pytest.raises(UsageError, match="expected names of modules"):
        warmed([Template.parse("python3 p.py")], names, "/", b"")


def test_it_can_be_sent_to_a_launcher() -> None:
    """As plain data, in bytes."""
    one = PythonCommand(words=2, python=(b"python3",), target=b"p.py", preload=("a",))
    assert one.to_wire() == {
        "words": 2,
        "python": (b"python3",),
        "target": b"p.py",
        "module": False,
        "preload": (os.fsencode("a"),),
    }
