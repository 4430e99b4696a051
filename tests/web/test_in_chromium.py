"""The live page as people use it: in a real browser, by mouse and keyboard, in both schemes and at both widths, with hostile output."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browsers import Browser
from conftest import Cli, wait_for
from web.conftest import Serve
from web.pages import Server

pytestmark = pytest.mark.slow
HOSTILE = (
    r"printf '<script>document.title=\"taken\"</script>\033[31m red \342\200\256 back\n'; "
    r"head -c 10000000 /dev/zero | tr '\0' x; echo '</script><img src=x onerror=document.title=1>' >&2; exit 3"
)
WAITS = "echo at work {}; while [ ! -e go ]; do sleep 0.05; done; case {} in *3) echo cannot do {} >&2; exit 3; esac"


@pytest.fixture
def batch(environment: dict[str, str], tmp_path: Path, own_state: Path) -> Iterator[Callable[..., Any]]:
    """Start a run ``r`` whose jobs wait for the file ``go``."""
    started = []

    def start(*args: str) -> Any:
        command = [sys.executable, "-m", "manyhands", "batch", WAITS, "--shell", "--run-id", "r", *args]
        nothing = subprocess.DEVNULL
        started.append(
            subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=nothing, stdout=nothing, stderr=nothing)
        )
        wait_for((own_state / "runs" / "r" / "run.json").exists)
        return started[-1]

    yield start
    (tmp_path / "go").touch()
    for one in started:
        one.terminate()
        one.wait()


def enter(browser: Browser, server: Server, path: str = "/") -> None:
    """By a link, as somebody pastes it."""
    browser.driver.get(server.another_link())
    wait_for(lambda: browser.run("return location.pathname") == "/")
    if path != "/":
        browser.driver.get(f"http://127.0.0.1:{server.port}{path}")
    wait_for(lambda: browser.run("return document.getElementById('connection').textContent") == "live")


def text_of(browser: Browser, selector: str) -> str:
    """What is read in one place."""
    return str(browser.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


def click(browser: Browser, selector: str) -> None:
    """By the mouse, where it is seen."""
    from selenium.webdriver.common.by import By

    browser.driver.find_element(By.CSS_SELECTOR, selector).click()


def press(browser: Browser, *keys: str) -> None:
    """On the keyboard."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser.driver).send_keys(*keys).perform()


def test_a_run_from_begin_to_end(browser: Browser, server: Server, batch: Callable[..., Any], tmp_path: Path) -> None:
    """Seen in the list, opened by the keyboard; paused, made wider, its output read; at the end what failed, and again by a button."""
    batch("-j", "2", "--", *map(str, range(1, 7)))
    enter(browser, server)
    wait_for(lambda: "2 running" in text_of(browser, ".runs"))
    browser.run("document.querySelector('.runs a').focus()")
    press(browser, "\ue007")  # Enter
    wait_for(lambda: "at work 1" in text_of(browser, "#going"))
    assert text_of(browser, "#state") == "running" and "0 of 6" in text_of(browser, "#numbers")
    click(browser, "#pause")
    wait_for(
        lambda: text_of(browser, "#state") == "paused" and browser.run("return document.activeElement.id") == "continue"
    )
    click(browser, "#continue")
    wait_for(lambda: text_of(browser, "#state") == "running")
    browser.run("const field = document.getElementById('jobs'); field.value = '3'; field.focus()")
    press(browser, "\ue007")
    wait_for(
        lambda: len(browser.run("return [...document.querySelectorAll('#going li')].map(one => one.textContent)")) == 3
    )
    click(browser, "#going li button")
    wait_for(lambda: text_of(browser, "#job pre[aria-label=stdout]").strip() == "at work 1")
    press(browser, "\ue00c")  # Escape
    wait_for(lambda: browser.run("return document.activeElement.getAttribute('aria-label')") == "Output of job 1")
    (tmp_path / "go").touch()
    wait_for(lambda: text_of(browser, "#state") == "complete")
    wait_for(lambda: "1 \u00d7 failed with exit status 3" in text_of(browser, "#groups"))
    assert "cannot do 3" in text_of(browser, "#groups") and "5" in text_of(browser, "#numbers .ok")
    wait_for(lambda: len(browser.run("return [...document.querySelectorAll('#rows tr')]")) == 6)
    click(browser, "#retry")
    wait_for(lambda: "done again" in text_of(browser, "#answer"))
    wait_for(lambda: "retries" in text_of(browser, "#numbers") and text_of(browser, "#state") == "complete")
    assert browser.said() == []


def test_stop_asks_first(browser: Browser, server: Server, batch: Callable[..., Any]) -> None:
    """Cancel does nothing; the other way ends the run, and a resume is offered."""
    process = batch("-j", "1", "--", "1", "2")
    enter(browser, server, "/runs/r")
    wait_for(lambda: "at work 1" in text_of(browser, "#going"))
    click(browser, "#stop")
    click(browser, "#ask [data-how='']")
    wait_for(lambda: not browser.run("return document.getElementById('ask').open"))
    assert process.poll() is None
    click(browser, "#stop")
    click(browser, "#ask [data-how=now]")
    wait_for(lambda: text_of(browser, "#state") == "not finished")
    assert process.wait(60) != 0
    assert browser.run("return !document.getElementById('resume').hidden && document.getElementById('pause').hidden")


