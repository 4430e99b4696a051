"""Continuing a run under its name: only the same work, each input known by its columns' names, with the input given now."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli
from manyhands.core.limits import Limits
from manyhands.execution.continuation import difference, in_columns, keep_stdin
from manyhands.inputs.sources import Rows
from manyhands.work.function import Call
from manyhands.work.plan import Plan, Stage
from manyhands.work.template import Template

pytestmark = pytest.mark.usefixtures("options_typed")


def plan(work: Template | Call, **more: Any) -> Plan:
    return Plan(work=work, source={"kind": "args", "values": []}, workdir="/a", limits=Limits(jobs=1), **more)


ECHO = Template.parse("echo {}")
SHELL = Template.parse("echo {}", shell="/bin/one")
CALL = Call(text="m:f", folder="/a", type="str", result="json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (plan(ECHO), plan(ECHO), None),
        (plan(ECHO), plan(Template.parse("echo x {}")), "another command (echo {})"),
        (plan(ECHO), replace(plan(ECHO), workdir="/b"), "another folder (/a, this is /b); add --workdir /a"),
        (plan(ECHO), plan(SHELL), "without --shell"),
        (
            plan(SHELL),
            plan(Template.parse("echo {}", shell="/bin/two")),
            "another shell (/bin/one, this is /bin/two); set SHELL=/bin/one",
        ),
        (plan(CALL), plan(replace(CALL, type="int")), "its inputs as --type str, this is int"),
        (plan(CALL), plan(replace(CALL, folder="/b")), "of another folder (/a, this is /b)"),
        (plan(CALL), plan(replace(CALL, text="m:g")), "another function (m:f)"),
        (plan(ECHO), plan(ECHO, then=(Stage(ECHO, 1, "commands"),)), "number of stages (1, these are 2)"),
        (
            plan(ECHO, then=(Stage(ECHO, 1, "commands"),)),
            plan(ECHO, then=(Stage(SHELL, 1, "commands"),)),
            "as stage 2 without --shell",
        ),
    ],
)
def test_what_differs_is_said(old: Plan, new: Plan, said: str | None) -> None:
    """In plain words, with what to do where something can be done."""
    why = difference(new, old)
    assert why is None if said is None else why is not None and said in why


def test_one_shell_by_two_names_is_the_same(tmp_path: Path) -> None:
    """As /bin/bash and /usr/bin/bash are on many systems: cron has no SHELL, and finds it by PATH."""
    (tmp_path / "link").symlink_to("/bin/sh")
    shells = [Template.parse("echo {}", shell=str(path)) for path in (tmp_path / "link", Path("/bin/sh"))]
    assert difference(plan(shells[0]), plan(shells[1])) is None


def test_columns_come_in_the_order_in_which_they_came_first() -> None:
    """Only if they are the same ones."""
    source = Rows([("1", "2"), ("3", "4")], ("b", "a"))
    fitted = in_columns(source, ("a", "b"))
    assert (fitted.columns, fitted.total, list(fitted)) == (("a", "b"), 2, [(b"2", b"1"), (b"4", b"3")])
    assert in_columns(source, ("a", "c")) is source
    assert in_columns(source, ()) is source


def test_columns_in_another_order_are_not_taken_for_done(tmp_path: Path, cli: Cli) -> None:
    """The same values in other columns are another input; the same columns in another order are the same one."""
    table = tmp_path / "t.csv"
    args = ["batch", "echo a={a} b={b}", "--csv", "t.csv", "--run-id", "r"]
    table.write_text("a,b\n1,2\n")
    assert cli(*args).stdout == "a=1 b=2\n"
    table.write_text("b,a\n2,1\n1,2\n")
    again = cli(*args)
    assert (again.returncode, again.stdout) == (0, "a=2 b=1\n"), again.stderr
    assert cli("batch.resume", "r").stdout == ""


def test_the_standard_input_given_now_is_read(tmp_path: Path, cli: Cli) -> None:
    """By the jobs that are still to run, and it is said when it is another one than before."""
    args = ["batch", "sh -c 'cat; echo {}'", "--stdin", "-", "--run-id", "r", "--"]
    assert cli(*args, "a", input="old\n").stdout == "old\na\n"
    same = cli(*args, "a", "b", input="old\n")
    assert (same.stdout, "standard input has changed" in same.stderr) == ("old\nb\n", False)
    other = cli(*args, "a", "b", "c", input="new\n")
    assert (other.stdout, "standard input has changed" in other.stderr) == ("new\nc\n", True)


def test_a_standard_input_that_was_not_read_to_its_end_is_missed(tmp_path: Path, cli: Cli, own_state: Path) -> None:
    """No command runs with a part of it."""
    cli("batch", "sh -c 'cat; exit 1' {}", "--stdin", "-", "--run-id", "r", "--", "a", input="text")
    (own_state / "runs/r/stdin").rename(own_state / "runs/r/stdin.new")
    resumed = cli("batch.retry", "r")
    assert (resumed.returncode, "give it again with --run-id r" in resumed.stderr) == (74, True)


def test_standard_input_is_private(tmp_path: Path) -> None:
    """As everything in a run's folder."""
    reading, writing = os.pipe()
    os.write(writing, b"x")
    os.close(writing)
    assert keep_stdin(tmp_path, reading) is None
    os.close(reading)
    assert (tmp_path / "stdin").stat().st_mode & 0o777 == 0o600
