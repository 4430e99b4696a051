"""What the live page takes."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.options.common import State
from manyhands.options.declaration import option


class ServeOptions(State):
    """What ``web.serve`` takes."""

    port: int = option(8900, short="p", help="listen on this port of 127.0.0.1; 0: any that is free (default: 8900)")
    open: bool = option(False, help="open the page in a browser")
    read_only: bool = option(False, help="show the runs, and refuse to stop, pause or start anything")
    unix: str | None = option(
        None,
        metavar="PATH",
        excludes=("port", "host", "open", "cert", "key"),
        help="listen on a unix socket of this user in place of a port: ssh -L 8900:PATH HOST leads to it",
    )
    host: str = option(
        "127.0.0.1", metavar="ADDRESS", help="listen on this address; beyond this machine only with --cert and --key"
    )
    name: Sequence[str] = option(
        (), metavar="NAME", help="a further name by which browsers may call this server; repeatable"
    )
    cert: str | None = option(None, metavar="FILE", help="serve by TLS with this certificate (PEM)")
    key: str | None = option(None, metavar="FILE", help="the private key of the certificate (PEM)")
