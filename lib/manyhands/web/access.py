"""Who may see the page and do something with it: a link that works once, then a cookie; and what a request must look like.

    link /enter?token=... --once--> cookie (HttpOnly, SameSite=Strict) --> pages, with a word for each POST (CSRF)

Every other user of the machine can reach a port of 127.0.0.1, and every page that a browser shows can send requests there: so the name by
which we are called (Host) and where a request comes from (Origin, Sec-Fetch-Site) are checked, too (DNS rebinding).
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

LINKS: Final = 8
"""Links that have not been used yet; of more, the oldest no longer works."""
SESSIONS: Final = 100
_WRONG: Final = 10
_WHILE: Final = 60.0
"""So many wrong tokens are looked at in so many seconds."""
_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""What every answer says."""


class Access:
    """Links, sessions and wrong tokens. ``clock``: seconds, as time.monotonic()."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._links: deque[str] = deque(maxlen=LINKS)
        self._sessions: dict[str, str] = {}
        self._wrong: deque[float] = deque(maxlen=_WRONG)

    def new_token(self) -> str:
        """A token for one link."""
        token = secrets.token_urlsafe(32)
        self._links.append(token)
        return token

    def enter(self, token: str) -> str | None:
        """Use a token up: the id of a new session, or None if it is wrong or was used before.

        A right one is accepted however many wrong ones came before: 256 bits are not guessed, and another user of the machine must
        not be able to lock this one out.
        """
        found = [one for one in self._links if hmac.compare_digest(one.encode(), token.encode("utf-8", "replace"))]
        if not found:
            self._wrong.append(self._clock())
            return None
        self._links.remove(found[0])
        session = secrets.token_urlsafe(32)
        self._sessions[session] = secrets.token_urlsafe(32)
        while len(self._sessions) > SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        return session

    @property
    def too_many(self) -> bool:
        """Whether so many wrong tokens came lately that they are not even answered."""
        return len(self._wrong) == _WRONG and self._clock() - self._wrong[0] < _WHILE

    def word(self, session: str) -> str | None:
        """What a POST of this session has to bring along; None if there is no such session."""
        return next(
            (word for one, word in self._sessions.items() if hmac.compare_digest(one.encode(), session.encode())), None
        )


class Address:
    """By which names and where we may be called. ``port`` None: any, because a forwarder before a unix socket has its own."""

    def __init__(self, port: int | None, *, names: tuple[str, ...] = (), tls: bool = False) -> None:
        self.port, self.scheme = port, "https" if tls else "http"
        self._names = {*_LOCAL, *(name.lower() for name in names)}

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names us."""
        name, colon, port = host.lower().rpartition(":")
        if not colon or port.endswith("]"):
            name, port = host.lower(), "443" if self.scheme == "https" else "80"
        return name in self._names and port.isdecimal() and (self.port is None or int(port) == self.port)

    def came_from_us(self, headers: Mapping[str, str], *, must: bool) -> bool:
        """Whether a request was made by a page of ours; ``must``: it has to say so, as browsers do with each POST."""
        site = headers.get("Sec-Fetch-Site")
        if (
            site is not None
            and site not in ("same-origin", "none")
            and (must or headers.get("Sec-Fetch-Mode") != "navigate")
        ):
            return False
        origin = headers.get("Origin")
        if origin is None:
            return not must
        found = urlsplit(origin)
        return found.scheme == self.scheme and found.netloc.lower() == headers.get("Host", "").lower()

    @staticmethod
    def cookie(host: str) -> str:
        """The name of the cookie: browsers do not tell ports apart, so two servers of one machine would overwrite each other's."""
        port = host.rpartition(":")[2]
        return f"manyhands-{port}" if port.isdecimal() else "manyhands"
