"""What is told of runs, and what the buttons do: by plain HTTP, with real runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Cli, wait_for
from manyhands.control import client
from manyhands.storage.runs import Store, is_busy
from web.conftest import Serve
from web.pages import Visitor

WAITS = "echo at work {}; echo {} >> {#}.begun; while [ ! -e go ]; do sleep 0.05; done; case {} in b*) echo bad >&2; exit 3; esac"


@pytest.fixture
def batch(environment: dict[str, str], tmp_path: Path, own_state: Path) -> Iterator[Any]:
    """Start a batch whose jobs wait for a file ``go``; it is ended with the test."""
    started = []

    def start(*args: str, run_id: str = "r") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "manyhands", "batch", WAITS, "--shell", "--run-id", run_id, *args]
        started.append(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        wait_for((own_state / "runs" / run_id / "run.json").exists)
        return started[-1]

    yield start
    (tmp_path / "go").touch()
    for one in started:
        one.terminate()
        one.wait()


def test_a_run_is_shown_while_it_goes_on(visitor: Visitor, batch: Any, tmp_path: Path) -> None:
    """In the list and on its own page: what runs, the last line of its output, then how it ended, and what failed."""
    batch("-j", "2", "--", "a", "b1", "c")
    now = visitor.wait_for(
        "/runs/r/events", "now", lambda now: len(now["going"]) == 2 and all(one["last"] for one in now["going"])
    )
    assert (now["state"], now["total"], now["left"], now["jobs"]) == ("running", 3, 3, [2])
    assert [(one["job"], one["input"], one["last"]) for one in now["going"]] == [
        (1, "a", "at work a"),
        (2, "b1", "at work b1"),
    ]
    runs = visitor.wait_for("/events", "runs", lambda found: found["runs"] and found["runs"][0].get("running") == 2)
    assert [(one["id"], one["state"]) for one in runs["runs"]] == [("r", "running")]
    job = visitor.ask("/runs/r/jobs/1").json
    assert (job["state"], job["stdout"]["text"], job["input"]) == ("running", "at work a\n", "a")
    (tmp_path / "go").touch()
    now = visitor.wait_for("/runs/r/events", "now", lambda now: now["state"] == "complete")
    assert (now["ok"], now["failed"], now["left"], now["going"]) == (2, 1, 0, [])
    failures = visitor.wait_for("/runs/r/events", "failures", lambda found: found["groups"])
    assert failures["groups"] == [{"how": "failed with exit status 3", "said": "bad", "number": 1, "jobs": [2]}]
    timeline = visitor.wait_for("/runs/r/events", "timeline", lambda found: len(found["bars"]) == 3)
    assert len(timeline["rows"]) == 2 and sum(timeline["ok"]) == 2 and sum(timeline["bad"]) == 1
    runs = visitor.wait_for("/events", "runs", lambda found: found["runs"][0]["state"] == "complete")
    assert (runs["runs"][0]["ok"], runs["runs"][0]["failed"]) == (2, 1)
    assert [one["job"] for one in visitor.ask("/runs/r/jobs?state=failed").json["jobs"]] == [2]


def test_pause_width_and_stop(visitor: Visitor, batch: Any, own_state: Path, tmp_path: Path) -> None:
    """Each button reaches the run that goes on."""
    process = batch("-j", "2", "--", *"abcdef")
    visitor.wait_for("/runs/r/events", "now", lambda now: len(now["going"]) == 2)
    assert visitor.ask("/runs/r", {"do": "pause"}).json == {"done": {"ok": True}}
    visitor.wait_for("/runs/r/events", "now", lambda now: now["paused"])
    assert visitor.ask("/runs/r", {"do": "continue"}).status == 200
    visitor.wait_for("/runs/r/events", "now", lambda now: not now["paused"])
    assert visitor.ask("/runs/r", {"do": "set", "jobs": [3]}).json["done"]["jobs"] == [3]
    now = visitor.wait_for("/runs/r/events", "now", lambda now: len(now["going"]) == 3)
    assert now["jobs"] == [3]
    assert client.ask(Store(own_state).find("r"), {"do": "set", "jobs": [4]})["ok"]  # from another terminal
    visitor.wait_for("/runs/r/events", "now", lambda now: now["jobs"] == [4])
    assert visitor.ask("/runs/r", {"do": "stop", "job": 1}).status == 200
    visitor.wait_for("/runs/r/events", "now", lambda now: 1 not in {one["job"] for one in now["going"]})
    assert visitor.ask("/runs/r", {"do": "stop", "how": "now"}).status == 200
    assert process.wait(60) != 0
    now = visitor.wait_for("/runs/r/events", "now", lambda now: now["state"] != "running")
    assert now["state"] == "left" and now["left"] >= 5
    refused = visitor.ask("/runs/r", {"do": "pause"})
    assert refused.status == 409 and refused.json["error"] == "the run r is not being carried out"


def test_retry_and_resume(visitor: Visitor, batch: Any, tmp_path: Path, own_state: Path) -> None:
    """In the folder of the run, as a process that outlives the server; the environment is the recorded one."""
    (tmp_path / "go").touch()
    process = batch("--", "a", "b1")
    assert process.wait(60) == 1
    assert visitor.ask("/runs/r", {"do": "retry"}).status == 200
    wait_for(lambda: len((tmp_path / "2.begun").read_text().split()) == 2)
    now = visitor.wait_for("/runs/r/events", "now", lambda now: now["retries"] == 1 and now["state"] == "complete")
    assert (now["ok"], now["failed"]) == (1, 1)
    assert len((tmp_path / "1.begun").read_text().split()) == 1
    assert visitor.ask("/runs/r", {"do": "resume"}).status == 200
    run = Store(own_state).get("r")
    assert run is not None
    wait_for(lambda: not is_busy(run))


def test_a_retry_outlives_the_server(serve: Serve, batch: Any, tmp_path: Path, own_state: Path) -> None:
    """It is in a session of its own."""
    server = serve()
    visitor = Visitor(server.port)
    visitor.enter(server.link)
    (tmp_path / "go").touch()
    batch("--", "b1").wait(60)
    (tmp_path / "go").unlink()
    assert visitor.ask("/runs/r", {"do": "retry"}).status == 200
    wait_for(lambda: len((tmp_path / "1.begun").read_text().split()) == 2)
    assert server.close() == 0
    run = Store(own_state).get("r")
    assert run is not None and is_busy(run)
    (tmp_path / "go").touch()
    wait_for(lambda: not is_busy(run))


def test_what_cannot_begin_again_says_why(visitor: Visitor, batch: Any, tmp_path: Path, cli: Cli) -> None:
    """A run that goes on, a folder that is gone: one line."""
    batch("--", "a")
    visitor.wait_for("/runs/r/events", "now", lambda now: now["going"])
    busy = visitor.ask("/runs/r", {"do": "retry"})
    assert busy.status == 400 and "is going on" in busy.json["error"]
    (tmp_path / "gone").mkdir()
    cli("batch", "false", "--run-id", "s", "--", "a", cwd=tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    gone = visitor.ask("/runs/s", {"do": "retry"})
    assert gone.status == 400 and "is not there" in gone.json["error"]


def test_a_secret_that_is_missing_is_named(visitor: Visitor, cli: Cli) -> None:
    """What the retry says before it ends comes to the page."""
    cli("batch", "false", "--env", "API_TOKEN=x", "--run-id", "r", "--", "a")
    refused = visitor.ask("/runs/r", {"do": "retry"})
    assert refused.status == 400 and "API_TOKEN" in refused.json["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"do": "start", "command": "touch x"},
        {"do": "set", "jobs": 3},
        {"do": "set", "jobs": [0]},
        {"do": "set", "jobs": [True]},
        {"do": "stop", "job": "1"},
        {"do": "stop", "how": "never"},
        {"do": "set", "halt": "now,fail=1"},
        {"do": ["retry"]},
        {},
    ],
)
def test_nothing_else_can_be_asked(visitor: Visitor, cli: Cli, body: dict[str, Any]) -> None:
    """Above all nothing can be started."""
    cli("batch", "true", "--run-id", "r", "--", "a")
    assert visitor.ask("/runs/r", body).status in (400, 409), body
    assert visitor.ask("/runs/r", body).json["error"]


def test_read_only(serve: Serve, cli: Cli) -> None:
    """Every POST is refused, and no button is shown."""
    cli("batch", "false", "--run-id", "r", "--", "a")
    server = serve("--read-only")
    visitor = Visitor(server.port)
    visitor.enter(server.link)
    for path in ("/runs/r", "/link"):
        refused = visitor.ask(path, {"do": "retry"})
        assert refused.status == 403 and "--read-only" in refused.json["error"]
    page = visitor.ask("/runs/r").text
    assert 'id="retry"' not in page and 'id="stop"' not in page and "read-only" in page


def test_what_is_not_there(visitor: Visitor, cli: Cli) -> None:
    """A run, a job, a choice: a page or JSON with one line."""
    cli("batch", "true", "--run-id", "r", "--", "a")
    page = visitor.ask("/runs/none")
    assert page.status == 404 and "there is no run &#x27;none&#x27;" in page.text.replace("&#39;", "&#x27;")
    assert "job 7" in visitor.ask("/runs/r/jobs/7", Accept="application/json").json["error"]
    for query in ("state=x", "after=-1", "after=x"):
        assert visitor.ask(f"/runs/r/jobs?{query}").status == 400
    assert visitor.ask("/runs/r/jobs", {}).status == 405
    assert visitor.ask("/runs/..%2f..").status == 404


def test_hostile_text_is_only_text(visitor: Visitor, cli: Cli) -> None:
    """In the page it is escaped, in JSON harmless and bounded: a script, control sequences, a line of 10 MB."""
    script = "printf '<script>alert(1)</script>\\033[2J\\342\\200\\256'; head -c 10000000 /dev/zero | tr '\\0' x; echo '</script>' >&2; false"
    cli("batch", f"{script} {{}}", "--shell", "--run-id", "r", "--", "<img src=x onerror=alert(1)>")
    page = visitor.ask("/runs/r").text
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    job = visitor.ask("/runs/r/jobs/1").json
    assert job["stdout"]["size"] > 10_000_000 and len(job["stdout"]["text"]) < 10_000 and job["stdout"]["cut"]
    assert "\x1b" not in str(job) and "\u202e" not in str(job)
    assert job["input"] == "<img src=x onerror=alert(1)>"


def test_a_damaged_journal_is_told(visitor: Visitor, cli: Cli, own_state: Path) -> None:
    """In the run's page and in the list, and the server goes on."""
    cli("batch", "true", "--run-id", "r", "--", "a")
    (own_state / "runs" / "r" / "journal.db").write_bytes(b"not a database" * 100)
    now = visitor.wait_for("/runs/r/events", "now", lambda now: now["problem"])
    assert now["state"] == "damaged" and "journal" in now["problem"]
    assert visitor.wait_for("/events", "runs", lambda found: found["runs"][0]["state"] == "damaged")
    assert visitor.ask("/runs/r/jobs/1").status == 409


def test_stages(visitor: Visitor, cli: Cli) -> None:
    """A job is done after the last one; what failed at the first counts, too."""
    cli("batch", "test {} != b", "--then", "test {} != c", "--jobs", "2,2", "--run-id", "r", "--", "a", "b", "c")
    now = visitor.wait_for("/runs/r/events", "now", lambda now: now["state"] != "running")
    assert (now["ok"], now["failed"], now["left"], now["jobs"]) == (1, 2, 0, [2, 2])
    job = visitor.ask("/runs/r/jobs/3").json
    assert [(one["stage"], one["status"]) for one in job["attempts"]] == [(1, "ok"), (2, "failed")]
