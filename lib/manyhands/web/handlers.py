"""The addresses of the live page. Every answer has the headers of `access`, every request is checked before anything is done.

GET  /enter?token=   the link          GET  /, /runs/ID            pages
GET  /events, /runs/ID/events          server-sent events
GET  /runs/ID/jobs, /runs/ID/jobs/N    JSON
POST /runs/ID, /link                   buttons: {"do": "stop", "how": "soon"} ...
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.safe_text import one_line
from manyhands.storage.runs import Run
from manyhands.web import actions, job_page
from manyhands.web.access import HEADERS, Access, Address
from manyhands.web.follower import about
from manyhands.web.topics import Topic
from manyhands.web.watching import Watching

T = TypeVar("T")
FOLDER: Final = Path(__file__).parent / "static"
WATCHERS: Final = 200
"""Pages that may watch at once."""


class Refused(HTTPError):
    """An answer other than the page, with one line that says why."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(status)
        self.said = said


class Site:
    """What all handlers share. ``entered`` is called when somebody has used a link."""

    def __init__(
        self, watching: Watching, access: Access, address: Address, *, read_only: bool, entered: Callable[[], None]
    ) -> None:
        self.watching, self.access, self.address = watching, access, address
        self.read_only, self.entered = read_only, entered
        self.watchers = 0


class Handler(RequestHandler):
    """What every request has to be, and every answer says."""

    site: Site

    def initialize(self, site: Site) -> None:
        """Called by tornado with the arguments of the address."""
        self.site = site

    def set_default_headers(self) -> None:
        """Also for errors."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse what does not name us, and what another site makes the browser send."""
        if not self.site.address.is_ours(self.request.host):
            raise Refused(421, "this server has another name")
        must = self.request.method not in ("GET", "HEAD")
        if not self.site.address.came_from_us(self.request.headers, must=must):
            raise Refused(403, "the request comes from another site")

    def session(self) -> str | None:
        """The id of the session, if there is one."""
        found = self.get_cookie(self.site.address.cookie(self.request.host))
        return found if found and self.site.access.word(found) else None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One line; as JSON where a script has asked."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        known = {404: "there is no such page", 405: "this cannot be done here"}
        said = error.said if isinstance(error, Refused) else known.get(status_code, "it failed")
        if "json" in self.request.headers.get("Accept", "") or self.request.method == "POST":
            self.finish({"error": said})
            return
        self.render("error.html", said=said, status=status_code, locked=status_code == 401)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Mistakes of a visitor are told to the visitor."""
        if not isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)

    def get_template_path(self) -> str:
        """Where the pages are."""
        return str(FOLDER)


class Open(Handler):
    """What is for sessions only."""

    word = ""

    def prepare(self) -> None:
        """Refuse whoever has not entered."""
        super().prepare()
        session = self.session()
        if session is None:
            raise Refused(401, "open this page by the link that web.serve has printed; a link works once")
        self.word = self.site.access.word(session) or ""
        if self.request.method == "POST":
            self._check_post()

    def _check_post(self) -> None:
        """Refuse whatever is not sent by a button of ours."""
        if self.site.read_only:
            raise Refused(403, "this server was started with --read-only")
        word = self.request.headers.get("X-CSRF-Token", "")
        if not hmac.compare_digest(word.encode("utf-8", "replace"), self.word.encode()):
            raise Refused(403, "the request lacks the word of this page: load it again")
        if self.request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "expected JSON")

    def body(self) -> dict[str, Any]:
        """The object that a POST has sent."""
        try:
            found = json.loads(self.request.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Refused(400, "expected a JSON object")
        return found

    def run(self, run_id: str) -> Run:
        """The run of this id, else 404."""
        found = self.site.watching.runs.find(run_id)
        if found is None:
            raise Refused(404, f"there is no run {one_line(run_id, 80)!r} that can be read")
        return found

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what reads files; its error is told as it is."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self.site.watching.threads, work)
        except ManyhandsError as error:
            status = 400 if isinstance(error, UsageError) else 409
            raise Refused(status, one_line(str(error), 500)) from error


class Enter(Handler):
    """The link. It leads to the pages by a page of its own: after a redirect, the browser would count the site that the link stood on
    as the one that asks, and keep a cookie back that is SameSite=Strict."""

    def get(self) -> None:
        """Exchange the token for a cookie."""
        access = self.site.access
        token = self.get_query_argument("token", "")
        session = access.enter(token)
        if session is None:
            if access.too_many:
                self.set_header("Retry-After", "60")
                raise Refused(429, "too many wrong links: wait a minute")
            raise Refused(403, "this link is wrong, or was used before: each works once")
        address = self.site.address
        self.set_cookie(
            address.cookie(self.request.host),
            session,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=address.scheme == "https",
        )
        self.site.entered()
        self.render("enter.html")


class RunsPage(Open):
    """All runs."""

    def get(self) -> None:
        """The page; what it shows comes as events."""
        self.render("runs.html", word=self.word, read_only=self.site.read_only)


class RunPage(Open):
    """One run."""

    def get(self, run_id: str) -> None:
        """The page; what it shows comes as events."""
        found = self.run(run_id)
        self.render("run.html", word=self.word, read_only=self.site.read_only, run=about(found))

    async def post(self, run_id: str) -> None:
        """A button; ``do``: see `actions`."""
        run, body = self.run(run_id), self.body()
        watching = self.site.watching
        if body.get("do") in actions.AGAIN:
            await self.in_thread(partial(actions.again, watching.store, run, body["do"]))
            answer: dict[str, Any] = {}
        else:
            answer = await self.in_thread(partial(actions.control, run, body))
        watching.hurry()
        self.write({"done": answer})


class Events(Open):
    """Server-sent events of some topics, until the browser leaves."""

    task: asyncio.Task[Any] | None = None

    def topics(self, *_path: str) -> list[Topic]:
        """What this page watches."""
        return [self.site.watching.list(), self.site.watching.machine()]

    async def get(self, *path: str) -> None:
        """Send what is new as long as somebody reads it."""
        if self.site.watchers >= WATCHERS:
            raise Refused(503, f"{WATCHERS} pages watch already")
        topics = self.topics(*path)
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.site.watchers += 1
        tasks = [asyncio.ensure_future(self._send(topic)) for topic in topics]
        self.task = asyncio.ensure_future(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
        try:
            await self.task
        except asyncio.CancelledError:
            pass
        finally:
            self.site.watchers -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, topic: Topic) -> None:
        watched = topic.watch()
        try:
            async for text in watched:
                self.write(text)
                await self.flush()
        except StreamClosedError:
            pass
        finally:
            await watched.aclose()  # type: ignore[attr-defined]  # an async generator has it

    def on_connection_close(self) -> None:
        """The browser has left."""
        if self.task is not None:
            self.task.cancel()


class RunEvents(Events):
    """Those of one run."""

    def topics(self, *path: str) -> list[Topic]:
        """See `Events`."""
        return [self.site.watching.run(self.run(path[0])), self.site.watching.machine()]


class Jobs(Open):
    """A page of a run's jobs as JSON."""

    async def get(self, run_id: str) -> None:
        """``state``: see `job_page.CHOICES`; ``after``: the number of the job before the first."""
        run, state, after = (
            self.run(run_id),
            self.get_query_argument("state", "all"),
            self.get_query_argument("after", "0"),
        )
        if state not in job_page.CHOICES or not after.isdecimal() or len(after) > 12:
            raise Refused(400, "expected state=all, failed, ok, left or skipped, and after=NUMBER")
        chosen, most = job_page.CHOICES[state], job_page.PAGE + 1
        numbers = await self.in_thread(partial(self.site.watching.numbers, run, chosen, int(after), most))
        rows = await self.in_thread(partial(job_page.jobs, run, numbers[: job_page.PAGE]))
        self.write({"jobs": rows, "more": len(numbers) > job_page.PAGE})


