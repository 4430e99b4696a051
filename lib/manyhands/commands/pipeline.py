"""Runs chains of commands without a shell: ``pipe(["ls", "-l"], ["wc"])``, ``Pipeline.parse("ls -l | wc")``.

    stdin --> [command] --pipe(2)--> [command] --pipe(2)--> [command] --> stdout      every command's end is known

The kernel moves the bytes. We keep no copy of a pipe's end, so a command whose reader has ended gets SIGPIPE (pipe(7)), and one whose
writer has ended gets the end of file.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from signal import SIGPIPE
from typing import IO, Final, Literal

from manyhands.commands.command_tree import Completed, Tree, not_started
from manyhands.commands.redirects import Opener
from manyhands.core.arguments import argument_of, check_several
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.records import dataclass, field, replace
from manyhands.posix.which import find_program
from manyhands.work.command_line import Command, Redirect, Word, parse_line

File = int | IO[bytes]
OutputTo = File | Literal["capture", "inherit", "null", "stdout"]
"""Where output goes: a descriptor or open file, the result, where ours goes, nowhere, or (stderr) where stdout goes."""
InputFrom = File | bytes | str | os.PathLike[str] | None
"""Where input comes from: a descriptor or open file, bytes, the path of a file; None: where ours comes from."""

_MODES: Final = {
    "<": os.O_RDONLY,
    ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    ">>": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}
_PIPE_SIZE: Final = 1 << 20  # the most that is given to all (/proc/sys/fs/pipe-max-size); pipes begin with 64 KiB
_SET_PIPE_SIZE: Final = 1031  # F_SETPIPE_SZ, <linux/fcntl.h>


class CommandError(ManyhandsError):
    """A command failed that had to succeed; ``result`` has all that is known."""

    __module__ = "manyhands"  # as all errors have it (`manyhands.core.errors`)

    def __init__(self, message: str, result: Completed | PipelineResult) -> None:
        super().__init__(message)
        self.result = result
        self.exit_code = result.returncode


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """How a chain of commands ended; ``stages`` in their order, also those that were not begun. ``wall`` in seconds."""

    stages: tuple[Completed, ...]
    wall: float
    stdout: bytes | None = None
    stderr: bytes | None = None

    def is_fine(self, place: int) -> bool:
        """Whether the stage at ``place`` (from 0) succeeded: it ended with 0, or by SIGPIPE because the next one had ended."""
        stage = self.stages[place]
        had_enough = stage.signal == SIGPIPE or stage.exit == 128 + SIGPIPE
        return stage.ok or (had_enough and place + 1 < len(self.stages) and not stage.timed_out)

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped by its time-out."""
        return any(stage.timed_out for stage in self.stages)

    @property
    def returncode(self) -> int:
        """0, or the status of the last stage that failed (pipefail, bash(1)); 124 at a time-out, 127 if a program is missing."""
        failed = [stage.returncode for place, stage in enumerate(self.stages) if not self.is_fine(place)]
        return next((code for code in (124, 127) if code in failed), failed[-1] if failed else 0)

    @property
    def ok(self) -> bool:
        """Whether every stage succeeded."""
        return self.returncode == 0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands to be run as a chain. ``text`` is what they were parsed from, for showing."""

    commands: tuple[Command, ...]
    text: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """From a line such as ``sort < names | uniq -c 2>&1 > counts``, quoted as a shell's, without what only a shell can do.

        Raises TemplateError, which points at the column, for what only a shell can do.
        """
        return cls(parse_line(text), text)

    @classmethod
    def of(cls, *argvs: Sequence[str]) -> Pipeline:
        """From argument lists, taken as they are. Raises UsageError for an empty one."""
        for one in argvs:
            if isinstance(one, str | bytes):
                raise UsageError(f"{one!r:.80} is text, not a list of arguments: give a list, or use Pipeline.parse")
            check_several("pipe", one, "arguments")
        if not argvs or not all(argvs):
            raise UsageError("a pipeline needs commands, and each at least the name of a program")
        return cls(tuple(Command(tuple(Word(os.fsdecode(argument_of(word))) for word in argv)) for argv in argvs))

    def with_tee(self, stage: int, path: str) -> Pipeline:
        """A copy of what ``stage`` (from 1) writes to its stdout also goes to a file: tee(1) is put behind it."""
        if not 1 <= stage <= len(self.commands):
            raise UsageError(f"there is no stage {stage}: the line has {len(self.commands)}")
        tee = Command((Word("tee"), Word("--"), Word(path)))
        return replace(self, commands=(*self.commands[:stage], tee, *self.commands[stage:]))

    def run(
        self,
        *,
        stdin: InputFrom = None,
        stdout: OutputTo = "inherit",
        stderr: OutputTo = "inherit",
        timeout: float | None = None,
        grace: float = 5.0,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> PipelineResult:
        """Run the chain to its end; after ``timeout`` seconds everything that it has started is stopped, with ``grace`` seconds
        between TERM and KILL.

        ``stdin``: bytes, the path of a file, an open file; None: ours. ``stdout`` and ``stderr``: an open file, "capture" (then they
        are in the result), "inherit" (where ours go), "null"; ``stderr`` also "stdout". ``stderr`` "capture" takes what all commands
        write there. If a program does not exist, none is run, and its stage has the returncode 127. Raises OSError for a file that
        cannot be opened.
        """
        with Tree(grace=grace) as tree:
            return self.run_on(tree, stdin=stdin, stdout=stdout, stderr=stderr, timeout=timeout, cwd=cwd, env=env)

    def run_on(
        self,
        tree: Tree,
        *,
        stdin: InputFrom = None,
        stdout: OutputTo = "inherit",
        stderr: OutputTo = "inherit",
        timeout: float | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> PipelineResult:
        """As `run`, on a ``tree`` that other code may stop, too."""
        with ExitStack() as stack:
            argvs = [expand(command.words, cwd) for command in self.commands]
            if missing := _missing(argvs, cwd, env):
                return PipelineResult(missing, 0.0)
            opener = Opener(tree, timeout)
            try:
                source = stack.enter_context(opened_source(stdin, opener))
                out = stack.enter_context(opened_sink(stdout, 1))
                err = out if stderr == "stdout" else stack.enter_context(opened_sink(stderr, 2))
                with ExitStack() as files:  # our copies of the pipes' ends are closed when all commands have theirs
                    plumbed = _plumb(self.commands, files, source, out, err, cwd, opener)
                    for argv, (zero, one, two) in zip(argvs, plumbed, strict=True):
                        tree.start(argv, stdin=zero, stdout=one, stderr=two, cwd=cwd, env=env)
            except TimeoutError as error:
                return PipelineResult(_not_begun(argvs, str(error)), opener.waited)
            stages = tree.wait(opener.left())
            return PipelineResult(
                stages,
                max(stage.wall for stage in stages),
                content(out) if stdout == "capture" else None,
                content(err) if stderr == "capture" else None,
            )


def _not_begun(argvs: Sequence[Sequence[str]], why: str) -> tuple[Completed, ...]:
    """The ends of commands that were not begun, because opening their files took too long."""
    return tuple(Completed(tuple(argv), error=why, timed_out=True) for argv in argvs)


def pipe(
    *commands: Sequence[str],
    stdin: InputFrom = None,
    stdout: OutputTo = "capture",
    stderr: OutputTo = "inherit",
    timeout: float | None = None,
    grace: float = 5.0,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = False,
) -> PipelineResult:
    """Run argument lists as a chain, without a shell; how every one of them ended.

        pipe(["ls", "-l"], ["wc", "-l"], timeout=10, check=True).stdout

    After ``timeout`` seconds everything that they have started is stopped, with ``grace`` seconds between TERM and KILL. ``stdin``: bytes,
    the path of a file, an open file; None: ours. ``stdout`` and ``stderr``: "capture" (then they are in the result), "inherit" (where
    ours go), "null", an open file; ``stderr`` also "stdout". `Pipeline.parse` makes a chain of one line.

    With ``check``, raises CommandError if a stage fails or at a time-out. No command is left running in any case.
    """
    result = Pipeline.of(*commands).run(
        stdin=stdin, stdout=stdout, stderr=stderr, timeout=timeout, grace=grace, cwd=cwd, env=env
    )
    return check_result(result) if check else result


def check_result(result: PipelineResult) -> PipelineResult:
    """``result`` if all is well. Raises CommandError, which says which commands failed."""
    if not result.ok:
        raise CommandError(_what_failed(result), result)
    return result


def _what_failed(result: PipelineResult) -> str:
    """Which stages of a chain failed, and how."""
    many = len(result.stages)
    bad = [(place, end) for place, end in enumerate(result.stages) if not result.is_fine(place)]
    return "; ".join(
        f"{shown(end.argv)} {told(end)}" + (f" (stage {place + 1} of {many})" if many > 1 else "") for place, end in bad
    )


def shown(argv: Sequence[str]) -> str:
    """A command as it could be typed, at most 200 characters."""
    text = shlex.join(map(os.fspath, argv))
    return text if len(text) <= 200 else text[:199] + "…"


def told(end: Completed, timeout: float | None = None) -> str:
    """How a command ended, as the end of the sentence "grep ..."."""
    if end.timed_out:
        return f"was stopped after {timeout:g} s" if timeout else "was stopped: its time was up"
    if end.error:
        return f"failed: {end.error}"
    if end.signal is not None:
        return f"was ended by signal {end.signal}"
    return f"failed with exit status {end.exit}"


def expand(words: Sequence[Word], cwd: str | os.PathLike[str] | None = None) -> list[str]:
    """The arguments that words stand for: a pattern becomes the sorted names that match, or stays as it is if none does
    (POSIX, Shell Command Language, 2.13.3)."""
    found: list[str] = []
    for word in words:
        names = [] if word.pattern is None else sorted(glob.glob(word.pattern, root_dir=cwd))
        found += names or [word.text]
    return found


def _missing(
    argvs: Sequence[Sequence[str]], cwd: str | os.PathLike[str] | None, env: Mapping[str, str] | None
) -> tuple[Completed, ...] | None:
    """The ends of all commands if a program is missing; None if all exist."""
    search = os.pathsep.join(os.get_exec_path(env))
    ends: list[Completed] = []
    for argv in argvs:
        try:
            find_program(argv[0], search, cwd)
        except OSError as error:
            ends.append(not_started(argv, error))
        else:
            ends.append(Completed(tuple(argv), error="was not begun, because another program cannot be started"))
    return tuple(ends) if any(end.error and not end.error.startswith("was not") for end in ends) else None


def _plumb(
    commands: Sequence[Command],
    files: ExitStack,
    source: int,
    out: int,
    err: int,
    cwd: str | os.PathLike[str] | None,
    opener: Opener,
) -> list[list[int]]:
    """The descriptors 0, 1 and 2 of every command; ``files`` closes what is made here."""
    plumbed = []
    for place, command in enumerate(commands):
        reading, writing = (-1, out) if place + 1 == len(commands) else _pipe(files)
        table = [source, writing, err]
        for one in command.redirects:
            target = one.target
            table[one.descriptor] = table[target] if isinstance(target, int) else _open(one, target, files, cwd, opener)
        plumbed.append(table)
        source = reading
    return plumbed


def _pipe(files: ExitStack) -> tuple[int, int]:
    """A pipe with the largest allowed buffer, for fewer switches between writer and reader."""
    reading, writing = os.pipe()
    files.callback(os.close, reading)
    files.callback(os.close, writing)
    if sys.platform == "linux":
        with suppress(OSError):  # the user's share of memory for pipes is used up (pipe(7))
            fcntl.fcntl(writing, _SET_PIPE_SIZE, _PIPE_SIZE)
    return reading, writing


def _open(redirect: Redirect, path: str, files: ExitStack, cwd: str | os.PathLike[str] | None, opener: Opener) -> int:
    """Open a file of a redirection."""
    opened = opener.open(os.path.join(cwd or "", path), _MODES[redirect.mode])
    files.callback(os.close, opened)
    return opened


@contextmanager
def opened_source(source: InputFrom, opener: Opener) -> Iterator[int]:
    """The descriptor that commands read. Bytes are written to a file first, so that no thread has to feed them: no deadlock."""
    if source is None:
        yield 0
    elif isinstance(source, int):
        yield source
    elif isinstance(source, bytes):
        with tempfile.TemporaryFile() as file:
            file.write(source)
            file.flush()
            file.seek(0)
            yield file.fileno()
    elif isinstance(source, str | os.PathLike):
        opened = opener.open(os.fspath(source), os.O_RDONLY)
        try:
            yield opened
        finally:
            os.close(opened)
    else:
        yield source.fileno()


@contextmanager
def opened_sink(sink: OutputTo, inherited: int) -> Iterator[int]:
    """The descriptor that commands write to. Captured output goes to a file without a name: it need not be read while they run, and
    there is no wait for another process that keeps it open."""
    if sink == "inherit":
        (sys.stdout if inherited == 1 else sys.stderr).flush()  # our own earlier output comes first
        yield inherited
    elif sink == "null":
        with open(os.devnull, "wb", buffering=0) as null:
            yield null.fileno()
    elif sink == "capture":
        with tempfile.TemporaryFile(buffering=0) as file:
            yield file.fileno()
    elif isinstance(sink, int):
        yield sink
    elif isinstance(sink, str):
        name = "stdout" if inherited == 1 else "stderr"
        raise UsageError(f"{name}={sink!r}: expected inherit, null, capture, a file or a descriptor")
    else:
        yield sink.fileno()


def content(file: int) -> bytes:
    """All that was written to a file."""
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as reader:
        return reader.read()
