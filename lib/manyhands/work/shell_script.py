"""Parses a template for a shell: where in the script an input can stand as one quoted word, and where it cannot.

    text --Script--> parts: literal text and placeholders, each where quoting keeps the input one word; or TemplateError

It tracks what opens and closes in a script (bash(1), QUOTING, EXPANSION, SHELL GRAMMAR; POSIX, Shell Command Language, 2.2 to 2.10), and
needs no more of the grammar than that. If it cannot be sure, a placeholder is refused.
"""

from __future__ import annotations

import os
import re
from typing import Final

from manyhands.core.errors import TemplateError
from manyhands.core.patterns import pattern
from manyhands.work.nested_code import HOLE, evaluated, read_again
from manyhands.work.shell_frames import Frame
from manyhands.work.template_syntax import PLACEHOLDER, Part, Word, end_of_document, placeholder

_QUOTES: Final = ("'", '"', "$'", "`")
_TRANSPARENT: Final = frozenset(
    ["if", "then", "else", "elif", "fi", "while", "until", "do", "done", "{", "}", "!", "time", "coproc"]
)  # words after which a command begins, or a list ends
_DELIMITER: Final = pattern(r"""(-?)[ \t]*((?:[^\s'"\\$`(){}<>;&|#]|'[^'\n]*'|"[^"\\$`\n]*"|\\[^\n])+)(?=[\s;&|<>)]|$)""")
_EXPANDED: Final = pattern(r"(?:PS[0-4]|PROMPT_COMMAND|BASH_ENV|ENV)\+?=")  # variables that shells expand as code
_INTEGER: Final = pattern(
    r"\b(?:declare|typeset|local|export|readonly)\s+(?:\S+\s+)*?[-+]\w*[inAa]|\b(?:integer|float)\b"
)
_BY_VARIABLE: Final = 'give it to a variable first, x={}, and use "$x"'


