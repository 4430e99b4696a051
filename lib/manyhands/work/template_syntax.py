"""Parses the text of a template: words and quotes of POSIX shells, placeholders, doubled braces.

Separate from what a template does with it (`manyhands.work.template`), and from scripts for a shell (`manyhands.work.shell_script`). Errors
point at the column.
"""

from __future__ import annotations

import os
import re
from typing import Final

from manyhands.core.errors import TemplateError
from manyhands.core.hints import switch_name
from manyhands.core.lean import NamedTuple
from manyhands.core.patterns import pattern

PLACEHOLDER: Final = pattern(
    r"\{(?:(?P<special>[#%])|(?P<field>-?[1-9][0-9]*|[A-Za-z_][\w -]*?)?(?P<operation>//|/\.|/|\.)?)\}"
)
_OPERATORS: Final = "|&;<>()$`"
_ASSIGNED: Final = pattern(r"[A-Za-z_]\w*=(?:.*:)?")
_BRACKET: Final = pattern(r"\[\S+\]")


class Part(NamedTuple):
    """A piece of an argument: literal ``text``, or a placeholder (``field``: a name, a position from 1, or None for all).
    ``reader``: the program that parses it again as a part of code (`manyhands.work.nested_code`)."""

    text: bytes | None = None
    field: str | int | None = None
    operation: str = ""
    column: int = 0
    reader: str | None = None

    @property
    def is_input(self) -> bool:
        """Whether it is replaced by the input, not only by a number of ours."""
        return self.text is None and self.field not in ("#", "%")


Word = tuple[Part, ...]


def placeholder(text: str, at: int, whole: str, offset: int = 0) -> tuple[Part, int]:
    """(the part at the brace ``text[at]``, where it ends)."""
    pair = text[at : at + 2]
    if pair in ("{{", "}}"):
        return Part(os.fsencode(pair[0])), at + 2
    match = PLACEHOLDER.match(text, at)
    if match is None:
        found = text[at : text.find("}", at) + 1] if text[at] == "{" else ""
        reason = f"unknown placeholder {found}" if found else f"a lone {text[at]!r}"
        raise TemplateError(f"{reason}; write {{{{ or }}}} for a literal brace", whole, at + offset)
    field: str | int | None = match["special"] or match["field"]
    if isinstance(field, str) and re.fullmatch(r"-?\d+", field):
        field = int(field)
    return Part(None, field, match["operation"] or "", at + offset), match.end()


def parts_of(text: str) -> list[Part]:
    """Literal text and placeholders, without any quoting."""
    parts, at = [], 0
    while at < len(text):
        if text[at] in "{}":
            part, at = placeholder(text, at, text)
        else:
            end = next((i for i in range(at, len(text)) if text[i] in "{}"), len(text))
            part, at = Part(os.fsencode(text[at:end])), end
        parts.append(part)
    return parts


class Words:
    """Splits a template into words by POSIX's rules of quoting (Shell Command Language, 2.2)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def words(self) -> list[Word]:
        """All words."""
        found: list[Word] = []
        while True:
            while self.at < len(self.text) and self.text[self.at].isspace():
                self.at += 1
            if self.at == len(self.text):
                return found
            found.append(tuple(self.word()))

    def word(self) -> list[Part]:
        """The parts of one word."""
        text, parts, begins = self.text, [], self.at
        while self.at < len(text) and not text[self.at].isspace():
            character = text[self.at]
            if character in "'\"":
                parts += self.quoted(character)
            elif character == "\\":
                if self.at + 1 == len(text):
                    raise TemplateError("a backslash at the end", text, self.at)
                parts.append(Part(os.fsencode(text[self.at + 1])))
                self.at += 2
            elif character in _OPERATORS or self.is_expanded(begins):
                raise TemplateError(
                    f"{character!r} needs a shell: add {switch_name('--shell')}, or quote it", text, self.at
                )
            elif character in "{}":
                part, self.at = placeholder(text, self.at, text)
                parts.append(part)
            else:
                parts.append(Part(os.fsencode(character)))
                self.at += 1
        return parts

    def is_expanded(self, begins: int) -> bool:
        """Whether a shell expands the character here to file names or a home folder, in a word that began at ``begins``."""
        character, before = self.text[self.at], self.text[begins : self.at]
        if character == "~":
            return not before or _ASSIGNED.fullmatch(before) is not None
        return character in "*?" or (character == "[" and _BRACKET.match(self.text, self.at) is not None)

    def quoted(self, mark: str) -> list[Part]:
        """The parts between two quotes, including placeholders: quotes only keep a word together."""
        text, opened, parts = self.text, self.at, [Part(b"")]
        self.at += 1
        while self.at < len(text):
            character = text[self.at]
            if character == mark:
                self.at += 1
                return parts
            if character == "\\" and mark == '"' and text[self.at + 1 : self.at + 2] in ("\\", '"', "$", "`"):
                parts.append(Part(os.fsencode(text[self.at + 1])))
                self.at += 2
            elif character in "{}":
                part, self.at = placeholder(text, self.at, text)
                parts.append(part)
            else:
                parts.append(Part(os.fsencode(character)))
                self.at += 1
        raise TemplateError("this quote is not closed", text, opened)


def end_of_document(text: str, at: int, delimiter: str, *, tabs: bool, continued: bool) -> int:
    """Where a here-document of a shell that begins at ``at`` ends: after the line that is its delimiter. ``tabs``: ignore leading
    TABs of that line; ``continued``: a backslash at the end of a line joins the next."""
    joined = False
    while at < len(text):
        line, newline, _ = text[at:].partition("\n")
        at += len(line) + len(newline)
        if not joined and (line.lstrip("\t") if tabs else line) == delimiter:
            return at
        joined = continued and (len(line) - len(line.rstrip("\\"))) % 2 == 1
    return at
