"""The task itself: mistakes in one line, a socket, TLS, a browser."""

from __future__ import annotations

import http.client
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Said, wait_for
from web.conftest import Serve
from web.pages import Visitor


def test_a_taken_port(said: Said) -> None:
    """One line, with what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, error = said("web.serve", "--port", str(port))
    assert (status, error.splitlines()[-1]) == (
        2,
        f"manyhands: --port {port}: another program has it; --port 0 takes a free one",
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: beyond this machine only with TLS"),
        (["--host", "192.0.2.1", "--cert", "no.pem"], "--cert and --key: give both"),
        (["--cert", "no.pem", "--key", "no.key"], "--cert no.pem, --key no.key: No such file or directory"),
        (["--port", "70000"], "--port 70000: expected 1 to 65535, or 0"),
        (["--unix", "/nowhere/at/all"], "--unix /nowhere/at/all: No such file or directory"),
        (["--open"], "--open: no browser was found here"),
    ],
)
def test_mistakes_are_one_line(args: list[str], words: str, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is served then."""
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if args == ["--open"] and sys.platform == "darwin":
        pytest.skip("there is always a browser on macOS, not Linux")
    status, error = said("web.serve", *args)
    assert status == 2 and words in error and error.count("\n") == 0, error


def test_without_tornado(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "tornado", None)
    status, error = said("web.serve")
    assert status == 2 and "tornado" in error and "install" in error


def test_a_socket_of_this_user_only(serve: Serve, tmp_path: Path) -> None:
    """However long its path; it is gone at the end, and one that a killed server has left does not matter."""
    folder = tmp_path / ("deep" * 25) / ("deeper" * 10)
    folder.mkdir(parents=True)
    path = folder / "page.sock"
    server = serve("--unix", str(path))
    assert server.link.startswith("http://localhost:8900/enter?token=")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = server.link.partition("token=")[2]
    near = tmp_path / "near"
    near.symlink_to(folder)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(near / "page.sock"))
        client.sendall(f"GET /enter?token={token} HTTP/1.0\r\nHost: localhost:4321\r\n\r\n".encode())
        answer = b""
        while more := client.recv(65536):
            answer += more
    assert b"200 OK" in answer and b"manyhands-4321=" in answer
    server.process.kill()
    server.process.wait()
    assert path.exists()
    again = serve("--unix", str(path))
    assert again.close() == 0 and not path.exists()


def test_a_file_in_place_of_the_socket(said: Said, tmp_path: Path) -> None:
    """Is not removed."""
    (tmp_path / "file").write_text("mine")
    status, error = said("web.serve", "--unix", str(tmp_path / "file"))
    assert status == 2 and "there is a file of this name" in error
    assert (tmp_path / "file").read_text() == "mine"


def test_tls(serve: Serve, tmp_path: Path) -> None:
    """With a certificate the link is https, and the cookie for TLS only."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
    )
    server = serve("--host", "0.0.0.0", "--cert", str(cert), "--key", str(key))
    assert server.link.startswith(f"https://localhost:{server.port}/enter?token=")
    context = ssl.create_default_context(cafile=str(cert))
    path = server.link.partition(str(server.port))[2]
    connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200 and "; Secure" in answer.headers["Set-Cookie"]
    answer.read()
    connection.close()


def test_the_browser_gets_a_file(serve: Serve, tmp_path: Path) -> None:
    """What is in its arguments is not the token; the file is for this user only, and gone once the link was used."""
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$0.got"\n')
    browser.chmod(0o755)
    server = serve("--open", BROWSER=f"{browser} %s")
    got = tmp_path / "browser.got"
    wait_for(lambda: got.exists() and got.read_text().strip())
    address = got.read_text().strip()
    assert address.startswith("file:///") and "token" not in address
    page = Path(address.removeprefix("file://"))
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    link = page.read_text().partition("url=")[2].partition('"')[0]
    assert link != server.link
    assert Visitor(server.port).enter(link).status == 200
    wait_for(lambda: not page.exists())


def test_the_page_is_removed_at_the_end(serve: Serve, tmp_path: Path) -> None:
    """Also if nobody has used the link."""
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$0.got"\n')
    browser.chmod(0o755)
    server = serve("--open", BROWSER=f"{browser} %s")
    got = tmp_path / "browser.got"
    wait_for(lambda: got.exists() and got.read_text().strip())
    assert server.close() == 0
    assert not Path(got.read_text().strip().removeprefix("file://")).exists()
