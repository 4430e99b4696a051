"""What tasks of every kind take."""

from __future__ import annotations

import os

from manyhands.options.declaration import Options, option


class Json(Options):
    """For programs that read what is printed."""

    json: bool = option(False, help="JSON lines instead of text")


class State(Options):
    """Where the runs are."""

    state_dir: str | os.PathLike[str] | None = option(
        None, metavar="FOLDER", help="where runs are kept (default: $XDG_STATE_HOME/manyhands, ~/.local/state/manyhands)"
    )
