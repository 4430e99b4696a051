"""The program of docs/tour/events.md: a page of tornado whose slow work is a batch."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from conftest import HERE, wait_for
from manyhands.tour.scenes.servers import free_port, listens

PAGE = HERE / "docs" / "tour" / "events.md"


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, Any, str | None]:
    """Status, what it says, and where it sends us."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as visitor:
        visitor.request(method, path, body)
        answer = visitor.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if text else None, answer.getheader("Location")


def test_an_order_is_a_batch(tmp_path: Path, environment: dict[str, str]) -> None:
    """202 at once; later the checksum of each file, and of one that is not there how its job ended; no other order is known."""
    pytest.importorskip("tornado")
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "page.py").write_text(program)
    files = {name: f"this is {name}\n".encode() for name in ("a.txt", "-b c;.txt")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    port = free_port()
    start = [sys.executable, "-c", f"import asyncio, page; asyncio.run(page.main({port}))"]
    with subprocess.Popen(start, cwd=tmp_path, env=environment) as server:
        try:
            wait_for(lambda: listens(port) or server.poll() is not None)
            status, _, place = ask(port, "POST", "/orders", json.dumps([*files, "gone.txt"]))
            assert (status, place) == (202, "/orders/1")
            while (found := ask(port, "GET", place or ""))[0] == 202:
                time.sleep(0.02)
            sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            assert found[:2] == (200, sums | {"gone.txt": "failed"})
            assert ask(port, "GET", "/orders/2")[0] == 404
        finally:
            server.terminate()
