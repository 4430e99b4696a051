"""What can be said of processes: which, and what is to become of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from manyhands.options.common import Json
from manyhands.options.declaration import Options, option


class Choice(Options):
    """Which processes: all that is given must hold."""

    name: Sequence[str] = option(
        (), metavar="NAME", help="choose by the program's name, or a pattern for it (work*); repeatable: any of them"
    )
    user: Sequence[str] = option((), metavar="USER", help="choose by the user that they run as; repeatable: any of them")
    port: Sequence[str] = option(
        (), metavar="PORT", help="choose those that listen on this port; repeatable: any of them"
    )
    cmdline: Sequence[str] = option(
        (),
        metavar="REGEX",
        help="choose those whose command line matches this regular expression; repeatable: all must match; this command itself, and a shell or sudo that started it, never match",
    )
    older_than: str | None = option(
        None, metavar="AGE", help="choose those that started longer ago than this (90s, 2h, 3d)"
    )


class ListProcessesOptions(Choice, Json):
    """What ``proc.list`` takes."""

    sort: Literal["pid", "cpu", "memory", "age"] = option(
        "pid", after="older_than", help="sort by pid (default), cpu, memory or age"
    )
    top: int | None = option(None, short="n", metavar="COUNT", help="show only the first COUNT")


class TopOptions(Json):
    """What ``proc.top`` takes."""

    every: str = option("2", metavar="TIME", help="seconds between two looks (default: 2)")
    sort: Literal["cpu", "memory", "age", "pid"] = option("cpu", help="sort by cpu (default), memory, age or pid")
    top: int = option(20, short="n", metavar="COUNT", help="show so many processes (default: 20)")
    times: int | None = option(None, metavar="COUNT", help="end after so many looks (default: at Ctrl-C)")


class StopOptions(Choice, Json):
    """What ``proc.stop`` takes."""

    pids: Sequence[str] = option((), positional=True, metavar="PID", help="processes by their number")
    signal: str = option(
        "TERM", short="s", metavar="SIGNAL", after="older_than", help="what to send first (default: TERM)"
    )
    grace: str = option("5", metavar="TIME", help="seconds between the first signal and KILL (default: 5)")
    tree: bool = option(True, help="stop their descendants, too (default)")
    dry_run: bool = option(False, short="n", help="say what would be stopped, and stop nothing")
    yes: bool = option(False, short="y", help="do not ask before stopping more than one (required without a terminal)")


class WaitOptions(Json):
    """What ``proc.wait`` takes."""

    pids: Sequence[str] = option((), positional=True, metavar="PID", help="until all these processes have ended")
    port: str | None = option(None, metavar="PORT", help="until this port takes a connection")
    host: str = option("localhost", needs="port", help="where the port is (default: localhost, by IPv4 or IPv6)")
    file: str | None = option(None, metavar="FILE", help="until there is such a file")
    log: str | None = option(
        None, metavar="REGEX", help="with --file: until a line matches this regular expression; that line is printed"
    )
    new: bool = option(False, needs="log", help="with --log: look only at lines written from now on")
    gone: bool = option(False, help="until the port answers no more, or the file is gone")
    timeout: str | None = option(None, metavar="TIME", help="give up after this time, with exit status 124")


class TreeOptions(Json):
    """What ``proc.tree`` takes."""

    pid: str | None = option(
        None, positional=True, metavar="PID", help="the process at the root (default: all there are)"
    )


class ShowProcessOptions(Json):
    """What ``proc.show`` takes."""

    pid: str = option(positional=True, metavar="PID", help="the process")
    environment: bool = option(False, help="show its environment, too, with secrets masked")


class PortOptions(Json):
    """What ``proc.port`` takes."""

    number: str = option(positional=True, metavar="PORT", help="the port")
