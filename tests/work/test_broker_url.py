"""Addresses of brokers: what is accepted, what is refused in one line, and that no password is shown or stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manyhands.core.errors import UsageError
from manyhands.work.broker_url import PASSWORD, Broker, BrokerUrl, masked_url


def parsed(text: str, **more: object) -> BrokerUrl:
    return BrokerUrl.parse(text, {}, **more)  # type: ignore[arg-type]


def test_the_parts_of_an_address() -> None:
    """With what is usual for those that are left out."""
    one = parsed("redis://localhost")
    assert (one.scheme, one.host, one.port, one.db, one.user, one.password) == ("redis", "localhost", 6379, 0, None, None)
    one = parsed("rediss://me:p%40ss@db.example:7000/3?ssl_ca_certs=/etc/ca.pem")
    assert (one.host, one.port, one.db, one.user, one.password) == ("db.example", 7000, 3, "me", "p@ss")
    assert one.files == {"ssl_ca_certs": "/etc/ca.pem"}
    assert one.url == "rediss://me@db.example:7000/3?ssl_ca_certs=/etc/ca.pem"
    assert "p@ss" not in repr(one)
    one = parsed("unix:///run/redis%20x.sock?db=2")
    assert (one.scheme, one.path, one.db) == ("unix", "/run/redis x.sock", 2)
    assert parsed("redis://[::1]:7000").host == "::1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://x", "expected redis://"),
        ("redis:6379", ""),
        ("", "expected redis://"),
        ("127.0.0.1:6379", "expected redis://"),
        ("redis://127.0.0.1:no", "Port"),
        ("redis://127.0.0.1:99999", "Port"),
        ("redis://127.0.0.1/x", "its database is no number"),
        ("redis://127.0.0.1?ssl_cert_reqs=none", "unknown parameter, ssl_cert_reqs"),
        ("redis://127.0.0.1?ssl_ca_certs=x", "ssl_ca_certs is for rediss://"),
        ("redis://10.0.0.7", "would not be encrypted"),
        ("redis://db.example", "would not be encrypted"),
        ("unix://", "it names no socket"),
    ],
)
def test_mistakes(text: str, why: str, options_typed: None) -> None:
    """Each in one line, which names the option."""
    if text == "redis:6379":
        assert parsed(text).host == "127.0.0.1"
        return
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert str(caught.value).startswith(f"--broker {text!r}: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_connections_to_other_machines_can_be_allowed() -> None:
    """By a word."""
    assert parsed("redis://10.0.0.7", insecure=True).host == "10.0.0.7"
    assert parsed("rediss://10.0.0.7").scheme == "rediss"


@pytest.mark.parametrize(
    "text",
    [
        "http://me:secret@x",
        "redis://:secret@10.0.0.7",
        "redis://:sec@secret@10.0.0.7",
        "redis://me:secret@127.0.0.1:no",
        "redis://me:se/secret@127.0.0.1",
        "redis:me:secret@x",
    ],
)
def test_no_password_is_shown(text: str) -> None:
    """Not in errors either, also of addresses that are wrong."""
    assert "secret" not in masked_url(text)
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert "secret" not in str(caught.value)


def test_where_the_password_comes_from(tmp_path: Path) -> None:
    """The address, else the file, else the environment."""
    file = tmp_path / "password"
    file.write_text("of the file\nmore\n")
    environ = {PASSWORD: "of the environment"}
    assert BrokerUrl.parse("redis://:typed@localhost", environ, password_file=file).password == "typed"
    assert BrokerUrl.parse("redis://localhost", environ, password_file=file).password == "of the file"
    assert BrokerUrl.parse("redis://localhost", environ).password == "of the environment"
    with pytest.raises(UsageError, match="No such file"):
        BrokerUrl.parse("redis://localhost", environ, password_file=tmp_path / "none")


def test_no_password_is_stored() -> None:
    """A run that is resumed takes it from the environment again."""
    one = Broker.of("redis://:secret@localhost/1", {}, lease="2s", insecure=False, password_file=None)
    stored = one.to_json()
    assert "secret" not in json.dumps(stored)
    with pytest.raises(UsageError, match=f"is not stored: set {PASSWORD}"):
        Broker.from_json(stored, {})
    again = Broker.from_json(stored, {PASSWORD: "secret"})
    assert (again.url.password, again.url.db, again.lease) == ("secret", 1, 2.0)


def test_a_lease_has_a_least_length() -> None:
    """Shorter ones would lose consumers that are well."""
    with pytest.raises(UsageError, match="lease"):
        Broker.of("redis://localhost", {}, lease=0.1, insecure=False, password_file=None)


def test_rabbitmq_is_for_celery(options_typed: None) -> None:
    """With its virtual host and ports; for others it is no broker."""
    found = BrokerUrl.parse("amqp://me:pw@localhost/a%2Fb", {}, celery=True)
    assert (found.is_amqp, found.port, found.path, found.user, found.password) == (True, 5672, "a/b", "me", "pw")
    assert BrokerUrl.parse("amqps://far", {}, celery=True).port == 5671
    assert BrokerUrl.parse("amqp://localhost", {}, celery=True).path == "/"
    with pytest.raises(UsageError, match="expected redis://"):
        BrokerUrl.parse("amqp://localhost", {})
    with pytest.raises(UsageError, match="use amqps://"):
        BrokerUrl.parse("amqp://far", {}, celery=True)
    with pytest.raises(UsageError, match="visibility_timeout is no number"):
        BrokerUrl.parse("redis://localhost?visibility_timeout=soon", {}, celery=True)


def test_a_store_has_a_password_of_its_own() -> None:
    """Neither is stored, and a run is not continued without them."""
    environ = {"MH_BROKER_PASSWORD": "one", "MH_STORE_PASSWORD": "two"}
    given = {"lease": 60, "insecure": False, "password_file": None, "kind": "celery"}
    made = Broker.of("amqp://localhost", environ, **given, store="redis://localhost/1")  # type: ignore[arg-type]
    assert made.store is not None
    assert (made.url.password, made.store.password, made.store.db) == ("one", "two", 1)
    assert Broker.from_json(made.to_json(), environ) == made
    assert "two" not in str(made.to_json())
    with pytest.raises(UsageError, match="set MH_STORE_PASSWORD"):
        Broker.from_json(made.to_json(), {"MH_BROKER_PASSWORD": "one"})