class Script:
    """Reads a template for ``shell``, a path."""

    def __init__(self, text: str, shell: str) -> None:
        self.text, self.at = text, 0
        self.shell = os.path.basename(shell)
        self.frames = [Frame("command", 0)]
        self.found: list[Part] = []
        self.documents: list[
            tuple[str, bool, bool]
        ] = []  # (what ends it, leading TABs do not count, lines may be continued)
        self.doubt: str | None = None
        self.reader: str | None = None
        """The program that parses inputs at the end again, as code."""

    def parts(self) -> Word:
        """The script as one word; refuses placeholders where a quoted input would not be one word of the shell."""
        text = self.text
        while self.at < len(text):
            frame = self.frames[-1]
            if frame.kind != "#" and self.is_ours():
                part, end = placeholder(text, self.at, text)
                self.place(frame, part)
            else:
                end = self.at + self.step(frame)
                part = Part(os.fsencode(text[self.at : end]))
            self.found.append(part)
            self.at = end
        self.finish()
        return tuple(self.found)

    def is_ours(self) -> bool:
        """Whether a placeholder or doubled brace begins here: the shell's own ``${x}``, ``{ list; }``, ``a{b,c}`` do not."""
        text, at = self.text, self.at
        if text[at] not in "{}" or text[at - 1 : at] == "$":
            return False
        return text[at : at + 2] in ("{{", "}}") or (text[at] == "{" and PLACEHOLDER.match(text, at) is not None)

    def place(self, frame: Frame, part: Part) -> None:
        """Add a placeholder or a literal brace."""
        if part.is_input and (reason := self.unprotected(frame)):
            raise TemplateError(reason, self.text, self.at)
        if frame.kind == "array" and part.is_input:
            self.place(self.frames[-2], part)  # the list is a part of a word
            frame.word = HOLE
        elif frame.kind == "command":
            if part.is_input:
                frame.holes.append((-1 if frame.skip else len(frame.words), len(self.found)))
            frame.word = (frame.word or "") + (
                HOLE if part.is_input else "0" if part.text is None else part.text.decode()
            )

    def finish(self) -> None:
        """Check the end of the script; an input that is added there must be protected by quoting, too."""
        frame = self.frames[-1]
        if frame.kind in _QUOTES and not self.doubt:
            raise TemplateError("this quote is not closed", self.text, frame.opened)
        if not any(part.text is None for part in self.found):
            self.add_hole(frame)
        for one in self.frames:
            self.end_command(one)
            if one.kind == "array":
                self.not_in_array(one)

    def add_hole(self, frame: Frame) -> None:
        """Add a placeholder at the end, because there is none in the template."""
        if frame.kind == "command":
            self.end_word(frame)
        why = self.unprotected(frame)
        if frame.kind == "#":
            why = "the input would follow a comment"
        elif len(self.frames) > 1 or self.documents or frame.begins or frame.skip or self.text.endswith("\\"):
            why = "an input at the end of this would be read as something else than an argument"
        if why:
            raise TemplateError(f"{why}: write {{}} where it belongs", self.text, len(self.text))
        frame.holes.append((len(frame.words), len(self.found)))
        frame.words.append(HOLE)

    def unprotected(self, frame: Frame) -> str | None:
        """Why quoting could not keep an input here one word; None if it can."""
        kinds = [one.kind for one in self.frames]
        if "`" in kinds:
            return "an input inside backquotes cannot be quoted safely: use $(...)"
        if frame.kind in _QUOTES:
            return "the input is quoted for you: take the quotes away"
        if frame.kind == "a[" or (frame.kind == "array" and (frame.word or "").startswith("[")):
            return "a shell evaluates the subscript of an array, commands included"
        if frame.kind in ("((", "["):
            return "a shell evaluates what stands in arithmetic, commands included: use $(expr {} + 1) or awk"
        if "${" in kinds:
            return f"an input inside ${{...}} cannot be quoted safely: {_BY_VARIABLE}"
        if frame.kind == "document":
            return f"an input in a here-document cannot be quoted: {_BY_VARIABLE}"
        if _EXPANDED.match(frame.word or ""):
            return f"a shell runs what {frame.word} holds"
        return self.doubt

    # -- what opens and closes -------------------------------------------------------------------------------------------

    def step(self, frame: Frame) -> int:
        """Process the character here; return how many characters belong together."""
        character, kind = self.text[self.at], frame.kind
        if kind in ("command", "array"):
            return self.in_command(frame, character)
        if kind == "#" and character == "\n":
            self.frames.pop()
            return self.step(self.frames[-1])
        if kind == "document" and self.at + 1 >= frame.end:
            self.frames.pop()
        if kind in ("#", "document"):
            return 1
        if character == "\\" and kind != "'":
            if kind == "$'":
                self.needs_more_than_posix("$'...'")
            self.keep(self.text[self.at + 1 : self.at + 2])
            return 2
        if character == kind[-1] and kind in _QUOTES:
            self.frames.pop()
            return 1
        self.keep(character)
        return self.in_expansion(frame, character) if kind not in ("'", "$'", "`") else 1

    def keep(self, character: str) -> None:
        """Add a character within quotes to the current word."""
        if self.frames[-1].kind in _QUOTES and (word := self.frames[-2]).kind == "command":
            word.word, word.quoted = (word.word or "") + character, True

    def needs_more_than_posix(self, what: str) -> None:
        """Note a doubt if the shell is not one of these: others parse it differently."""
        if self.shell not in ("bash", "zsh", "ksh", "mksh"):
            self.doubt = f"{self.shell} may not know {what}: use bash"

    def in_expansion(self, frame: Frame, character: str) -> int:
        """Inside double quotes, ``${...}`` and arithmetic."""
        if character == "`":
            return self.open("`")
        if character == "$":
            return self.dollar(frame)
        if frame.kind == '"':
            return 1
        if character in "'\"":
            if frame.kind not in ("${", "a[") or any(one.kind == '"' for one in self.frames):
                self.doubt = "what quotes mean within this expansion differs from shell to shell"
                return 1
            return self.open(character)
        if frame.kind == "${":
            if character == "}":
                self.frames.pop()
            return 1
        return self.in_arithmetic(frame, character)

    def in_arithmetic(self, frame: Frame, character: str) -> int:
        """Inside ``((...))`` or ``$[...]``: count what is open."""
        opening, closing = ("(", ")") if frame.kind == "((" else ("[", "]")
        frame.depth += (character == opening) - (character == closing)
        if frame.depth == 1 and frame.kind == "((" and character == ")" and not self.text.startswith("))", self.at):
            self.doubt = "a shell may take this for arithmetic: put a blank between the two parentheses before it"
        if frame.depth == 0:
            self.frames.pop()
        return 1

    def open(self, kind: str, length: int | None = None, depth: int = 0) -> int:
        """Note that something begins here."""
        self.frames.append(Frame(kind, self.at, depth))
        return length or len(kind)

    def dollar(self, frame: Frame) -> int:
        """What a ``$`` begins."""
        rest = self.text[self.at + 1 : self.at + 3]
        if rest == "((":
            return self.open("((", 3, 2)
        if rest[:1] == "(":
            return self.open("command", 2)
        if rest[:1] == "{":
            return self.open("${")
        if rest[:1] == "[":
            self.needs_more_than_posix("$[...]")
            return self.open("[", 2, 1)
        if rest[:1] in ("'", '"') and frame.kind in ("command", "array"):
            return self.open("$'" if rest[0] == "'" else '"', 2)
        return 2 if rest[:1] and rest[0] in "$#?!*@-0123456789" else 1

    # -- commands --------------------------------------------------------------------------------------------------------

    def in_command(self, frame: Frame, character: str) -> int:
        """Outside of quotes."""
        text, at = self.text, self.at
        if frame.kind == "array" and character in ";&|<>(" and not re.match(r"[<>]\(", text[at:]):
            self.not_in_array(frame)
        if character in " \t":
            self.end_word(frame)
        elif character == "\n":
            return self.newline(frame)
        elif character in ";&|" and not (frame.words[:1] == ["[["] or text[at : at + 2] == "&>"):
            self.end_command(frame)
        elif character in "()":
            return self.parenthesis(frame, character)
        elif character in "<>":
            return self.redirection(frame)
        elif character == "#" and frame.word is None:
            return self.open("#")
        else:
            return self.in_word(frame, character)
        return 1

    def not_in_array(self, frame: Frame) -> None:
        """After a mistake in ``a=(...)`` bash continues with the next line, which could be a line of an input."""
        raise TemplateError("this list of values is not closed", self.text, frame.opened)

    def in_word(self, frame: Frame, character: str) -> int:
        """A character that belongs to a word."""
        if character == "\\":
            if self.text[self.at + 1 : self.at + 2] != "\n":
                frame.word = (frame.word or "") + self.text[self.at + 1 : self.at + 2]
            return 2
        frame.word = frame.word or ""
        if character in "'\"`":
            return self.open(character)
        if character == "$":
            frame.word += "$"
            return self.dollar(frame)
        frame.word += character
        if character == "[" and frame.assigns and re.fullmatch(r"[A-Za-z_]\w*\[", frame.word):
            self.needs_more_than_posix("arrays")
            return self.open("a[", 1, 1)
        return 1

    def newline(self, frame: Frame) -> int:
        """The end of a line: what here-documents hold follows."""
        self.end_command(frame)
        if not self.documents:
            return 1
        if len(self.frames) > 1:
            self.doubt = "it is not certain where the here-document before it ends"
            return 1
        end = self.at + 1
        for delimiter, tabs, continued in self.documents:
            end = end_of_document(self.text, end, delimiter, tabs=tabs, continued=continued)
        self.documents = []
        if end > self.at + 1:
            self.frames.append(Frame("document", self.at, end=end))
        return 1

    def parenthesis(self, frame: Frame, character: str) -> int:
        """``(`` and ``)``: subshells, arithmetic commands, arrays, functions, patterns of ``case``, groups in ``[[``."""
        array = frame.word is not None and re.fullmatch(r"[A-Za-z_]\w*\+?=", frame.word)
        if frame.words[:1] == ["[["]:
            self.doubt = "a shell may take this for a list of values" if array else self.doubt
            self.end_word(frame)
            return 1
        if character == ")":
            return self.closed(frame)
        pair = self.text[self.at : self.at + 2]
        if array:
            return self.open("array", 1)
        if pair == "((" and (frame.begins or (frame.word is None and frame.words == ["for"])):
            self.needs_more_than_posix("((...))")
            return self.open("((", 2, 2)
        if pair == "()":
            frame.word = None
            frame.words.clear()
            return 2
        if not frame.begins and not frame.cases:
            self.doubt = "this parenthesis is not understood"
        return 1 if frame.cases and frame.words[:1] == ["case"] else self.open("command", 1)

    def closed(self, frame: Frame) -> int:
        """``)``: the end of a pattern of ``case``, or of what was opened."""
        self.end_command(frame)
        if frame.cases:
            return 1
        self.doubt = self.doubt if len(self.frames) > 1 else "this parenthesis is not understood"
        self.frames[1:] = self.frames[1:-1]
        return 1

    def redirection(self, frame: Frame) -> int:
        """``<`` and ``>``, with what belongs to them."""
        text, at = self.text, self.at
        if frame.words[:1] == ["[["]:
            self.needs_more_than_posix("[[ ... ]]")
            self.end_word(frame)
            return 1
        if text.startswith("(", at + 1):
            frame.word = frame.word or ""
            return self.open("command", 2)
        if frame.word is not None and frame.word.isdigit():
            frame.word = None  # a descriptor
        self.end_word(frame)
        if text.startswith("<<<", at):
            frame.skip = True
            return 3
        if text.startswith("<<", at):
            return self.document()
        frame.skip = True
        return 2 if text[at + 1 : at + 2] in ("<", ">", "&", "|") else 1

    def document(self) -> int:
        """``<<`` and its delimiter."""
        match = _DELIMITER.match(self.text, self.at + 2)
        if match is None:
            self.doubt = "it is not certain where the here-document before it ends"
            return 2
        delimiter = re.sub(r"\\(.)|['\"]", lambda found: found[1] or "", match[2])
        self.documents.append((delimiter, match[1] == "-", delimiter == match[2]))
        return match.end() - self.at

    def end_word(self, frame: Frame) -> None:
        """A word of a command is complete."""
        word, frame.word = frame.word, None
        quoted, frame.quoted = frame.quoted, False
        if word is None or frame.skip:
            frame.skip = False if word is not None else frame.skip
            return
        if frame.kind == "array" or (not frame.words and word in _TRANSPARENT and not quoted):
            return
        if not frame.words and not quoted:
            frame.cases += (word == "case") - (word == "esac" and frame.cases > 0)
        frame.words.append(word)
        if frame.words[0] == "[[" and word == "]]":
            self.end_command(frame)

    def end_command(self, frame: Frame) -> None:
        """A command is complete: check what it does with its words."""
        self.end_word(frame)
        if frame.kind == "command" and frame.words:
            self.check(frame)
        frame.words, frame.holes, frame.skip = [], [], False

    def check(self, frame: Frame) -> None:
        """Refuse placeholders that the shell evaluates, mark those that another program parses again."""
        parts: dict[int, int] = dict(reversed(frame.holes))
        if found := evaluated(frame.words, self.shell):
            at, name = found
            why = f"{name} reads its arguments again, as code or as arithmetic: an input is not safe there"
            raise TemplateError(why, self.text, self.column(parts[at]))
        if _INTEGER.search(" ".join(frame.words)):
            self.doubt = "a variable was declared to hold a number, and its value is evaluated"
        for number, reader in read_again(frame.words).items():
            for word, part in frame.holes:
                if word == number and part < len(self.found):
                    self.found[part] = self.found[part]._replace(reader=reader)
                elif word == number:
                    self.reader = reader

    def column(self, part: int) -> int:
        """The column of a placeholder; the end for one that is not written."""
        return self.found[part].column if part < len(self.found) else len(self.text)
