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


class State(Options):
    """Where the runs are."""

    state_dir: str | os.PathLike[str] | None = option(
        None, metavar="FOLDER", help="where runs are kept (default: $XDG_STATE_HOME/manyhands, ~/.local/state/manyhands)"
    )
