"""What tasks of every kind take."""

from __future__ import annotations

from manyhands.options.declaration import Options, option


class Json(Options):
    """For programs that read what is printed."""

    json: bool = option(False, help="JSON lines instead of text")
