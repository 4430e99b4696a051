"""A command template: parsed once into an argument list, rendered to arguments, never to shell text.

    'convert {} out/{/.}.jpg'  --parse-->  [[whole], [b"out/", stem, b".jpg"]]  --bind, argv-->  (b"convert", b"a b.png", ...)

An input stays within one argument, whatever bytes it holds. With ``shell=True`` every input is quoted for the shell; a placeholder that quoting
cannot protect (`manyhands.work.shell_script`) is refused. An argument that a program parses as code (`manyhands.work.nested_code`) takes only
inputs without special characters. Placeholders are GNU parallel's, and column names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from manyhands.core.arguments import check_several
from manyhands.core.errors import InputError, TemplateError, UsageError
from manyhands.core.hashes import blake2b
from manyhands.core.hints import option_name, switch_name
from manyhands.core.job import Arg, Values
from manyhands.core.patterns import pattern
from manyhands.core.records import dataclass
from manyhands.work.command_line import parse_line
from manyhands.work.nested_code import marked
from manyhands.work.path_parts import OPERATIONS
from manyhands.work.template_syntax import Part, Word, Words, parts_of
from manyhands.work.work import Work, another

_SAFE = pattern(rb"[A-Za-z0-9@%+=:,./_-]+")  # what shlex.quote leaves as it is


def quote(value: bytes) -> bytes:
    """`shlex.quote` for bytes: one word for every POSIX shell, whatever it holds."""
    return value if _SAFE.fullmatch(value) else b"'" + value.replace(b"'", b"'\"'\"'") + b"'"


def user_shell(environ: Mapping[str, str]) -> str:
    """The shell for ``--shell``: ``$SHELL`` if it quotes as POSIX says, else bash, else /bin/sh.

    Not dash, which drops functions exported by bash; not fish or csh, which quote in other ways.
    """
    shell = environ.get("SHELL", "")
    if os.path.basename(shell) in {"bash", "zsh", "ksh", "mksh"} and os.access(shell, os.X_OK):
        return shell
    import shutil  # here: it imports all kinds of compression

    return shutil.which("bash", path=environ.get("PATH")) or "/bin/sh"


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. ``args`` is the list it was made of, if it was made of a list."""

    text: str
    words: tuple[Word, ...]
    shell: str | None = None
    args: tuple[str, ...] | None = None
    reader: str | None = None
    """The program that parses inputs again as code, if there is no placeholder and inputs are added at the end."""
    group: int | None = None
    """How many inputs a job may have: ``{}`` as an argument of its own stands for all of them, ``{1}`` for the first."""
    lines: bool = False
    """Each input is a whole command."""
    on_each: bool = False
    """The last column of an input is the host of the job: ``{host}``, and nothing else, stands for it."""
    warm: tuple[str, ...] | None = None
    """If it is a Python script whose jobs are forked from a process that has imported what it needs: further modules for that."""

    @property
    def reads_code(self) -> bool:
        """Whether a program such as ``sh -c`` or ``ssh`` parses an input again."""
        return bool(self.reader) or any(part.reader for word in self.words for part in word)

    @classmethod
    def each_line(cls, *, shell: str | None = None) -> Template:
        """Each input is a command: split into arguments as a shell would, or, with ``shell`` (its path), a script for it."""
        return cls("(each input is a command)", (), shell, lines=True)

    @classmethod
    def parse(cls, text: str, *, shell: str | None = None) -> Template:
        """Split ``text`` into arguments as POSIX shells split words; with ``shell`` (its path) keep it as one script.

        Raises TemplateError, which points at the column.
        """
        if not text.strip():
            raise TemplateError("the template is empty", text, 0)
        if "\0" in text:
            raise TemplateError("the template holds a NUL byte", text, text.index("\0"))
        if shell is not None:
            from manyhands.work.shell_script import Script  # here: only --shell needs it

            script = Script(text, shell)
            return cls(text, (script.parts(),), shell, None, script.reader)
        words = Words(text).words()
        if all(part.text == b"" for part in words[0]):
            raise TemplateError("the command is empty", text, 0)
        found, reader = marked(words)
        return cls(text, found, reader=reader)

    @classmethod
    def from_args(cls, args: Sequence[str]) -> Template:
        """A template whose arguments are given one by one; nothing is split, quotes mean nothing."""
        check_several("template", args, "arguments")
        if not args or not args[0]:
            raise TemplateError("the command is empty", " ".join(args), 0)
        words, reader = marked([tuple(parts_of(arg)) for arg in args])
        return cls(" ".join(args), words, None, tuple(args), reader)

    @property
    def fields(self) -> tuple[str, ...]:
        """The column names that are used, in order, each once."""
        found = (
            part.field
            for word in self.words
            for part in word
            if isinstance(part.field, str) and part.field not in ("#", "%", "host" if self.on_each else "#")
        )
        return tuple(dict.fromkeys(found))

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return "command"

    @property
    def is_function(self) -> bool:
        """See `manyhands.work.work.Work`."""
        return False

    @property
    def identity(self) -> tuple[object, ...]:
        """What must be the same for two runs to do the same work."""
        return (self.kind, self.text, self.args, self.shell)

    def bind(self, columns: Sequence[str] = (), *, width: int | None = None) -> Renderer:
        """Fit it to inputs with these column names, or this number of columns. Raises TemplateError if it does not fit."""
        return Renderer(self, columns, width)

    def check(self) -> None:
        """See `manyhands.work.work.Work`: whether a command exists is only known when it is started."""

    def difference(self, before: Work, place: str) -> str | None:
        """See `manyhands.work.work.Work`; the same shell may have two names."""
        if not isinstance(before, Template) or (self.text, self.args) != (before.text, before.args):
            return another(self, before, place)
        if self.on_each is not before.on_each:
            return f"runs its command{place} {'without' if self.on_each else 'with'} {option_name('--on-each')}"
        if _program(self.shell) == _program(before.shell):
            return None
        if self.shell is None or before.shell is None:
            return f"runs its command{place} {'without' if before.shell is None else 'with'} {option_name('--shell')}"
        return (
            f"runs its command{place} in another shell ({before.shell}, this is {self.shell}); set SHELL={before.shell}"
        )

    def to_json(self) -> dict[str, Any]:
        """Its part of run.json."""
        text = self.text if self.args is None else list(self.args)
        own = {"template": text, "shell": self.shell, "lines": self.lines} | ({"on_each": True} if self.on_each else {})
        return {**own, "call": None, "group": self.group, "warm": None if self.warm is None else list(self.warm)}