def test_the_focus_stays_while_the_page_changes(
    browser: Browser, server: Server, batch: Callable[..., Any], tmp_path: Path
) -> None:
    """Of a button of a running job, over several updates; no screen reader is talked to at each of them."""
    batch("-j", "2", "--", "1", "2", "4")
    enter(browser, server, "/runs/r")
    wait_for(lambda: "at work 2" in text_of(browser, "#going"))
    browser.run(
        "document.querySelectorAll('#going button')[1].focus(); window.ages = new Set(); window.told = [];"
        "new MutationObserver(() => ages.add(document.querySelector('#going .age').textContent))"
        ".observe(document.getElementById('going'), {subtree: true, childList: true, characterData: true});"
        "new MutationObserver(() => told.push(news.textContent)).observe(news, {childList: true, characterData: true, subtree: true});"
    )
    wait_for(lambda: browser.run("return ages.size") >= 4)
    assert browser.run("return document.activeElement.getAttribute('aria-label')") == "Stop job 1"
    assert browser.run("return told.length") <= 1


def test_hostile_output(browser: Browser, server: Server, cli: Cli) -> None:
    """It is text: no script runs, nothing is loaded, no line is endless, and the page stays usable."""
    cli("batch", f": {{}}; {HOSTILE}", "--shell", "--run-id", "r", "--", "<img src=x onerror=document.title=2>", "b")
    enter(browser, server, "/runs/r")
    wait_for(lambda: "</script><img src=x" in text_of(browser, "#groups"))
    wait_for(lambda: "<img src=x onerror=document.title=2>" in text_of(browser, "#rows"))
    click(browser, "#rows button")
    wait_for(lambda: "</script><img src=x" in text_of(browser, "#job pre[aria-label=stderr]"))
    assert len(text_of(browser, "#job pre[aria-label=stdout]")) < 10_000
    assert browser.run("return [document.title, document.images.length, document.scripts.length]") == [
        "r - manyhands",
        0,
        1,
    ]
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.said() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 360])
def test_everybody_can_use_it(
    browser: Browser, server: Server, batch: Callable[..., Any], width: int, dark: bool
) -> None:
    """axe-core finds nothing: names, contrast, order; and nothing is wider than the window. With what runs and what has failed, and
    with each dialog."""
    batch("-j", "2", "--", "1", "2", "a-long-input-" * 30)
    browser.look(width=width, dark=dark)
    enter(browser, server)
    fits = "return document.documentElement.scrollWidth <= innerWidth"
    wait_for(lambda: "2 running" in text_of(browser, ".runs"))
    assert browser.violations() == [] and browser.run(fits)
    browser.driver.get(f"http://127.0.0.1:{server.port}/runs/r")
    wait_for(lambda: "at work 2" in text_of(browser, "#going"))
    assert browser.violations() == [] and browser.run(fits)
    click(browser, "#stop")
    assert browser.violations() == []
    press(browser, "\ue00c")
    click(browser, "#going li button")
    wait_for(lambda: "at work" in text_of(browser, "#job pre[aria-label=stdout]"))
    assert browser.violations() == [] and browser.run(fits)


def test_a_finished_run_of_many_jobs(browser: Browser, server: Server, cli: Cli) -> None:
    """Twenty thousand: a page of them at a time, any by its number, and the timeline as cells."""
    cli(
        "batch.call",
        "math:sqrt",
        "--type",
        "float",
        "-j",
        "2",
        "--run-id",
        "r",
        "--output",
        "none",
        input="\n".join(map(str, range(-3, 20_000))),
    )
    enter(browser, server, "/runs/r")
    wait_for(lambda: "20,003 of 20,003" in text_of(browser, "#numbers"))
    wait_for(lambda: "each cell is" in text_of(browser, "#slots-note"))
    wait_for(lambda: text_of(browser, "#jobs-note") == "100 shown, there are more")
    assert "3 \u00d7 failed: ValueError" in text_of(browser, "#groups")
    click(browser, "#further")
    wait_for(lambda: text_of(browser, "#jobs-note").startswith("200 shown"))
    click(browser, "#choice input[value=failed] + span")
    wait_for(lambda: text_of(browser, "#jobs-note") == "3 shown")
    browser.run("document.getElementById('number').value = '20003'; document.getElementById('number').focus()")
    press(browser, "\ue007")
    wait_for(lambda: text_of(browser, "#job pre[aria-label=Input]") == "19999")
    assert browser.violations() == []


def test_another_site_cannot_use_the_cookie(browser: Browser, server: Server, serve: Serve, tmp_path: Path) -> None:
    """A page elsewhere, here a file, gets nothing: its requests have no cookie, and no answer is read; a frame stays empty."""
    enter(browser, server)
    address = f"http://127.0.0.1:{server.port}"
    page = tmp_path / "evil.html"
    page.write_text("<title>evil</title><iframe src='" + address + "/'></iframe>")
    browser.driver.get(page.as_uri())
    fetched = browser.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "fetch(arguments[0], {credentials: 'include'}).then(answer => done(answer.status), error => done(String(error)))",
        f"{address}/events",
    )
    assert "TypeError" in str(fetched)
    assert (
        browser.run(
            "try { return document.querySelector('iframe').contentDocument?.title ?? null } catch { return null }"
        )
        is None
    )
    browser.driver.get(f"{address}/")
    assert "Runs" in browser.driver.page_source


def test_a_server_that_ends_is_told(browser: Browser, serve: Serve) -> None:
    """The page says that the connection is lost; it does not show old numbers as if they were new."""
    server = serve()
    enter(browser, server)
    assert server.close() == 0
    wait_for(lambda: "connection lost" in text_of(browser, "#connection"))


def test_a_link_that_was_used(browser: Browser, server: Server) -> None:
    """Leads to a page that says so, with the way out, which everybody can read."""
    browser.driver.get(server.link)
    wait_for(lambda: browser.run("return location.pathname") == "/")
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.driver.get(server.link)
    assert "works once" in text_of(browser, "main") and browser.violations() == []
    browser.driver.get(f"http://127.0.0.1:{server.port}/")
    assert "by the link that web.serve has printed" in text_of(browser, "main")
