"""Answers the prompts of a program: searches its output for prompts, and types the reply that belongs to each.

    program --pipe or pseudo-terminal--> text, cut at no character --invoke's Responder--> typed reply --> program

The matching is that of invoke's watchers (`invoke.watchers.Responder`); the reading is ours, because invoke's runner leaves the tree
running at a time-out. Nothing is read ahead of what was answered.
"""

from __future__ import annotations

import codecs
import errno
import math
import os
import pty
import re
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from signal import SIGPIPE, SIGXFSZ
from typing import Final

from invoke.watchers import Responder

from manyhands.commands.byte_queue import FULL, ByteQueue
from manyhands.commands.command_tree import Completed, Tree, not_started
from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass, replace
from manyhands.core.terminal_escapes import plain, torn
from manyhands.posix.which import find_program

_WINDOW: Final = 16384
"""Characters that are searched, from the end: a prompt is the last text that a program writes before it waits."""
_SCREEN: Final = 24
_BLOCK: Final = 8192
"""Bytes that are read before we look at the clock again."""
_HELD: Final = 1 << 16
"""Bytes that a pipe holds (pipe(7))."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How it ended. ``replies``: how often each pattern was answered; ``screen``: the last lines of the output."""

    end: Completed
    replies: tuple[int, ...]
    screen: str


def answer(
    argv: Sequence[str],
    replies: Sequence[tuple[str, str]],
    *,
    terminal: bool = False,
    timeout: float | None = None,
    show: ByteQueue | None = None,
    encode: Callable[[bytes], bytes] = bytes,
    tree: Tree | None = None,
) -> Answered:
    """Run a program and type, whenever a pattern (a regular expression) appears in what it prints, the reply and Enter.

    ``terminal``: on a pseudo-terminal of its own, for programs that ask only there (getpass, ssh, sudo). ``show`` is given
    all output, stdout and stderr together, as ``encode`` makes it. At ``timeout`` seconds the whole tree is stopped, whatever
    the program or the reader of ``show`` does; ``screen`` then shows what was waited at. Raises UsageError for a pattern that
    cannot be one.
    """
    responders = [_responder(pattern, reply) for pattern, reply in replies]
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    with ExitStack() as stack:
        tree = tree or stack.enter_context(Tree())
        try:
            reading, writing = _start_on_terminal(argv, tree) if terminal else _start_on_pipes(argv, tree)
        except OSError as error:
            return Answered(not_started(argv, error), (0,) * len(replies), "")
        dialogue = _Dialogue(reading, writing, responders, show, encode)
        stack.callback(dialogue.close)
        _talk(dialogue, tree, deadline)
        late = time.monotonic() >= deadline
        end = tree.wait(0 if late else None)[0]
        unread = not late and not dialogue.deliver(tree, deadline)
        end = replace(end, timed_out=end.timed_out or unread)
        return Answered(end, tuple(one.count for one in responders), dialogue.screen())


def _talk(dialogue: _Dialogue, tree: Tree, deadline: float) -> None:
    """Read and type until the program has ended or time is up."""
    until = None if math.isinf(deadline) else deadline
    while time.monotonic() < deadline and tree.step(until, dialogue.readable, dialogue.writable):
        dialogue.go_on()
    dialogue.read_rest()


class _Counting(Responder):
    """A Responder that counts its answers."""

    count = 0

    def __init__(self, pattern: str, response: str) -> None:
        super().__init__(pattern, response)
        self.index: int = 0


def _responder(pattern: str, reply: str) -> _Counting:
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--expect {pattern!r}: {error}") from None
    return _Counting(pattern, reply + "\n")