def _program(shell: str | None) -> str | None:
    return None if shell is None else os.path.realpath(shell)  # /bin/bash and /usr/bin/bash are often the same


class Renderer:
    """A template fitted to its inputs: makes the arguments and the identity of each job."""

    def __init__(self, template: Template, columns: Sequence[str], width: int | None) -> None:
        self._template = template
        self._columns = {name: index for index, name in enumerate(columns)}
        self._width = width or (len(columns) or None)
        if template.on_each:
            self._columns["host"] = -1
            self._width = self._width and self._width - 1
        if template.group is not None and (self._width or 1) > 1:
            raise UsageError(f"{option_name('--max-args')} is for inputs of one column, and these have {self._width}")
        self._words = [self._compile(word) for word in template.words]
        self._append = not template.lines and not any(part.text is None for word in template.words for part in word)
        self.uses_slot = any(part.field == "%" for word in template.words for part in word)
        # One byte distinguishes the kinds of template, so that a list never has the identity of a text.
        kind = b"s" if template.shell else b"t" if template.args is None else b"l"
        kind = kind.upper() if template.lines else kind
        identity = "\0".join(template.args) if template.args is not None else template.text
        self._hasher = blake2b(kind + os.fsencode(identity) + b"\0", digest_size=16)

    def key(self, values: Values) -> bytes:
        """16 bytes that identify (template, input); each value is hashed with its length, so that borders count.

        Raises InputError if the input has to be a command, and is not."""
        if self._template.lines:
            self._command(values)
        hasher = self._hasher.copy()
        for value in values:
            hasher.update(b"%d:" % len(value) + value)
        return hasher.digest()

    def argv(self, values: Values, number: int) -> tuple[Arg, ...]:
        """The arguments for one input; ``{%}`` is not filled in yet: such an argument is a tuple (see `fill_slot`).

        A NUL byte in a value is passed on: execve(2) cannot take it, and the backend reports that job as failed.
        """
        shell = self._template.shell
        if self._template.lines:
            return self._command(values)
        if shell is not None:
            script = self._render(self._words[0], values, number, quote)
            if isinstance(script, bytes) and self._append:
                script = b" ".join([script, *map(quote, self._appended(values))])
            return os.fsencode(shell), b"-c", script
        argv: list[Arg] = []
        for word in self._words:
            if isinstance(word, list) and isinstance(word[0], _Each):
                argv += map(word[0].operation, values)
            else:
                argv.append(word if isinstance(word, bytes) else self._render(word, values, number, bytes))
        if self._append:
            argv += self._appended(values)
        return tuple(argv)

    def _appended(self, values: Values) -> Values:
        values = values[:-1] if self._template.on_each else values
        if reader := self._template.reader:
            return tuple(self._checked(value, reader) for value in values)
        return values

    def _checked(self, value: bytes, reader: str) -> bytes:
        """An input that ``reader`` will parse as a part of code. Raises InputError if it has special characters."""
        if _SAFE.fullmatch(value):
            return value
        why = (
            f"the input {_shown(value)[:80]} would become a part of the code that {reader} reads, and could run anything"
        )
        if self._template.shell or reader in ("ssh", "rsh"):
            way = f'with {switch_name("--shell")}, "$(printf %q {{}})" quotes it for {reader}'
        else:
            way = f"use {switch_name('--shell')} and write the code without {reader} -c, or pass it as an argument: {reader} -c 'echo \"$1\"' {reader} {{}}"
        raise InputError(f"{why}: {way}")

    def _command(self, values: Values) -> tuple[Arg, ...]:
        """An input that is itself a command."""
        line = b" ".join(values[:-1] if self._template.on_each else values)
        if self._template.shell is not None:
            return os.fsencode(self._template.shell), b"-c", line
        return tuple(map(os.fsencode, command_words(os.fsdecode(line))))

    def _render(self, word: bytes | list[_Piece], values: Values, number: int, guard: Callable[[bytes], bytes]) -> Arg:
        if isinstance(word, bytes):
            return word
        rendered = [b""]
        for piece in word:
            if isinstance(piece, bytes):
                rendered[-1] += piece
            elif isinstance(piece, _Hole):
                if piece is _NUMBER:
                    rendered[-1] += b"%d" % number
                else:
                    rendered.append(b"")
            elif isinstance(piece, _Each):
                rendered[-1] += b" ".join([guard(piece.operation(value)) for value in values])
            else:
                rendered[-1] += guard(piece(values))
        return rendered[0] if len(rendered) == 1 else tuple(rendered)

    def _compile(self, word: Word) -> bytes | list[_Piece]:
        """A word as literal bytes, or as a list of bytes and of functions of the values."""
        if self._template.group is not None:
            word = tuple(part for part in word if part.text != b"") or word
        if all(part.text is not None for part in word):
            return b"".join(part.text or b"" for part in word)
        if self._template.group is not None:
            self._check_alone(word)
        return [self._piece(part) for part in word]

    def _check_alone(self, word: Word) -> None:
        """Raise TemplateError for a placeholder that stands for several arguments but is only a part of one."""
        blank = b" \t\n;&|()" if self._template.shell else b""
        for place, part in enumerate(word):
            around = [part.text for part in (*word[max(0, place - 1) : place], *word[place + 1 : place + 2])]
            alone = all(text is not None and len(text) == 1 and text in blank for text in around)
            if part.text is None and (part.field is None or part.field in self._columns) and not alone:
                reason = f"with {option_name('--max-args')} this stands for several arguments: let it be an argument of its own"
                raise TemplateError(reason, self._template.text, part.column)

    def _piece(self, part: Part) -> _Piece:
        if part.text is not None:
            return part.text
        if part.field in ("#", "%"):
            return _NUMBER if part.field == "#" else _SLOT
        operation = OPERATIONS[part.operation]
        if self._template.group is None or isinstance(part.field, int):
            return self._getter(part, operation)
        if part.field is not None:
            self._index(part)
        if (program := part.reader) is None:
            return _Each(operation)
        return _Each(lambda value: self._checked(operation(value), program))

    def _getter(self, part: Part, operation: Callable[[bytes], bytes]) -> Callable[[Values], bytes]:
        """What takes a placeholder's text from the values."""
        own = not self._template.on_each or part.field == "host"
        if not own and self._width == 0:
            reason = "there are no inputs for this, only hosts: {host} is the name of each"
            raise TemplateError(reason, self._template.text, part.column)
        if part.field is None:

            def get(values: Values) -> bytes:
                return operation(values[0] if len(values) == 1 else b" ".join(values))
        else:
            index = self._index(part)

            def get(values: Values) -> bytes:
                return operation(values[index] if -len(values) <= index < len(values) else b"")

        reader = part.reader
        made = get if reader is None else lambda values: self._checked(get(values), reader)
        return made if own else lambda values: made(values[:-1])

    def _index(self, part: Part) -> int:
        if isinstance(part.field, str):
            if part.field not in self._columns:
                known = (
                    ", ".join(self._columns)
                    or "none: give --csv, --jsonl or --each (in a program Csv, JsonLines or dicts) to name columns"
                )
                reason = f"there is no column {part.field!r} (columns: {known}; literal braces are {{{{ and }}}})"
                if part.field == "host":
                    reason += f"; with {option_name('--on-each')} it is the host"
                raise TemplateError(reason, self._template.text, part.column)
            return self._columns[part.field]
        position, most = part.field or 1, self._template.group
        if most is not None and abs(position) > most:
            raise TemplateError(f"a job has {most} inputs at most", self._template.text, part.column)
        if most is None and self._width is not None and abs(position) > self._width:
            raise TemplateError(f"the inputs have {self._width} columns", self._template.text, part.column)
        return position - 1 if position > 0 else position


