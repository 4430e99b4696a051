"""Brokers that are reached by TLS, each kind by the tasks themselves: with its authority, and refused in one line with another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import certificate
from conftest import Cli, messages
from redis_servers import Consumer, RedisServer, free_port, running

pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("nothing_left")]


@pytest.fixture(params=["redis", "celery", "celery-amqp", "rq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RedisServer, list[str], str, Path]]:
    """(a Redis server, ``--backend`` and perhaps ``--store``, the address of the broker, its authority)."""
    if request.param == "celery-amqp":
        rabbit, server = request.getfixturevalue("rabbit"), request.getfixturevalue("redis_url")
        yield server, ["--backend", "celery", "--store", server.url], rabbit.tls_url, rabbit.authority
        return
    cert, key = certificate(tmp_path)
    port = free_port()
    tls = ["--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-ca-cert-file", str(cert)]
    with running("--tls-port", str(port), "--tls-auth-clients", "no", *tls) as server:
        yield server, ["--backend", request.param], f"rediss://127.0.0.1:{port}/0", cert


def test_a_broker_behind_tls(
    broker: tuple[RedisServer, list[str], str, Path], cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    """Consumer and batch trust the authority that the address names, and no other."""
    server, kind, url, authority = broker
    right, wrong = (f"{url}?ssl_ca_certs={one}" for one in (authority, certificate(tmp_path, "other")[0]))
    consumer = Consumer(server, environment, *kind, "--allow-commands", cwd=tmp_path, broker=right)
    try:
        consumer.wait_until_ready()
        for address in (url, wrong):
            done = cli("batch", "echo {}", *kind, "--broker", address, "--", "1")
            assert (done.returncode, done.stdout, len(messages(done.stderr))) == (69, "", 1), done.stderr
            assert "certificate verify failed" in done.stderr
        done = cli("batch", "echo {}", *kind, "--broker", right, "--", "a", "b")
        assert (done.returncode, sorted(done.stdout.split())) == (0, ["a", "b"]), done.stderr
    finally:
        consumer.close()
