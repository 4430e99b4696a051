"""Who is let in, and what a request must look like."""

from __future__ import annotations

import pytest

from manyhands.web.access import LINKS, SESSIONS, Access, Address
from web.pages import Server, Visitor

PAGES = ["/", "/events", "/runs/r", "/runs/r/events", "/runs/r/jobs", "/runs/r/jobs/1"]


def test_a_token_works_once() -> None:
    """The second time it is as good as any other word."""
    access = Access()
    token = access.new_token()
    session = access.enter(token)
    assert session and access.word(session)
    assert access.enter(token) is None
    assert access.word(token) is None and access.word("") is None


def test_only_the_latest_links_work() -> None:
    """Those that nobody uses do not pile up, nor do sessions."""
    access = Access()
    tokens = [access.new_token() for _ in range(LINKS + 1)]
    assert access.enter(tokens[0]) is None and access.enter(tokens[1])
    sessions = [access.enter(access.new_token()) for _ in range(SESSIONS + 1)]
    assert access.word(str(sessions[0])) is None and access.word(str(sessions[-1]))


def test_wrong_tokens_are_limited_and_the_right_one_is_not() -> None:
    """Another user of the machine can neither guess nor lock this one out; after a minute all is as before."""
    now = 0.0
    access = Access(lambda: now)
    token = access.new_token()
    for _ in range(9):
        access.enter("wrong")
    assert not access.too_many
    access.enter("wrong\udc80")
    assert access.too_many and access.enter(token)
    now = 61.0
    assert not access.too_many


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8900", True),
        ("LOCALHOST:8900", True),
        ("[::1]:8900", True),
        ("127.0.0.1:8901", False),
        ("127.0.0.1", False),
        ("evil.example:8900", False),
        ("127.0.0.1.evil.example:8900", False),
        ("localhost:8900:8900", False),
        ("", False),
        ("[::1]", False),
    ],
)
def test_the_names_that_are_ours(host: str, ours: bool) -> None:
    """A name that somebody's DNS leads here is not."""
    assert Address(8900).is_ours(host) is ours


def test_a_forwarder_has_a_port_of_its_own() -> None:
    """Before a unix socket the port may be any, the name may not."""
    assert Address(None).is_ours("localhost:1234") and not Address(None).is_ours("evil.example:1234")


def test_nothing_without_a_session(server: Server) -> None:
    """Each page says in one line how to get in; nothing about runs is told."""
    stranger = Visitor(server.port)
    for page in PAGES:
        found = stranger.ask(page)
        assert found.status == 401 and "by the link" in found.text, page
    assert stranger.ask("/runs/r", {"do": "retry"}).status == 401
    assert stranger.ask("/", Cookie=f"manyhands-{server.port}=wrong").status == 401
    assert stranger.ask("/static/page.css").status == 200


def test_a_link_works_once(server: Server) -> None:
    """The cookie is for this port, and for our own pages and requests only; SIGUSR1 gives another link."""
    visitor = Visitor(server.port)
    cookie = visitor.enter(server.link).headers["Set-Cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith(f"manyhands-{server.port}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {*attributes}
    again = Visitor(server.port).enter(server.link)
    assert again.status == 403 and "works once" in again.text and "Set-Cookie" not in again.headers
    other = Visitor(server.port)
    assert other.enter(server.another_link()).status == 200 and visitor.ask("/").status == 200
    link = visitor.ask("/link", {}).json["link"]
    assert Visitor(server.port).enter(link).status == 200


def test_wrong_links_are_refused_and_then_not_answered(server: Server) -> None:
    """Ten of them; the right one still works."""
    visitor = Visitor(server.port)
    assert [visitor.enter("/enter?token=x").status for _ in range(11)] == [403] * 9 + [429] * 2
    assert visitor.enter(server.link).status == 200


def test_every_answer_has_the_headers(visitor: Visitor) -> None:
    """Pages, files, errors: no inline script, no frame, no guess at types, nothing kept, no referrer."""
    for page in ("/", "/static/run.js", "/nothing", "/runs/none", "/runs/r/jobs"):
        headers = visitor.ask(page).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] in ("no-store", "no-cache") and "Server" not in headers
        assert headers["Access-Control-Allow-Origin"] is None


def test_another_host_or_origin_is_refused(visitor: Visitor) -> None:
    """DNS rebinding, and pages of other sites, even with the cookie; a POST must say where it comes from."""
    assert visitor.ask("/", Host=f"evil.example:{visitor.port}").status == 421
    assert visitor.ask("/static/run.js", Host="evil.example").status == 421
    assert visitor.ask("/runs/r/jobs", Origin="http://evil.example").status == 403
    assert visitor.ask("/events", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors").status == 403
    assert visitor.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    stop = {"do": "stop"}
    for origin in ("http://evil.example", "null", None, f"https://127.0.0.1:{visitor.port}", "http://127.0.0.1:1"):
        assert visitor.ask("/runs/r", stop, Origin=origin).status == 403, origin
    assert visitor.ask("/runs/r", stop, Sec_Fetch_Site="same-site").status == 403


def test_a_post_needs_the_word_of_the_page(visitor: Visitor) -> None:
    """And JSON; then only the run is missing."""
    for word in (None, "", "x", "é"):
        found = visitor.ask("/runs/r", {"do": "stop"}, X_CSRF_Token=word if word != "é" else "\u00e9")
        assert found.status == 403 and "word" in found.json["error"]
    assert visitor.ask("/runs/r", {"do": "stop"}, Content_Type="text/plain").status == 415
    assert visitor.ask("/runs/r", {"do": "stop"}).status == 404
    assert visitor.ask("/link", b"[]").status == 200


@pytest.mark.parametrize(
    "path", ["/static/../handlers.py", "/static/run.html", "/static/%2e%2e/server.py", "/static/", "/x"]
)
def test_nothing_else_is_served(visitor: Visitor, path: str) -> None:
    """Neither our modules nor the templates."""
    assert visitor.ask(path).status == 404