def command_words(line: str) -> tuple[str, ...]:
    """A line that is one command, as its arguments. Raises InputError for what only a shell can do."""
    try:
        first, *more = parse_line(line)
    except TemplateError as error:
        raise InputError(f"the command {line!r:.200}: {error.reason}, at column {error.column + 1}") from None
    wild = next((word.text for word in first.words if word.pattern), None)
    if more or first.redirects or wild:
        what = f"the wildcard in {wild}" if wild else "a pipe or a redirection"
        raise InputError(f"the command {line!r:.200}: {what} needs a shell: quote it, or use {switch_name('--shell')}")
    return tuple(word.text for word in first.words)


@dataclass(frozen=True, slots=True)
class _Each:
    """A placeholder that stands for all inputs of a job, one after another."""

    operation: Callable[[bytes], bytes]


class _Hole:
    """A placeholder that is not filled from the input."""


_NUMBER: Final = _Hole()
_SLOT: Final = _Hole()
_Piece = bytes | _Hole | _Each | Callable[[Values], bytes]


def fill_slot(argv: Sequence[Arg], slot: int) -> tuple[bytes, ...]:
    """The arguments with ``{%}`` filled in."""
    number = b"%d" % slot
    return tuple(number.join(arg) if isinstance(arg, tuple) else arg for arg in argv)


def display(argv: Sequence[Arg]) -> str:
    """The command line for people: quoted for a shell, control characters and undecodable bytes escaped."""
    return " ".join(_shown(b"{%}".join(arg) if isinstance(arg, tuple) else arg) for arg in argv)


def _shown(arg: bytes) -> str:
    text = arg.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return quote(arg).decode()
    return f"$'{''.join(map(_escaped, text))}'"


def _escaped(character: str) -> str:
    if character.isprintable() and character not in "\\'":
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
