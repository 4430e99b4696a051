"""What ``web.serve`` does: the live page of the runs of this user."""

from __future__ import annotations

import sys
from pathlib import Path

from manyhands.core.errors import UsageError
from manyhands.core.extras import install_line
from manyhands.handlers.batch_store import store
from manyhands.options.web import ServeOptions


def serve(options: ServeOptions) -> int:
    """Serve the page until a signal ends it; links go to stdout. Raises UsageError."""
    try:
        import tornado  # noqa: F401 - only whether it is there
    except ImportError:
        raise UsageError(f"web.serve needs the package tornado, which is not installed: {install_line('web')}") from None
    from manyhands.web.server import Settings, serve

    settings = Settings(
        store(options.state_dir),
        host=options.host,
        port=options.port,
        names=tuple(options.name),
        unix=options.unix,
        certificate=options.cert,
        key=options.key,
        read_only=options.read_only,
        browser=options.open,
    )
    notes = ["open this link; it works once (kill -USR1 makes another, Ctrl-C ends the server)"]
    if settings.unix:
        notes.append(f"ssh -L 8900:{Path(settings.unix).absolute()} HOST leads localhost:8900 to this socket")

    def say(link: str) -> None:
        while notes:  # only when it listens
            sys.stderr.write(f"manyhands: {notes.pop(0)}\n")
        sys.stdout.write(f"{link}\n")
        sys.stdout.flush()

    serve(settings, say)
    return 0
