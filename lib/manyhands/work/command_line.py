"""Parses a line such as ``sort < names | uniq -c > counts``, without a shell.

    text --Line--> stages: words (with the pattern, if wildcards stand in them) and redirections

It supports parts of POSIX (Shell Command Language, 2.2 quoting, 2.7 redirection, 2.9.2 pipelines), and ``|&`` of bash. Everything else
that has a meaning in a shell is refused, with its column: a line means the same as in a shell, or it does not run. Separate from running
it (`manyhands.commands.pipeline`), and plain data.
"""

from __future__ import annotations

import glob
import re
from typing import Final, Literal, NoReturn

from manyhands.core.errors import TemplateError
from manyhands.core.hints import switch_name
from manyhands.core.patterns import pattern
from manyhands.core.records import dataclass

_OPERATOR: Final = pattern(r"([0-9]*)(<<<|<<-|<<|<>|<&|<\(|<|>>|>&|>\||>\(|>)")
_EXPANDED: Final = pattern(r"\$(?:[A-Za-z_]\w*|\{[^}]*\}?|\([^)]*\)?|[0-9\[*@#?$!-])")  # unquoted or in double quotes
_QUOTABLE: Final = r"(?:[^\s'\"\\]|\\.|'[^']*'|\"(?:\\.|[^\"])*\")*?"
_BRACES: Final = pattern(rf"\{{{_QUOTABLE}(?:,|\.\.){_QUOTABLE}\}}", re.DOTALL)
_BRACKET: Final = pattern(r"\[[!^]?+\]?+(?:\[(?![:.=])|[^\s|&;<>()/'\"\\\[\]${`])*\]")
_OTHER_BRACKET: Final = pattern(rf"\[[!^]?+\]?+{_QUOTABLE}\]", re.DOTALL)  # with [:alpha:] or quotes in it
_GOES_ON: Final = pattern(r"\\\n(?=[ \t]|$)")
_ASSIGNMENT: Final = pattern(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")
_RESERVED: Final = frozenset(
    ["!", "[[", "case", "coproc", "for", "function", "if", "select", "time", "until", "while", "{"]
)
_DESCRIPTORS: Final = {"<": (0,), ">": (1, 2), ">>": (1, 2)}


@dataclass(frozen=True, slots=True)
class Word:
    """One word. ``pattern`` is set if it has wildcards: a pattern for `glob`, with quoted characters escaped."""

    text: str
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """One redirection: of ``descriptor`` from or to a file, or (``&``) to where another descriptor leads."""

    descriptor: int
    mode: Literal["<", ">", ">>", "&"]
    target: str | int


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a line: its words, and its redirections in their order."""

    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()


def parse_line(text: str) -> tuple[Command, ...]:
    """The commands between the ``|`` of a line. Raises TemplateError for what only a shell can do."""
    if "\0" in text:
        raise TemplateError("the line holds a NUL byte", text, text.index("\0"))
    return _Line(text).commands()


def split_words(text: str) -> tuple[str, ...]:
    """A line that is one command, as its argument list; wildcards are ordinary characters. Raises TemplateError."""
    first, *more = parse_line(text)
    if more or first.redirects:
        raise TemplateError(f"this is one argument list: a pipe or a redirection needs {switch_name('--shell')}", text, 0)
    return tuple(word.text for word in first.words)


class _Line:
    """Walks over a line."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def commands(self) -> tuple[Command, ...]:
        """All commands of the line."""
        found: list[Command] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        while self._skip_blanks(after_pipe=bool(found) and not words):
            if self.text[self.at] == "|":
                if not words:
                    self._fail("there is no command before this pipe")
                found.append(Command(tuple(words), (*redirects, *self._pipe())))
                words, redirects = [], []
            elif _OPERATOR.match(self.text, self.at):
                redirects.append(self._redirect())
            else:
                words.append(self._word(first=not words))
        if not words:
            self._fail("there is no command after the last pipe" if found else "there is no command")
        return (*found, Command(tuple(words), tuple(redirects)))

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        raise TemplateError(reason, self.text, self.at if at is None else at)

    def _refuse(self, what: str, at: int | None = None) -> NoReturn:
        self._fail(f"{what} needs a shell: quote it, or use {switch_name('--shell')}", at)

    def _skip_blanks(self, *, after_pipe: bool) -> bool:
        """Go to the next word or operator; False at the end. A line may be continued after a pipe or a backslash."""
        text = self.text
        while self.at < len(text):
            if text[self.at] in " \t" or (text[self.at] == "\n" and after_pipe):
                self.at += 1
            elif text.startswith("\\\n", self.at):
                self.at += 2
            elif text[self.at] == "\n" and text[self.at :].strip():
                self._refuse("a second line")
            elif text[self.at] == "\n":
                self.at = len(text)
            else:
                return True
        return False

    def _pipe(self) -> tuple[Redirect, ...]:
        """Step over ``|`` or ``|&``; the latter redirects stderr after all else (bash(1), Pipelines)."""
        if self.text.startswith("||", self.at):
            self._refuse("||")
        both = self.text.startswith("|&", self.at)
        self.at += 2 if both else 1
        return (Redirect(2, "&", 1),) if both else ()

    def _redirect(self) -> Redirect:
        match = _OPERATOR.match(self.text, self.at)
        assert match is not None  # noqa: S101 - the caller has checked
        begins, number, mode = self.at, match[1], match[2]
        self.at = match.end()
        if mode == ">&":
            return self._duplicate(begins, int(number or 1))
        if mode not in ("<", ">", ">>"):
            self._refuse(match[0], begins)
        descriptor = int(number) if number else _DESCRIPTORS[mode][0]
        if descriptor not in _DESCRIPTORS[mode]:
            self._refuse(match[0], begins)
        if not self._skip_blanks(after_pipe=False) or self.text[self.at] in "|&;<>()":
            self._fail("where to redirect is missing", begins)
        target = self._word(first=False)
        if target.pattern is not None:
            self._refuse("a wildcard in a redirection", begins)
        return Redirect(descriptor, mode, target.text)  # type: ignore[arg-type]  # it is one of the three

    def _duplicate(self, begins: int, descriptor: int) -> Redirect:
        """``2>&1`` or ``>&2``."""
        match = re.compile(r"[ \t]*([12])(?=[\s|&;<>()]|$)").match(self.text, self.at)
        if match is None or descriptor not in (1, 2):
            self._refuse(self.text[begins : self.at], begins)
        self.at = match.end()
        return Redirect(descriptor, "&", int(match[1]))

    def _word(self, *, first: bool) -> Word:
        """One word; ``first``: it names the program, so the shell would look for assignments and keywords."""
        begins, text = self.at, self.text
        if text[begins] in "&;()":
            self._refuse(text[begins : begins + 2] if text[begins : begins + 2] in ("&&", ";;", "&>") else text[begins])
        if text[begins] in "~#":
            self._refuse("~" if text[begins] == "~" else "a comment")
        literal: list[str] = []
        pattern: list[str] = []
        has_wild = False
        while self.at < len(text) and text[self.at] not in " \t\n|&;<>()" and not _GOES_ON.match(text, self.at):
            piece, wild = self._piece()
            has_wild |= wild is not None
            literal.append(piece)
            pattern.append(wild or glob.escape(piece))
        word = "".join(literal)
        raw = text[begins : self.at]
        if first and (raw in _RESERVED or _ASSIGNMENT.match(raw)):
            self._refuse(f"{raw}, to begin a command with,", begins)
        return Word(word, "".join(pattern) if has_wild else None)

    def _piece(self) -> tuple[str, str | None]:
        """(the next piece of a word, the same as a pattern if it is a wildcard)."""
        text, at = self.text, self.at
        character = text[at]
        if character == "'":
            end = text.find("'", at + 1)
            if end < 0:
                self._fail("this quote is not closed")
            self.at = end + 1
            return text[at + 1 : end], None
        if character == '"':
            return self._double_quoted(), None
        if character == "\\":
            if at + 1 == len(text):
                self._fail("a backslash at the end")
            self.at += 2
            if text[at + 1] == "\n":
                self._refuse("a line that goes on within a word", at)
            return text[at + 1], None
        self._refuse_expansion()
        if character == "[":
            return self._bracket()
        self.at += 1
        return character, character if character in "*?" else None

    def _refuse_expansion(self) -> None:
        """Fail if something begins here that a shell would expand."""
        text, at = self.text, self.at
        if expanded := _EXPANDED.match(text, at):
            self._refuse(expanded[0])
        if text[at : at + 2] in ("$'", '$"'):
            self._refuse(text[at : at + 2])
        if text[at] == "`" or (text[at] == "~" and text[at - 1] in "=:"):
            self._refuse(text[at])
        if braces := _BRACES.match(text, at):
            self._refuse(braces[0])

    def _bracket(self) -> tuple[str, str | None]:
        """``[a-z]`` and the like; a bracket that is not closed is an ordinary character."""
        if match := _BRACKET.match(self.text, self.at):
            self.at = match.end()
            return match[0], re.sub(r"^\[\^", "[!", match[0])
        if other := _OTHER_BRACKET.match(self.text, self.at):
            self._refuse(other[0])
        self.at += 1
        return "[", None

    def _double_quoted(self) -> str:
        """The text between two double quotes; the backslash escapes only $ ` " and itself."""
        text, opened = self.text, self.at
        self.at += 1
        found: list[str] = []
        while self.at < len(text) and text[self.at] != '"':
            character = text[self.at]
            if character == "\\" and text[self.at + 1 : self.at + 2] in ("$", "`", '"', "\\"):
                found.append(text[self.at + 1])
                self.at += 2
                continue
            if text.startswith("\\\n", self.at):
                self._refuse("a line that goes on within a word")
            expanded = _EXPANDED.match(text, self.at)
            if character == "`" or expanded:
                self._refuse(expanded[0] if expanded else "`")
            found.append(character)
            self.at += 1
        if self.at == len(text):
            self._fail("this quote is not closed", opened)
        self.at += 1
        return "".join(found)
