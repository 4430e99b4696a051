"""What the tests of the live page have in common: a server of its own process, and a visitor by plain HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Server:
    """``python -m manyhands web.serve``, until `close`; ``links``: those that it has printed."""

    def __init__(self, environment: dict[str, str], folder: Path, *args: str) -> None:
        where = () if "--unix" in args else ("--port", "0")
        self.errors = folder / "serve.err"
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "manyhands", "web.serve", *where, *args],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.link = self.next_link()
        self.port = int((re.search(r":(\d+)/", self.link) or ["", "0"])[1])

    def next_link(self) -> str:
        """The next one that it prints."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 60)[0], self.errors.read_text()
        line = self.process.stdout.readline().strip()
        assert line, self.errors.read_text()
        return line

    def another_link(self) -> str:
        """Make it print one more."""
        self.process.send_signal(signal.SIGUSR1)
        return self.next_link()

    def close(self) -> int:
        """End it as Ctrl-C does; its status."""
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
        return status


class Answer:
    """What came back."""

    def __init__(self, found: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = found.status, found.headers, found.read()

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Visitor:
    """Somebody at 127.0.0.1, with the cookie that it has got."""

    def __init__(self, port: int) -> None:
        self.port, self.cookie, self.word = port, "", ""
        self.host = f"127.0.0.1:{port}"

    def ask(self, path: str, body: Any = None, **headers: str | None) -> Answer:
        """A GET, or a POST as our buttons send it; a header of None is left out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent: dict[str, str | None] = {"Host": self.host, "Cookie": self.cookie or None}
        if body is not None:
            sent |= {"Origin": f"http://{self.host}", "X-CSRF-Token": self.word, "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            given = {name: value for name, value in (sent | named).items() if value is not None}
            connection.request("GET" if body is None else "POST", path, data, given)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def enter(self, link: str) -> Answer:
        """Use a link, and learn the word of the page."""
        found = self.ask(re.sub(r"^http://[^/]+", "", link))
        if found.status == 200:
            self.cookie = found.headers["Set-Cookie"].partition(";")[0]
            page = self.ask("/").text
            self.word = (re.search(r'name="word" content="([^"]+)"', page) or ["", ""])[1]
        return found

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """(name, data) of the events of a page, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers={"Host": self.host, "Cookie": self.cookie})
        try:
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            name = ""
            while line := answer.readline():
                kind, _, value = line.decode().rstrip("\n").partition(": ")
                if kind == "event":
                    name = value
                elif kind == "data":
                    yield name, json.loads(value)
        finally:
            connection.close()

    def wait_for(self, path: str, name: str, condition: Any) -> Any:
        """The first event of this name that is as it should be."""
        deadline = time.monotonic() + 60
        for found, data in self.events(path):
            if found == name and condition(data):
                return data
            assert time.monotonic() < deadline, (found, data)
        raise AssertionError("the server has closed the connection")


def is_gone(pid: int) -> bool:
    """Whether there is no such process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
