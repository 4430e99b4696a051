"""The server of the live page: a port of this machine, or a unix socket; it runs until a signal ends it.

serve(Settings) --> listen --> link on stdout --> browser, SIGUSR1: another link, INT or TERM: the end
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import ssl
import stat
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

from tornado.httpserver import HTTPServer

from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass
from manyhands.core.safe_text import one_line
from manyhands.storage.runs import Store
from manyhands.web import handlers
from manyhands.web.access import Access, Address
from manyhands.web.opening import Opening
from manyhands.web.watching import Watching

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 - only with TLS
_BODY: Final = 1 << 16
_BACKLOG: Final = 128


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the page is served, and how. ``unix``: a socket in place of a port; ``certificate`` and ``key``: files for TLS; ``browser``:
    open it."""

    store: Store
    host: str = "127.0.0.1"
    port: int = 8900
    names: tuple[str, ...] = ()
    unix: str | None = None
    certificate: str | None = None
    key: str | None = None
    read_only: bool = False
    browser: bool = False


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until a signal ends it. ``say`` gets each link. Raises UsageError if it cannot begin."""
    tls = _tls(settings)
    opening = Opening.find() if settings.browser else None
    with ExitStack() as stack:
        listener = _unix(settings.unix, stack) if settings.unix else _port(settings)
        stack.enter_context(closing(listener))
        asyncio.run(_run(settings, listener, tls, opening, say))


async def _run(
    settings: Settings,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    opening: Opening | None,
    say: Callable[[str], None],
) -> None:
    port = None if settings.unix else listener.getsockname()[1]
    names = settings.names if settings.host in _ANY else (_bracketed(settings.host), *settings.names)
    address = Address(port, names=names, tls=tls is not None)
    access, watching = Access(), Watching(settings.store)
    site = handlers.Site(
        watching, access, address, read_only=settings.read_only, entered=opening.done if opening else lambda: None
    )
    server = HTTPServer(handlers.application(site), ssl_options=tls, max_body_size=_BODY, max_header_size=_BODY)
    server.add_socket(listener)
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)

    def link() -> str:
        name = next(iter(settings.names), "localhost") if settings.host in _ANY else _bracketed(settings.host)
        where = f"{name}:{port}" if port is not None else "localhost:8900"
        return f"{address.scheme}://{where}/enter?token={access.new_token()}"

    loop.add_signal_handler(signal.SIGUSR1, lambda: say(link()))
    say(link())
    if opening is not None:
        opening.open(link())
    try:
        await ended.wait()
    finally:
        server.stop()
        watching.close()
        await server.close_all_connections()
        if opening is not None:
            opening.done()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """TLS, if there is a certificate. Raises UsageError if there has to be one."""
    if settings.certificate is None and settings.key is None:
        if settings.unix is None and settings.host not in _LOOPBACK:
            raise UsageError(
                f"--host {settings.host}: beyond this machine only with TLS: give --cert FILE and --key FILE, or use ssh -L"
            )
        return None
    if settings.certificate is None or settings.key is None:
        raise UsageError("--cert and --key: give both")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise UsageError(f"--cert {settings.certificate}, --key {settings.key}: {error.args[-1]}") from None
    return context


def _port(settings: Settings) -> socket.socket:
    """Listen on a port. Raises UsageError."""
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    if not 0 <= settings.port <= 65535:
        raise UsageError(f"--port {settings.port}: expected 1 to 65535, or 0 for any that is free")
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        return listener
    except OSError as error:
        if listener is not None:
            listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"--port {settings.port}: another program has it; --port 0 takes a free one") from None
        raise UsageError(f"--host {host} --port {settings.port}: {error.strerror or error}") from None


def _unix(path: str, stack: ExitStack) -> socket.socket:
    """Listen on a socket that only this user may connect to, and remove it at the end. Raises UsageError."""
    where = Path(path).absolute()
    try:
        _remove_stale(where)
        folder = os.open(where.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener = socket.socket(socket.AF_UNIX)
            before = os.umask(0o177)  # the mode that the socket is made with: no moment in which others may connect
            try:
                # an address has at most 108 bytes (unix(7))
                listener.bind(f"/proc/self/fd/{folder}/{where.name}" if os.path.isdir("/proc/self/fd") else str(where))
            except OSError:
                listener.close()
                raise
            finally:
                os.umask(before)
        finally:
            os.close(folder)
    except OSError as error:
        raise UsageError(f"--unix {one_line(path, 300)}: {error.strerror or error}") from None
    made = where.lstat().st_ino
    stack.callback(_remove, where, made)
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _remove_stale(where: Path) -> None:
    """Remove the socket of a server that was killed. Raises UsageError if another one listens, or it is something else."""
    try:
        found = where.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise UsageError(f"--unix {one_line(str(where), 300)}: there is a file of this name")
    with socket.socket(socket.AF_UNIX) as probe:
        folder = os.open(where.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            probe.connect(f"/proc/self/fd/{folder}/{where.name}" if os.path.isdir("/proc/self/fd") else str(where))
        except ConnectionRefusedError:
            where.unlink()
            return
        finally:
            os.close(folder)
    raise UsageError(f"--unix {one_line(str(where), 300)}: another program listens there")


def _remove(where: Path, inode: int) -> None:
    with suppress(OSError):
        if where.lstat().st_ino == inode:
            where.unlink()