class _Dialogue:
    """Reads, types and shows, each without waiting. ``open``: the program may still print."""

    def __init__(
        self,
        reading: int,
        writing: int,
        responders: Sequence[_Counting],
        show: ByteQueue | None,
        encode: Callable[[bytes], bytes],
    ) -> None:
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)
        self._reading, self._writing, self._responders = reading, writing, responders
        self._typed, self._shown, self._encode = ByteQueue(writing), show, encode
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = self._torn = ""
        self.open = True

    @property
    def _outboxes(self) -> list[ByteQueue]:
        return [self._typed] if self._shown is None else [self._typed, self._shown]

    @property
    def readable(self) -> list[int]:
        """The descriptors to read: none while the program or the display is far behind."""
        return [self._reading] if self.open and all(one.waiting < FULL for one in self._outboxes) else []

    @property
    def writable(self) -> list[int]:
        """The descriptors to which bytes wait to be written."""
        return [one.descriptor for one in self._outboxes if one.waiting]

    def go_on(self) -> None:
        """Write what waits, read once, show that, and answer."""
        for one in self._outboxes:
            one.drain()
        if self.readable:
            self._read()

    def read_rest(self) -> None:
        """Read the last output, as much as a pipe holds, without waiting for other processes that keep the pipe open."""
        left = _HELD
        while left > 0 and self.open and (found := self._read()):
            left -= found

    def _read(self) -> int:
        """Read once; return how many bytes there were."""
        try:
            data = os.read(self._reading, _BLOCK)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal whose programs have all gone (Linux)
                raise
            data = b""
        self.open = bool(data)
        if self._shown is not None:
            self._shown.put(self._encode(data))
            if self._shown.closed:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        self._search(self._decoder.decode(data, final=not data))
        return len(data)

    def deliver(self, tree: Tree, deadline: float) -> bool:
        """Wait until all shown output is written; return False if the deadline comes first."""
        while self._shown is not None and self._shown.waiting and tree.stopped_by is None:
            if time.monotonic() >= deadline:
                return False
            tree.look(None if math.isinf(deadline) else deadline, writable=[self._shown.descriptor])
            self._shown.drain()
        return True

    def _search(self, new: str) -> None:
        """Let the responders search the text as a terminal shows it; they remember how far they have searched, also when the window
        moves on."""
        whole = self._torn + new
        end = torn(whole) if new else len(whole)
        self._torn = whole[end:]
        self._text += plain(whole[:end])
        for one in self._responders:
            if replies := [*one.submit(self._text)]:
                one.count += len(replies)
                self._typed.put("".join(replies).encode())
        if (surplus := len(self._text) - _WINDOW) > 0:
            self._text = self._text[surplus:]
            for one in self._responders:
                one.index = max(0, one.index - surplus)

    def screen(self) -> str:
        """The last lines of the output."""
        return "\n".join(self._text.splitlines()[-_SCREEN:])

    def close(self) -> None:
        """Close our ends."""
        for descriptor in {self._reading, self._writing}:
            os.close(descriptor)


def _start_on_pipes(argv: Sequence[str], tree: Tree) -> tuple[int, int]:
    """Start the program; return (descriptor of its output, descriptor for typing)."""
    printed, typed = os.pipe(), os.pipe()
    try:
        tree.start(argv, stdin=typed[0], stdout=printed[1], stderr=printed[1])
    finally:
        os.close(typed[0])
        os.close(printed[1])
    return printed[0], typed[1]


def _start_on_terminal(argv: Sequence[str], tree: Tree) -> tuple[int, int]:
    """Start the program as leader of a session with a new terminal; return the other side of the terminal, twice.

    posix_spawn begins the session before it opens files, and the first terminal that a leader opens becomes its own
    (tty_ioctl(4), TIOCSCTTY). Echo is off: else what we type would come back, and might be mistaken for a prompt.
    """
    ours, theirs = pty.openpty()
    try:
        attributes = termios.tcgetattr(theirs)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        termios.tcsetwinsize(theirs, (_SCREEN, 80))
        name = os.ttyname(theirs)
        path = find_program(argv[0], os.pathsep.join(os.get_exec_path()))
        pid = os.posix_spawn(
            path,
            list(argv),
            tree.environment(),
            setsid=True,
            setsigdef=[SIGPIPE, SIGXFSZ],
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ],
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    tree.add(argv, pid)
    return ours, ours
