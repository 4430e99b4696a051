"""Secrets of an environment are known by one pattern, wherever they would be shown or kept."""

from __future__ import annotations

import pytest

from manyhands.core.limits import Limits
from manyhands.core.masking import is_secret, masked
from manyhands.work.plan import Plan
from manyhands.work.template import Template

SECRET = [
    "DB_PWD",
    "MYSQL_PWD",
    "OPENAI_KEY",
    "SSH_KEY",
    "SESSION_COOKIE",
    "PGPASSWORD",
    "DB_PASS",
    "API_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "apiKey",
    "GPG_PASSPHRASE",
    "HTTP_AUTH",
    "AUTHORIZATION",
    "AWS_ACCESS_KEY_ID",
    "KEYS",
    "TLS_PRIVATE",
    "npm_config__authToken",
]
PLAIN = ["PWD", "OLDPWD", "HOME", "KEYBOARD", "GIT_AUTHOR_NAME", "XAUTHORITY", "PASSENGERS", "LANG", "PATH"]


@pytest.mark.parametrize("name", SECRET)
def test_names_that_speak_of_a_secret(name: str) -> None:
    """Their values are shown as *** and not kept in a run's folder."""
    assert is_secret(name, "x")
    assert masked({name: "x"}) == {name: "***"}
    plan = Plan(work=Template.parse("true"), source={}, limits=Limits(jobs=1), workdir="/", environment={name: "x"})
    assert plan.to_json()["environment"] == {name: None}


@pytest.mark.parametrize("name", PLAIN)
def test_other_names(name: str) -> None:
    """Their values stay, or a run could not be resumed without them."""
    assert not is_secret(name, "x")


def test_passwords_in_urls() -> None:
    """The password is masked; the whole value is not kept."""
    url = {"DATABASE_URL": "postgres://user:hunter2@host/db"}
    assert masked(url) == {"DATABASE_URL": "postgres://user:***@host/db"}
    plan = Plan(work=Template.parse("true"), source={}, limits=Limits(jobs=1), workdir="/", environment=url)
    assert "hunter2" not in str(plan.to_json())
    assert not is_secret("URL", "http://user@host/a:b@c")
