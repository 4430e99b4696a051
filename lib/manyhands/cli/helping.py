"""Help: what a task is for comes first, then how it is called, then what each argument and option means.

    Task (its signature, its docstring) --page_of--> Page --text--> a terminal
                                                         --manual.py--> a manual page

A docstring begins with the purpose; a paragraph that calls ``manyhands`` has examples, a line each, which are shown with the name
that the program was called by. Imported only when somebody asks for help.
"""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import invoke
from invoke.parser import Argument

from manyhands.cli.metavars import metavar
from manyhands.cli.options import flag_name
from manyhands.cli.task import Task
from manyhands.core.records import dataclass

_LEFT: Final = 30  # columns at most for what stands before an explanation
_WIDEST: Final = 110  # longer lines are hard to read
_EXAMPLE: Final = re.compile(r"\s*(?:.*\| )?manyhands ")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that can be typed, and what it means."""

    typed: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Page:
    """All that is said of one task. ``name`` is how it is called, ``also`` its other names."""

    name: str
    also: tuple[str, ...]
    purpose: str
    usage: str
    more: tuple[str, ...]
    examples: tuple[str, ...]
    arguments: tuple[Entry, ...]
    options: tuple[Entry, ...]


def page_of(task: Task, name: str, names: Iterable[str] = ()) -> Page:
    """The page of ``task``, which was asked for as ``name`` and can also be called by the other ``names``."""
    purpose, more, examples = parts(inspect.getdoc(task) or "")
    given = task.get_arguments()
    positional = [one for one in given if one.positional]
    return Page(
        name=name,
        also=tuple(sorted({*names} - {name})),
        purpose=purpose,
        usage=" ".join([name, *map(_in_usage, positional), "[OPTIONS]", *_after_dashes(task, given)]),
        more=tuple(more),
        examples=tuple(examples),
        arguments=tuple(Entry(metavar(one), one.help or "") for one in positional),
        options=tuple(Entry(_flags(one), _meaning(one)) for one in given if not one.positional),
    )


def parts(docstring: str) -> tuple[str, list[str], list[str]]:
    """(the purpose, further paragraphs, examples) of a docstring."""
    first, *blocks = docstring.strip("\n").split("\n\n")
    shown = [block for block in blocks if _EXAMPLE.match(block)]
    return (
        " ".join(first.split()),
        [" ".join(block.split()) for block in blocks if block not in shown],
        [line.strip() for block in shown for line in block.splitlines()],
    )


def in_short(purpose: str) -> str:
    """Its first clause, for a list."""
    return re.split(r"[:;] |\.$", purpose, maxsplit=1)[0]


def _in_usage(option: Argument) -> str:
    word = f"{metavar(option)} ..." if option.kind is list else metavar(option)
    return f"[{word}]" if getattr(option, "omittable", False) else word


def _after_dashes(task: Task, given: Sequence[Argument]) -> list[str]:
    """What may stand after ``--``: inputs where they can also come from a file, else the words of a command."""
    if not task.remainder:
        return []
    return ["[-- INPUT ...]"] if any(one.name in ("from_", "from") for one in given) else ["[-- WORD ...]"]


def _flags(option: Argument) -> str:
    """``-j, --jobs N``, ``--[no-]keep-order``."""
    names = sorted((flag_name(name) for name in option.names), key=len)
    if option.kind is bool:
        return ", ".join(names).replace("--", "--[no-]" if option.default else "--")
    return f"{', '.join(names)} [{metavar(option)}]" if option.optional else f"{', '.join(names)} {metavar(option)}"


def _meaning(option: Argument) -> str:
    """What its help says, with the default if that does not say it."""
    text, default = option.help or "", option.default
    if default in (None, "", False, True) or isinstance(default, list) or re.search(r"\(default\b|default:", text):
        return text
    return f"{text} (default: {default})"


# -- as text -------------------------------------------------------------------------------------------------------------


def text(page: Page, program: str) -> str:
    """The page for a terminal; ``program`` is how we were called."""
    lines = [*_wrapped(page.purpose), "", f"Usage: {program} {page.usage}"]
    if page.also:
        lines.append(f"  also: {', '.join(page.also)}")
    for paragraph in page.more:
        lines += ["", *_wrapped(paragraph)]
    if page.examples:
        lines += ["", "Examples:" if len(page.examples) > 1 else "Example:"]
        lines += [f"  {as_called(one, program)}" for one in page.examples]
    for title, entries in (("Arguments", page.arguments), ("Options", page.options)):
        if entries:
            lines += ["", f"{title}:", *columns(entries)]
    return "\n".join(lines)


def as_called(example: str, program: str) -> str:
    """An example with the name that we were called by."""
    return re.sub(r"(^|\| )manyhands ", lambda found: f"{found[1]}{program} ", example)


def columns(entries: Sequence[Entry], left: int = _LEFT) -> Iterator[str]:
    """Two columns; what is too long for the first stands in a line of its own."""
    left = min(left, max((len(one.typed) for one in entries), default=0))
    for one in entries:
        wrapped = textwrap.wrap(one.meaning, _width() - left - 5) or [""]
        if len(one.typed) > left:
            yield f"  {one.typed}"
            wrapped = ["", *wrapped][1:]
        else:
            yield f"  {one.typed:{left}}   {wrapped.pop(0)}".rstrip()
        for line in wrapped:
            yield f"  {'':{left}}   {line}"


def _wrapped(paragraph: str) -> list[str]:
    return textwrap.wrap(paragraph, _width())


def _width() -> int:
    return max(50, min(_WIDEST, shutil.get_terminal_size((100, 24)).columns - 1))


# -- all tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """The tasks of one collection. ``names`` has all names of each; ``folded`` counts those that are not listed one by one."""

    name: str
    title: str
    names: dict[str, tuple[invoke.Task[Any], tuple[str, ...]]]
    folded: int = 0


def sections(collection: invoke.Collection) -> list[Section]:
    """The collections in the order in which they were put together, then the tasks that are in none."""
    other_names: dict[int, list[str]] = {}
    for name, task in collection.tasks.items():
        other_names.setdefault(id(task), []).append(name)
    found = []
    for name, inner in collection.collections.items():
        tasks = {}
        for own, task in inner.tasks.items():
            names = [f"{name}.{own}", *([name] if own == inner.default else []), *other_names.pop(id(task), [])]
            names += [f"{name}.{inner.transform(alias)}" for alias in task.aliases]
            if getattr(task, "listed", True):
                tasks[names[0]] = (task, tuple(names[1:]))
        found.append(Section(name, title_of(inner), _once(tasks), len(inner.tasks) - len(tasks)))
    alone: dict[str, tuple[invoke.Task[Any], tuple[str, ...]]] = {
        name: (task, ()) for name, task in collection.tasks.items() if id(task) in other_names
    }
    return [*found, Section("", "", alone)] if alone else found


def _once(
    tasks: dict[str, tuple[invoke.Task[Any], tuple[str, ...]]],
) -> dict[str, tuple[invoke.Task[Any], tuple[str, ...]]]:
    """A task that is in a collection by two names is listed by the first."""
    first: dict[int, str] = {}
    for name, (task, _) in tasks.items():
        first.setdefault(id(task), name)
    more = {key: [name for name, (task, _) in tasks.items() if id(task) == key and name != first[key]] for key in first}
    return {name: (tasks[name][0], (*tasks[name][1], *more[key])) for key, name in first.items()}


def title_of(collection: invoke.Collection) -> str:
    """The purpose of a collection: the docstring that it was given, not that of its class."""
    return parts(vars(collection).get("__doc__") or "")[0]


def listing(collection: invoke.Collection, program: str) -> str:
    """Every task with its purpose in a line; programs of a tour are only counted."""
    lines = [*_wrapped(title_of(collection)), ""] if title_of(collection) else []
    for section in sections(collection):
        if section.name:
            lines.append(f"{section.name}: {section.title}" if section.title else f"{section.name}:")
        entries = [
            Entry(f"{name} ({', '.join(also)})" if also else name, in_short(parts(inspect.getdoc(task) or "")[0]))
            for name, (task, also) in section.names.items()
        ]
        if section.folded:
            entries.append(Entry(f"{section.name}.NAME", f"{section.folded} more: {program} --list {section.name}"))
        lines += [*columns(entries), ""]
    return "\n".join([*lines, f"{program} TASK --help explains a task."])


def overview(collection: invoke.Collection, program: str, options: Sequence[Entry]) -> str:
    """What the program is for, a few examples, the names of the tasks, and its own options."""
    purpose, _, examples = parts(vars(collection).get("__doc__") or "")
    lines = [*_wrapped(purpose), ""] if purpose else []
    lines += [f"Usage: {program} TASK [ARGUMENTS] [OPTIONS]", ""]
    if examples:
        lines += ["Examples:", *(f"  {as_called(one, program)}" for one in examples), ""]
    names = [one for section in sections(collection) for one in _names(section)]
    lines += [f"Tasks ({program} --list says what each does, {program} TASK --help explains one):", *columns(names), ""]
    return "\n".join([*lines, "Options:", *columns(options)])


def _names(section: Section) -> list[Entry]:
    """The names of a collection in one line; of those in none, what each does."""
    if not section.name:
        return [Entry(name, in_short(parts(inspect.getdoc(task) or "")[0])) for name, (task, _) in section.names.items()]
    own = [name.removeprefix(f"{section.name}.") for name in section.names]
    return [Entry(section.name, ", ".join([*own, *([f"and {section.folded} more"] if section.folded else [])]))]


_OWN: Final = {
    "config": "read this file of invoke's settings, too",
    "debug": "say what invoke itself does",
    "help": "show this, or all about a task",
    "list": "list all tasks, or those of a collection",
    "list-depth": "with --list: so many levels only",
    "list-format": "with --list: flat (default), nested, or JSON",
    "print-completion-script": "print what this shell has to source",
    "version": "show the version",
}
"""invoke's own words are of ``run()``, namespaces and kwargs."""


def own_options(options: Iterable[Argument]) -> list[Entry]:
    """The program's own options, without the one that is for scripts."""
    return [
        Entry(_flags(one), _OWN.get(one.name or "", (one.help or "").rstrip(".")))
        for one in options
        if one.name != "complete"
    ]
