"""The connection of RQ, made anew in its worker from plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from manyhands.backends.queue.redis_connection import client
from manyhands.core.records import values_of
from manyhands.work.broker_url import BrokerUrl, Password

FUNCTION: Final = "manyhands.attempt"
"""What RQ's tools show as the function of a job; nothing has that name, so no other worker of RQ can call it."""


def app_settings(url: BrokerUrl) -> dict[str, Any]:
    """An address as JSON; the password is in it."""
    found = values_of(url)
    return {"url": {**found, "files": dict(url.files)}, "shown": url.url}


def connection_of(settings: Mapping[str, Any]) -> Any:
    """The inverse, as a client of Redis."""
    url = settings["url"]
    password = None if url["password"] is None else Password(url["password"])
    return client(BrokerUrl(**{**url, "password": password}))
