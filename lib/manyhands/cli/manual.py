"""The manual page: what ``--help`` says of every task, as troff for man(1). See man-pages(7) and groff_man(7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import invoke

from manyhands.cli.helping import Entry, Page, in_short, page_of, parts, sections
from manyhands.cli.task import Task

_PAGES = "README.md and the folder docs of the checkout: promises, backends, configuration, recipes, the tour."


def manual(collection: invoke.Collection, name: str, version: str) -> str:
    """The page of the program ``name`` with the tasks of ``collection``."""
    purpose, _, examples = parts(vars(collection).get("__doc__") or "")
    lines = [
        f'.TH {name.upper()} 1 "" "{name} {version}" "User Commands"',
        ".SH NAME",
        f"{name} \\- {_escaped(in_short(purpose[:1].lower() + purpose[1:]))}",
        ".SH SYNOPSIS",
        f".B {name}",
        _escaped("TASK [ARGUMENTS] [OPTIONS] [-- INPUT ...]"),
        ".br",
        f".B {name}",
        _escaped("TASK --help"),
        ".SH DESCRIPTION",
        _escaped(purpose),
        *_examples(examples),
    ]
    for section in sections(collection):
        lines.append(f'.SH "{_escaped(section.name.upper() or "OTHER")} TASKS"')
        lines += [_escaped(f"{section.title[:1].upper()}{section.title[1:]}.")] if section.title else []
        for called, (task, also) in section.names.items():
            if isinstance(task, Task):
                lines += _task(page_of(task, called, also))
        if section.folded:
            lines += [
                ".SS " + _quoted(f"{section.name}.NAME"),
                f"{section.folded} more, which {_bold(f'{name} --list {section.name}')} lists.",
            ]
    return "\n".join([*lines, *_statuses(), ".SH SEE ALSO", _escaped(_PAGES), ""])


def _task(page: Page) -> Iterator[str]:
    yield f".SS {_quoted(page.usage)}"
    yield _escaped(page.purpose)
    for paragraph in page.more:
        yield ".PP"
        yield _escaped(paragraph)
    if page.also:
        yield ".PP"
        yield _escaped(f"Also: {', '.join(page.also)}.")
    yield from _examples(page.examples)
    yield from _entries((*page.arguments, *page.options))


def _entries(entries: Iterable[Entry]) -> Iterator[str]:
    for one in entries:
        yield ".TP"
        yield _bold(one.typed)
        yield _escaped(one.meaning)


def _examples(lines: Iterable[str]) -> Iterator[str]:
    shown = [_escaped(line) for line in lines]
    if shown:
        yield from (".PP", ".EX", *shown, ".EE", ".PP")


def _statuses() -> Iterator[str]:
    """The statuses that all tasks share, as `manyhands.cli.exits` and `manyhands.core.errors` have them."""
    yield '.SH "EXIT STATUS"'
    yield from _entries(
        [
            Entry("0", "all is done and well"),
            Entry("1", "something failed or is left"),
            Entry("2", "a mistake in what was typed, which one line explains; nothing was run"),
            Entry("69", "the broker, or every host, cannot be reached; nothing was run"),
            Entry("73", "the state folder cannot be trusted or made"),
            Entry("74", "the journal of a run cannot be written or read"),
            Entry("75", "somebody is working on that run"),
            Entry("124", "a command took longer than it may"),
            Entry("141", "nobody reads the output any more"),
        ]
    )


def _bold(text: str) -> str:
    return f"\\fB{_escaped(text)}\\fR"


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace('"', "\\(dq") + '"'


def _escaped(text: str) -> str:
    """Text as it is: a hyphen that can be copied, no request at the beginning of a line."""
    text = (
        text.replace("\\", "\\e")
        .replace("-", "\\-")
        .replace("'", "\\(aq")
        .replace("`", "\\(ga")
        .replace("^", "\\(ha")
        .replace("~", "\\(ti")
    )
    return f"\\&{text}" if text.startswith(".") else text