class Job(Open):
    """One job as JSON."""

    async def get(self, run_id: str, number: str) -> None:
        """All about it, with the end of what it has printed."""
        follower = self.site.watching.follower(self.run(run_id))
        found = await self.in_thread(partial(job_page.one_job, follower, int(number)))
        if found is None:
            raise Refused(404, f"run {run_id} has no job {number} that has begun")
        self.write(found)


class Link(Open):
    """A link for another browser."""

    def post(self) -> None:
        """Make it."""
        token = self.site.access.new_token()
        self.write({"link": f"{self.site.address.scheme}://{self.request.host}/enter?token={token}"})


class Missing(Handler):
    """Every other address."""

    def get(self) -> None:
        """There is nothing."""
        raise HTTPError(404)

    post = get


class Static(StaticFileHandler):
    """Our own scripts and styles, the same for everybody; with the same checks."""

    site: Site

    def initialize(self, site: Site, path: str) -> None:  # type: ignore[override]
        """Called by tornado."""
        self.site = site
        super().initialize(path)

    def prepare(self) -> None:
        """Refuse what does not name us."""
        if not self.site.address.is_ours(self.request.host):
            raise Refused(421, "this server has another name")

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - tornado's signature
        """The headers of every answer, but that the browser may keep them if it asks whether they are current."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-cache")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """See `Handler`."""
        if not isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)


def application(site: Site) -> Application:
    """All addresses."""
    shared: dict[str, Any] = {"site": site}
    run = r"/runs/([A-Za-z0-9][A-Za-z0-9._-]{0,63})"
    return Application(
        [
            (r"/", RunsPage, shared),
            (r"/enter", Enter, shared),
            (r"/events", Events, shared),
            (r"/link", Link, shared),
            (run, RunPage, shared),
            (run + r"/events", RunEvents, shared),
            (run + r"/jobs", Jobs, shared),
            (run + r"/jobs/([1-9][0-9]{0,11})", Job, shared),
            (r"/static/([a-z]+\.(?:js|css|svg))", Static, shared | {"path": str(FOLDER)}),
        ],
        default_handler_class=Missing,
        default_handler_args=shared,
        autoescape="xhtml_escape",
        log_function=lambda _handler: None,
        compress_response=False,
    )
