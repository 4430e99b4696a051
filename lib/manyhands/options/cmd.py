"""What can be said of one command that is run: once, in a chain, or again and again."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.options.common import Json
from manyhands.options.declaration import Options, option

_HOW_IT_ENDED = "say how it ended as a JSON line"


class Limited(Json):
    """The options of all tasks that run one command: its time-out, and how its end is shown."""

    timeout: str | None = option(
        None, metavar="TIME", help="stop the command, and all that it has started, after this time (30, 2m)"
    )
    grace: str = option("5", metavar="TIME", help="seconds between TERM and KILL when it is stopped (default: 5)")


class ShellText(Options):
    """Whether a shell reads it."""

    shell: bool = option(False, help="run it as a line for $SHELL (or bash)")


class OneCommand(ShellText):
    """A command and its arguments, as one text or as words after ``--``."""

    command: str | None = option(
        None,
        positional=True,
        metavar="COMMAND",
        help="the program and its arguments in one text, split at blanks outside quotes; or as words after --",
    )
    rest: Sequence[str] | None = None


class ShellLineOptions(Limited):
    """What ``cmd.output`` and ``cmd.status`` take."""

    line: str = option(positional=True, help="a line for $SHELL (or bash)")


class CheckOptions(OneCommand, Limited):
    """What ``cmd.check`` takes."""


class CallOptions(OneCommand, Limited):
    """What ``cmd.call`` takes."""

    silent: bool = option(False, after="shell", help="discard what it prints")
    json: bool = option(False, help=f"{_HOW_IT_ENDED} on stdout; what it prints goes to stderr")


class SystemOptions(Limited):
    """What ``cmd.system`` takes."""

    line: str = option(positional=True, help="a line for /bin/sh")
    json: bool = option(False, help=f"{_HOW_IT_ENDED}, after what it prints")


class FeedOptions(OneCommand, Limited):
    """What ``cmd.feed`` takes."""

    text: str | None = option(None, after="shell", help="the input")
    file: str | None = option(None, metavar="FILE", help="the file that is the input (-: our standard input)")


class AnswerOptions(OneCommand, Limited):
    """What ``cmd.answer`` takes."""

    expect: Sequence[str] = option(
        (), metavar="REGEX", after="shell", help="a regular expression for a prompt; repeatable"
    )
    reply: Sequence[str] = option((), help="what to type there, before Enter; one for each --expect")
    pty: bool = option(False, help="on a terminal of its own, for programs that ask only there")
    timeout: str | None = option(
        "60", metavar="TIME", help="stop it after this time, and say what was not answered (default: 60)"
    )


# -- chains --------------------------------------------------------------------------------------------------------------

_CHAIN = "programs and their arguments, with | |& < > >> 2> 2>&1, quotes and wildcards, run without a shell"


class PipeOptions(ShellText, Limited):
    """What ``cmd.pipe`` takes."""

    line: str = option(positional=True, help=_CHAIN)
    tee: Sequence[str] = option(
        (), metavar="STAGE=FILE", help="STAGE=FILE: what this stage (from 1) writes also goes to a file; repeatable"
    )
    stdin: str | None = option(
        None, metavar="FILE", help="a file that the first stage reads (default: our standard input)"
    )
    verbose: bool = option(False, short="v", after="shell", help="say how every stage ended, also when all is well")
    json: bool = option(
        False, excludes=("verbose",), help="one JSON line: what the last stage wrote, and how every stage ended"
    )


class Repeated(ShellText):
    """A chain that is run more than once; ``rest``: or the words of one command, which stand after ``--``."""

    line: str | None = option(None, positional=True, help=_CHAIN)
    rest: Sequence[str] | None = None


class WatchOptions(Repeated, Limited):
    """What ``cmd.watch`` takes."""

    every: str = option("2", short="n", metavar="TIME", help="seconds from one start to the next (default: 2)")
    until_change: bool = option(False, help="end when its output differs from the first")
    until_success: bool = option(False, help="end when its status is 0")
    until: str | None = option(None, metavar="REGEX", help="end when its output matches this regular expression")
    times: int | None = option(None, metavar="COUNT", help="run it at most COUNT times")
    timeout: str | None = option(None, metavar="TIME", help="give up after this time in all, with exit status 124")
    json: bool = option(False, help="one JSON line for each run")


class RetryOptions(Repeated, Limited):
    """What ``cmd.retry`` takes."""

    times: int = option(5, metavar="COUNT", help="try at most COUNT times (default: 5)")
    backoff: str = option(
        "1",
        metavar="TIME",
        help="seconds before the second try, doubled for each further one; also "
        "TIME,growth=N,max=TIME,jitter=N% (default: 1)",
    )
    retry_on: str | None = option(
        None,
        metavar="WHAT",
        help="retry only after these failures, separated by commas: exit statuses (75, 1-9), timeout, signal, SIGSEGV (default: any failure)",
    )
    timeout: str | None = option(None, metavar="TIME", help="stop a try after this time (30, 2m)")
    json: bool = option(False, help="one JSON line for each try")


class CompareToolsOptions(Json):
    """What ``cmd.compare`` takes."""

    line: str = option(positional=True, help="a line for $SHELL (or bash)")
    rounds: int = option(5, metavar="COUNT", help="run it so many times by each (default: 5)")
