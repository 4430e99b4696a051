"""Invoke without what it hardly ever uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LEFT_OUT = {
    "ast",
    "asyncio",
    "dataclasses",
    "dis",
    "email",
    "glob",
    "importlib.metadata",
    "inspect",
    "invoke.vendor.yaml",
    "locale",
    "logging",
    "pprint",
    "shlex",
    "string",
    "textwrap",
    "tokenize",
    "traceback",
    "unittest",
}
"""What invoke names and seldom uses, and the largest modules that these import."""
if sys.version_info >= (3, 13):
    LEFT_OUT.remove("glob")  # which pathlib needs there
BEGIN = f"""
import sys
from manyhands.runtime.lean_invoke import StandIn, import_invoke
import_invoke()
assert not {LEFT_OUT} & {{*sys.modules}}, {LEFT_OUT} & {{*sys.modules}}
import invoke, invoke.util
"""
USES = {
    "version": "from importlib import metadata; assert invoke.__version__ == metadata.version('invoke'); assert not hasattr(invoke, 'other')",
    "mock": "assert invoke.MockContext(run=invoke.Result('said')).run('anything').stdout == 'said'",
    "signature": "assert [*invoke.Task(lambda ctx, given: 0).argspec(lambda ctx, given: 0).parameters] == ['given']",
    "yaml": "open('invoke.yaml', 'w').write('run: {echo: true}'); assert invoke.Config(project_location='.').run.echo is False; config = invoke.Config(project_location='.'); config.load_project(); assert config.run.echo",
    "error": "from invoke.util import ExceptionWrapper as Wrapped\ntry:\n 1/0\nexcept Exception as error:\n  assert 'ZeroDivisionError' in str(invoke.ThreadException([Wrapped({'target': print}, *sys.exc_info())]))",
    "list": "program = invoke.Program(namespace=invoke.Collection(t=invoke.task(lambda ctx: None))); program.run('prog -l', exit=False)",
    "help": "program = invoke.Program(namespace=invoke.Collection(t=invoke.task(lambda ctx, name='x': None))); program.run('prog -h t', exit=False)",
    "log": "invoke.util.log.warning('careful')",
    "path": "import pathlib; assert pathlib.Path('/a b').as_uri() == 'file:///a%20b'",
    "text": "import subprocess; assert subprocess.run(['echo', 'said'], text=True, capture_output=True).stdout == 'said\\n'",
    "run": "assert invoke.run('echo said', hide=True).stdout == 'said\\n'",
}
REAL = """
import importlib.metadata, inspect, logging, pprint, textwrap, traceback
import invoke.vendor.yaml
from unittest import mock
assert mock.MagicMock and inspect.signature and pprint.pformat and invoke.vendor.yaml.SafeLoader and importlib.metadata.version
"""


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_was_left_out_is_there_when_it_is_used(use: str, environment: dict[str, str], tmp_path: Path) -> None:
    """By invoke, whatever it needs it for."""
    subprocess.run([sys.executable, "-c", BEGIN + use], env=environment, check=True, cwd=tmp_path)


def test_whoever_else_imports_it_gets_the_real_one(environment: dict[str, str]) -> None:
    """Nobody but invoke, and subprocess for `locale`, keeps a stand-in; and with a real module there before, there is none for it."""
    holds = (
        "found = {name for name, module in [*sys.modules.items()] if isinstance(module, StandIn) or name.split('.')[0] not in ('invoke', 'subprocess')"
        " and any(isinstance(value, StandIn) for value in [*vars(module).values()]) if name != '__main__'}\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", BEGIN + holds + REAL + holds], env=environment, check=True)
    before = (
        "import inspect, logging, unittest.mock\n"
        + BEGIN.partition("assert")[0]
        + "import invoke.tasks, invoke.context\n"
    )
    kept = "assert invoke.tasks.inspect is inspect and invoke.util.logging is logging and invoke.context.Mock is unittest.mock.Mock"
    subprocess.run([sys.executable, "-c", f"{before}import invoke.util\n{kept}"], env=environment, check=True)


def test_messages_for_debugging_are_those_of_invoke(environment: dict[str, str]) -> None:
    """Whoever asks for them gets them, as from the function of invoke that they are from; by a variable, an option or in a program."""
    shown = "invoke.util.debug('hello %s', 'you')"
    quiet = subprocess.run(
        [sys.executable, "-c", BEGIN + shown], env=environment, check=True, capture_output=True, text=True
    )
    assert (quiet.stdout, quiet.stderr) == ("", "")
    asked = f"import logging\nlogging.basicConfig(level='DEBUG', format=invoke.util.LOG_FORMAT)\ndef speak(): {shown}\nspeak()"
    told = subprocess.run(
        [sys.executable, "-c", BEGIN + asked], env=environment, check=True, capture_output=True, text=True
    )
    assert told.stderr == "invoke.<string>.speak: hello you\n"
    by_variable = BEGIN.partition("assert")[0] + "import invoke.util; invoke.util.debug('hello')"
    environment["INVOKE_DEBUG"] = "1"
    told = subprocess.run(
        [sys.executable, "-c", by_variable], env=environment, check=True, capture_output=True, text=True
    )
    assert told.stderr == "invoke.<string>.<module>: hello\n"


def test_an_invoke_that_is_there_is_left_as_it_is(environment: dict[str, str]) -> None:
    """A program that has imported invoke itself sees no difference."""
    given = "import invoke; before = dict(vars(invoke))\nfrom manyhands.runtime.lean_invoke import import_invoke as lean\nlean()\nassert vars(invoke) == before"
    subprocess.run([sys.executable, "-c", given], env=environment, check=True)


def test_a_tasks_file_may_use_what_was_left_out(program: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    """It imports the real modules."""
    (tmp_path / "tasks.py").write_text(
        "import inspect, logging, unittest.mock\nfrom importlib import metadata\nfrom invoke import MockContext, task\n"
        "@task\ndef seen(ctx, word='x'):\n    logging.warning(word)\n"
        "    print(unittest.mock.Mock(return_value=3)(), [*inspect.signature(seen.body).parameters], bool(metadata.version('invoke')))\n"
    )
    begin = "from manyhands.runtime.lean_invoke import import_invoke; import_invoke(); from invoke.main import program; program.run()"
    done = subprocess.run(
        [sys.executable, "-c", begin, "seen", "--word", "careful"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 ['ctx', 'word'] True\n", "WARNING:root:careful\n")


@pytest.mark.parametrize("forbidden", [False, True])
def test_our_modules_are_compiled_once(
    program: list[str], environment: dict[str, str], tmp_path: Path, forbidden: bool
) -> None:
    """What invoke forbids while it reads its own options is allowed again, unless the user has forbidden it."""
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path / "compiled")
    if not forbidden:
        del environment["PYTHONDONTWRITEBYTECODE"]
    subprocess.run([*program, "batch", "true", "--dry-run", "--", "1"], env=environment, check=True, cwd=tmp_path)
    compiled = {path.name.partition(".")[0] for path in (tmp_path / "compiled").rglob("*.pyc")}
    assert ({"plan", "template"} <= compiled) is not forbidden
