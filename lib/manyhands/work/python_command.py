"""What a command line that runs Python runs: which interpreter, with which options, which script or module.

    python3 -O process.py --fast {}   -->  python3 -O | process.py | arguments
    ./process.py {}                   -->  the same, by the first line of the script: #!/usr/bin/env python3

Separate from `manyhands.work.template`, because only jobs that are forked from a warm interpreter (``--warm``) need it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as, option_name, switch_name
from manyhands.core.records import dataclass, replace
from manyhands.posix.which import Programs
from manyhands.work.template import Template
from manyhands.work.template_syntax import Word
from manyhands.work.work import Work

_PYTHON: Final = re.compile(r"python(\d(\.\d+)?t?)?")
_ALONE: Final = frozenset("bBdEIOPqRsSuv")
"""Letters of the interpreter's options that have no value, and do not keep it from running a script (python(1))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonCommand:
    """The part of a command line that is the same for all jobs. ``words``: how many words it has."""

    words: int
    python: tuple[bytes, ...]
    """The interpreter and its options."""
    target: bytes
    module: bool = False
    """Whether the target is a module (``-m``), not a file."""
    preload: tuple[str, ...] = ()
    """Modules to be imported besides those that the script imports."""

    def to_wire(self) -> dict[str, Any]:
        """For a launcher."""
        preload = tuple(map(os.fsencode, self.preload))
        return {
            "words": self.words,
            "python": self.python,
            "target": self.target,
            "module": self.module,
            "preload": preload,
        }


def warmed(works: Sequence[Template], preload: str | None, workdir: str, search: bytes) -> list[Template]:
    """The same works, those that run a Python script marked as warm, with the modules of ``preload`` (names divided by commas).

    Raises UsageError if there is none.
    """
    modules = tuple(name.strip() for name in (preload or "").split(",") if name.strip())
    if wrong := next((name for name in modules if not all(part.isidentifier() for part in name.split("."))), None):
        raise UsageError(f"{given_as('--preload', wrong)}: expected names of modules, divided by commas")
    marked, refusal = [], None
    for work in works:
        try:
            python_command(work, modules, workdir, search)
            marked.append(replace(work, warm=modules))
        except UsageError as error:
            refusal = refusal or error
            marked.append(work)
    if refusal and len(works) == sum(work.warm is None for work in marked):
        raise refusal
    return marked


def python_of(work: Work, workdir: str, search: bytes) -> PythonCommand | None:
    """The script that all jobs run, if they are to be warm."""
    if work.warm is None or not isinstance(work, Template):
        return None
    return python_command(work, work.warm, workdir, search)


def python_command(template: Template, preload: tuple[str, ...], workdir: str, search: bytes) -> PythonCommand:
    """What ``template`` runs in ``workdir``, with programs found in ``search`` (a PATH). Raises UsageError if it is no Python script,
    or not the same for each job."""
    words = _fixed(template)
    if not words:
        raise _refused(template, "the program is taken from the input")
    if _PYTHON.fullmatch(os.path.basename(os.fsdecode(words[0]))):
        return _interpreter(template, words, preload)
    if interpreter := _of_script(words[0], workdir, search):
        path, python = interpreter
        return PythonCommand(words=1, python=python, target=path, preload=preload)
    raise _refused(template, "it begins neither with python nor with a script whose first line is #! and a Python")


def _refused(template: Template, why: str) -> UsageError:
    return UsageError(f"{switch_name('--warm')}: cannot run {template.text!r:.100} warm: {why}")


def _fixed(template: Template) -> list[bytes]:
    """The words before the first one with a placeholder."""
    if template.shell is not None:
        raise UsageError(
            f"{option_name('--warm')} and {option_name('--shell')}: the shell starts Python by itself; leave one of the two out"
        )
    if template.lines:
        raise UsageError(
            f"{option_name('--warm')} and {option_name('--commands')}: all jobs must run the same script; leave one of the two out"
        )
    found = []
    for word in template.words:
        text = _text_of(word)
        if text is None:
            break
        found.append(text)
    return found


def _text_of(word: Word) -> bytes | None:
    parts = [part.text for part in word]
    return None if None in parts else b"".join(part for part in parts if part is not None)


def _interpreter(template: Template, words: list[bytes], preload: tuple[str, ...]) -> PythonCommand:
    """Read the options of the interpreter, as python(1) does."""
    at = 1
    while at < len(words):
        word = os.fsdecode(words[at])
        if not word.startswith("-") or word == "-":
            break
        if word.startswith("-m"):
            return _module(template, words, at, preload)
        if word.startswith(("-W", "-X")):
            at += 1 if len(word) > 2 else 2
        elif word == "--check-hash-based-pycs":
            at += 2
        elif set(word[1:]) <= _ALONE:
            at += 1
        else:
            raise _refused(template, f"with {word} it runs no script that can be imported for")
    if at >= len(words) or words[at] == b"-":
        raise _refused(
            template,
            "the script is not the same for each job" if len(words) < len(template.words) else "it names no script",
        )
    return PythonCommand(words=at + 1, python=tuple(words[:at]), target=words[at], preload=preload)


def _module(template: Template, words: list[bytes], at: int, preload: tuple[str, ...]) -> PythonCommand:
    name, used = (words[at][2:], 1) if len(words[at]) > 2 else (b"".join(words[at + 1 : at + 2]), 2)
    if not name:
        raise _refused(template, "the module is not the same for each job")
    return PythonCommand(words=at + used, python=tuple(words[:at]), target=name, module=True, preload=preload)


def _of_script(name: bytes, workdir: str, search: bytes) -> tuple[bytes, tuple[bytes, ...]] | None:
    """(the path of a script as the kernel passes it on, its interpreter and that one's options), if that is Python."""
    try:
        path = Programs(search).find(name)
        with open(Path(workdir) / os.fsdecode(path), "rb") as file:
            line = file.readline(256)
    except OSError:
        return None
    python = python_of_first_line(line)
    return (path, python) if python and os.access(Path(workdir) / os.fsdecode(path), os.X_OK) else None


def python_of_first_line(line: bytes) -> tuple[bytes, ...] | None:
    """The interpreter, and its options, that the first line of a script names (execve(2), env(1)); None if that is no Python."""
    if not line.startswith(b"#!"):
        return None
    program, _, rest = line[2:].strip().partition(b" ")
    words = [program, *([rest.strip()] if rest.strip() else [])]
    if os.path.basename(program) == b"env" and len(words) == 2:
        words = words[1].split()[1:] if words[1].startswith((b"-S ", b"--split-string ")) else words[1:]
    return tuple(words) if words and _PYTHON.fullmatch(os.path.basename(os.fsdecode(words[0]))) else None
