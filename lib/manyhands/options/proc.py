"""What can be said of processes: which, and what is to become of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from manyhands.options.common import Json
from manyhands.options.declaration import Options, option


class Choice(Options):
    """Which processes: all that is given must hold."""

    name: Sequence[str] = option(
        (), metavar="NAME", help="the program's name, exactly or as a pattern (work*); repeatable: any of them"
    )
    user: Sequence[str] = option((), metavar="USER", help="the user that they run as; repeatable: any of them")
    port: Sequence[str] = option((), metavar="PORT", help="they listen on this port; repeatable: any of them")
    cmdline: Sequence[str] = option(
        (),
        metavar="REGEX",
        help="a regular expression that matches in their command line; repeatable: all must match; this command, and a shell or sudo that has started it with this --cmdline, are left out",
    )
    older_than: str | None = option(None, metavar="AGE", help="they started longer ago than this (90s, 2h, 3d)")


class ListProcessesOptions(Choice, Json):
    """What ``proc.list`` takes."""

    sort: Literal["pid", "cpu", "memory", "age"] = option(
        "pid", after="older_than", help="by pid (default), cpu, memory, age"
    )
    top: int | None = option(None, short="n", metavar="COUNT", help="only the first so many")


class TopOptions(Json):
    """What ``proc.top`` takes."""

    every: str = option("2", metavar="TIME", help="seconds between two looks (default: 2)")
    sort: Literal["cpu", "memory", "age", "pid"] = option("cpu", help="by cpu (default), memory, age, pid")
    top: int = option(20, short="n", metavar="COUNT", help="so many processes (default: 20)")
    times: int | None = option(None, metavar="COUNT", help="look so many times (default: until Ctrl-C)")


class StopOptions(Choice, Json):
    """What ``proc.stop`` takes."""

    pids: Sequence[str] = option((), positional=True, metavar="PID", help="processes by their number")
    signal: str = option(
        "TERM", short="s", metavar="SIGNAL", after="older_than", help="what to send first (default: TERM)"
    )
    grace: str = option("5", metavar="TIME", help="seconds between the first signal and KILL (default: 5)")
    tree: bool = option(True, help="stop their descendants, too (default)")
    dry_run: bool = option(False, short="n", help="say what would be stopped, and stop nothing")
    yes: bool = option(
        False, short="y", help="do not ask before more than one is stopped (required for that without a terminal)"
    )


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
    environment: bool = option(False, help="with its environment, in which secrets are masked")


class PortOptions(Json):
    """What ``proc.port`` takes."""

    number: str = option(positional=True, metavar="PORT", help="the port")
