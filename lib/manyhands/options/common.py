"""What tasks of every kind take."""

from __future__ import annotations

import os

from manyhands.options.choices import CiSystem, Shown
from manyhands.options.declaration import Options, option


class Json(Options):
    """For programs that read what is printed."""

    json: bool = option(False, help="JSON lines instead of text")


class Log(Options):
    """How a run is shown."""

    ci: CiSystem | None = option(
        None,
        after="junit",
        excludes=("json", "quiet"),
        help="write the log of this CI system on standard output: a group for each job, annotations for failures, a summary; no output of a job is taken for a command; auto: the system that this runs on, else plain",
    )
    output: Shown = option(
        "all", excludes=("json",), help="print what these jobs print: all, failures or none (default: all)"
    )
    line_buffer: bool = option(
        False,
        excludes=("ci", "output"),
        help="print what commands print line by line while they run, not when they have ended (on this machine, with up to 64 at once)",
    )
    joblog: str | None = option(
        None,
        metavar="FILE",
        help="append a line for each job that ends to this file, as --joblog of GNU parallel; it is begun anew by a new run",
    )
    results: str | None = option(
        None,
        metavar="FOLDER",
        help="write what each job printed to FOLDER/NUMBER/stdout and stderr when it ends, and what a function returned to result.json",
    )
    notify: str | None = option(
        None,
        metavar="COMMAND",
        help="run this command when the run ends, however it does; it gets the sum as a line of JSON on its standard input",
    )
    background: bool = option(
        False,
        excludes=("ci", "line_buffer"),
        help="go on in the background, also after a logout; print the run's id, with which batch.watch, batch.wait and batch.stop find it",
    )


class State(Options):
    """Where the runs are."""

    state_dir: str | os.PathLike[str] | None = option(
        None, metavar="FOLDER", help="where runs are kept (default: $XDG_STATE_HOME/manyhands, ~/.local/state/manyhands)"
    )


class Picture(Options):
    """For what measures something."""

    output: str | None = option(
        None,
        short="o",
        metavar="FILE",
        typed=True,
        help="draw it, too, in this file, which is replaced if it is there: .html: a page that needs no network; .svg, .png: a picture; .md: the tables of it",
    )
    open: bool = option(False, needs="output", typed=True, help="open this file in a browser")
