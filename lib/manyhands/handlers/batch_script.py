"""What ``batch.script`` does: it is `batch` with the interpreter before the script, and with ``--warm``."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

from manyhands.core.errors import UsageError
from manyhands.handlers import batch
from manyhands.options.batch import CommandOptions, ScriptOptions
from manyhands.posix.home import expanded
from manyhands.work.python_command import python_of_first_line
from manyhands.work.template_syntax import Words


def run_script(options: ScriptOptions) -> int:
    """Carry it out; returns the exit status. Raises UsageError before anything is run."""
    return batch.new(command_options(options))


def command_options(options: ScriptOptions) -> CommandOptions:
    """The same for ``batch``."""
    common = {one.name for one in fields(CommandOptions)} & {one.name for one in fields(options)}
    given = {name: getattr(options, name) for name in common}
    return CommandOptions(template=_template(options), warm=True, **given)


def _template(options: ScriptOptions) -> str:
    if options.module:
        return f"{_written(options.python or 'python3')} -m {options.script}"
    python = options.python or _interpreter(options)
    return f"{_written(python)} {options.script}"


def _written(python: str) -> str:
    """As a part of a template."""
    return python.replace("{", "{{").replace("}", "}}")


def _interpreter(options: ScriptOptions) -> str:
    """What the first line of the script names, else python3. Raises UsageError if there is no such script."""
    first = Words(options.script).words()[0] if options.script.strip() else ()
    path = os.fsdecode(b"".join(part.text or b"" for part in first))
    try:
        with open(Path(expanded(os.fspath(options.workdir or "."))) / path, "rb") as file:
            named = python_of_first_line(file.readline(256))
    except OSError as error:
        raise UsageError(f"batch.script: cannot read the script {path or options.script!r}: {error.strerror}") from None
    return " ".join(map(os.fsdecode, named)) if named else "python3"
