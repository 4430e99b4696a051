"""A server of the live page, and somebody who has entered; both for the tests of one module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from web.pages import Server, Visitor

Serve = Callable[..., Server]


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    """Start a server with these options; it is ended with the test."""
    pytest.importorskip("tornado")
    there: list[Server] = []

    def start(*args: str, **more: str) -> Server:
        there.append(Server(environment | more, tmp_path, *args))
        return there[-1]

    yield start
    for one in there:
        one.close()


@pytest.fixture
def server(serve: Serve) -> Server:
    """One on a free port."""
    return serve()


@pytest.fixture
def visitor(server: Server) -> Visitor:
    """Somebody who has used its link."""
    one = Visitor(server.port)
    assert one.enter(server.link).status == 200
    return one
