"""What ``web.serve`` does: the live page of the runs of this user."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from manyhands.core.errors import UsageError
from manyhands.core.extras import install_line
from manyhands.handlers.batch_store import store
from manyhands.options.web import ServeOptions


def serve(options: ServeOptions) -> int:
    """Serve the page until a signal ends it; links go to stdout. Raises UsageError."""
    if find_spec("tornado") is None:
        raise UsageError(f"web.serve needs the package tornado, which is not installed: {install_line('web')}")
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
    if settings.unix:
        sys.stderr.write(
            f"manyhands: on the socket {settings.unix}: `ssh -L 8900:PATH HOST` leads localhost:8900 to it\n"
        )

    def say(link: str) -> None:
        sys.stdout.write(f"{link}\n")
        sys.stdout.flush()

    sys.stderr.write("manyhands: open this link; it works once (kill -USR1 makes another, Ctrl-C ends the server)\n")
    serve(settings, say)
    return 0
