"""What can be asked of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.options.common import Json, Picture
from manyhands.options.declaration import option


class LookOptions(Json):
    """What the ``host`` tasks take that look once, or again and again."""

    watch: bool = option(False, help="look again and again, until Ctrl-C")
    every: str = option("2", metavar="TIME", needs="watch", help="with --watch: seconds between two looks (default: 2)")


class DrawnLookOptions(LookOptions, Picture):
    """What those take whose numbers can be drawn."""

    output: str | None = option(
        None,
        short="o",
        metavar="FILE",
        needs="watch",
        typed=True,
        help="with --watch: when it ends, also by Ctrl-C, draw what was seen over time in this file, which is replaced if it is there: .html: a page that needs no network; .svg, .png: a picture; .md: the tables of it",
    )


class CpuOptions(DrawnLookOptions):
    """What ``host.cpu`` takes, which cannot but look twice."""

    per_core: bool = option(False, help="show each core, too")
    every: str = option("1", metavar="TIME", help="watch them for so many seconds (default: 1)")


class CheckHostOptions(Json):
    """What ``host.check`` takes: what is too much."""

    load: str | None = option(
        None, metavar="LIMIT", help="load average of the last minute: CRIT, or WARN,CRIT (4, or 2,4)"
    )
    memory: str | None = option(
        None, metavar="LIMIT", help="memory in use, in percent: CRIT, or WARN,CRIT (90%, or 80%,90%)"
    )
    swap: str | None = option(None, metavar="LIMIT", help="swap in use, in percent: CRIT, or WARN,CRIT")
    disk: Sequence[str] = option(
        (),
        metavar="PATH=PERCENT",
        help="PATH=90% or PATH=80%,90%: space in use of the file system that holds PATH; repeatable",
    )
    inodes: Sequence[str] = option((), metavar="PATH=PERCENT", help="PATH=90%: the same of its inodes; repeatable")
    processes: str | None = option(None, metavar="LIMIT", help="the number of processes: CRIT, or WARN,CRIT")
    zombies: str | None = option(None, metavar="LIMIT", help="the number of zombies: CRIT, or WARN,CRIT")


class ForkOptions(Json):
    """What ``fork-demo`` takes."""

    children: int = option(1, help="fork so many (default: 1)")
    exit_code: int = option(0, help="their exit status (default: 0)")
