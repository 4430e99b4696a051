"""How the text of a template is read: words and quotes of POSIX shells, placeholders, doubled braces.

Separate from what a template does with it (`manyhands.template`). Errors point at the column.
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple

from manyhands.errors import TemplateError

_PLACEHOLDER = re.compile(
    r"\{(?:(?P<special>[#%])|(?P<field>-?[1-9][0-9]*|[A-Za-z_][\w -]*?)?(?P<operation>//|/\.|/|\.)?)\}"
)
_OPERATORS: Final = "|&;<>()$`"


class Part(NamedTuple):
    """A piece of an argument: literal ``text``, or a placeholder (``field``: a name, a position from 1, or None for all)."""

    text: bytes | None = None
    field: str | int | None = None
    operation: str = ""
    column: int = 0


Word = tuple[Part, ...]


def placeholder(text: str, at: int, whole: str, offset: int = 0) -> tuple[Part, int]:
    """(what stands at the brace ``text[at]``, where it ends)."""
    pair = text[at : at + 2]
    if pair in ("{{", "}}"):
        return Part(os.fsencode(pair[0])), at + 2
    match = _PLACEHOLDER.match(text, at)
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
        """All of them."""
        found: list[Word] = []
        while True:
            while self.at < len(self.text) and self.text[self.at].isspace():
                self.at += 1
            if self.at == len(self.text):
                return found
            found.append(tuple(self.word()))

    def word(self) -> list[Part]:
        """The parts of one word."""
        text, parts = self.text, []
        while self.at < len(text) and not text[self.at].isspace():
            character = text[self.at]
            if character in "'\"":
                parts += self.quoted(character)
            elif character == "\\":
                if self.at + 1 == len(text):
                    raise TemplateError("a backslash at the end", text, self.at)
                parts.append(Part(os.fsencode(text[self.at + 1])))
                self.at += 2
            elif character in _OPERATORS:
                raise TemplateError(f"{character!r} needs a shell: add --shell, or quote it", text, self.at)
            elif character in "{}":
                part, self.at = placeholder(text, self.at, text)
                parts.append(part)
            else:
                parts.append(Part(os.fsencode(character)))
                self.at += 1
        return parts

    def quoted(self, mark: str) -> list[Part]:
        """The parts between two quotes; placeholders hold there, too: quotes only keep a word together."""
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


class Script:
    """Walks over a shell template; knows whether it is inside quotes, a comment, or behind a here-document's mark."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.mark, self.opened = "", 0
        self.comment = self.here = False

    def parts(self) -> Word:
        """The script as one word; refuses placeholders where a quoted input would not be one word of the shell."""
        text, parts = self.text, []
        while self.at < len(text):
            if not self.comment and self.is_ours():
                part, end = placeholder(text, self.at, text)
                if part.text is None and part.field not in ("#", "%"):
                    self.refuse_unprotected()
            else:
                end = self.at + self.step()
                part = Part(os.fsencode(text[self.at : end]))
            parts.append(part)
            self.at = end
        if self.mark:
            raise TemplateError("this quote is not closed", text, self.opened)
        return tuple(parts)

    def is_ours(self) -> bool:
        """Whether a placeholder or doubled brace begins here: the shell's own ``${x}``, ``{ list; }``, ``a{b,c}`` do not."""
        text, at = self.text, self.at
        if text[at] not in "{}" or text[at - 1 : at] == "$":
            return False
        return text[at : at + 2] in ("{{", "}}") or (text[at] == "{" and _PLACEHOLDER.match(text, at) is not None)

    def step(self) -> int:
        """Take the character here into account; returns how many characters belong together."""
        text, at = self.text, self.at
        character = text[at]
        if self.comment:
            self.comment = character != "\n"
        elif character == "\\" and self.mark != "'":
            return 2
        elif self.mark:
            self.mark = "" if character == self.mark else self.mark
        elif character in "'\"`":
            self.mark, self.opened = character, at
        elif character == "#" and (at == 0 or text[at - 1] in " \t\n;&|("):
            self.comment = True
        elif text.startswith("<<", at):
            self.here = not text.startswith("<<<", at)
            return 3 - self.here
        return 1

    def refuse_unprotected(self) -> None:
        """Raise TemplateError if an input here could not be kept one word by quoting it."""
        if self.mark == "`":
            raise TemplateError("an input inside backquotes cannot be quoted safely: use $(...)", self.text, self.at)
        if self.mark:
            raise TemplateError("the input is quoted for you: take the quotes away", self.text, self.at)
        if self.here:
            raise TemplateError("an input in a here-document cannot be quoted", self.text, self.at)
