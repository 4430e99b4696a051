"""The page in a real browser: it loads nothing, runs nothing that a job printed, and all of it can be found, by keyboard, on any screen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from browsers import Browser
from conftest import Cli, wait_for

EVIL = '</script><script>document.title="owned"</script><img src="x" onerror="document.title=1"> \x1b[2J\u202e ${7*7}'
SCRIPT = r"""
import sys
kind = sys.argv[1]
evil = b"</pre></script><script>document.title='owned'</script><svg onload='document.title=1'>"
sys.stdout.buffer.write({"1": evil, "2": b"\x1b[31mred\x1b[0m \xe2\x80\xaeevil\xff\x00\r\n" + evil, "3": b"y" * 10_000_000}.get(kind, b"fine " + kind.encode()))
sys.stderr.buffer.write(evil if kind in "123" else b"")
sys.exit(kind in "13")
"""
Page = Callable[..., Path]


@pytest.fixture
def page(cli: Cli, tmp_path: Path) -> Page:
    """The page of a batch."""

    def made(*batch: str) -> Path:
        cli("batch", "--run-id", "r", "--output", "none", *batch)
        done = cli("batch.report", "r", "--output", "r.html")
        assert (done.returncode, done.stdout, done.stderr) == (0, "r.html\n", "")
        return tmp_path / "r.html"

    return made


def texts(browser: Browser, selector: str) -> list[str]:
    return [one.text for one in browser.driver.find_elements(By.CSS_SELECTOR, selector)]


def jobs(browser: Browser) -> list[str]:
    """The numbers in the table."""
    return texts(browser, "#jobs button.open")


def search(browser: Browser, text: str, *numbers: str) -> None:
    """Type it, and wait until these jobs are shown, and no others."""
    field = browser.driver.find_element(By.ID, "find")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.BACKSPACE, text)
    wait_for(lambda: shown(browser) == list(numbers))


def shown(browser: Browser) -> list[str]:
    """As `jobs`, at one moment."""
    found: list[str] = browser.run(
        "return [...document.querySelectorAll('#jobs button.open')].map((one) => one.textContent)"
    )
    return found


def test_hostile_text_is_text(browser: Browser, page: Page, tmp_path: Path) -> None:
    """In inputs, in output, in the command: nothing of it runs, nothing is loaded, all of it can be read."""
    (tmp_path / "job.py").write_text(SCRIPT)
    rows = "".join(json.dumps({"n": str(n), "text": EVIL}) + "\n" for n in range(1, 6))
    (tmp_path / "in.jsonl").write_text(rows)
    python = shutil.which("python3") or "python3"
    path = page(f"{python} job.py {{n}} {{text}}", "--jsonl", "in.jsonl")
    browser.open(path, anchor="#job-1")
    assert browser.driver.title.startswith("r: ")
    assert browser.said() == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.run("return document.querySelectorAll('script').length") == 6  # its own, and five that are data
    assert browser.run("return document.querySelectorAll('img, svg svg, iframe, object').length") == 0
    assert jobs(browser) == ["1"]
    assert "</pre></script><script>document.title='owned'</script>" in "".join(texts(browser, "tr.more pre"))
    assert not set("\x1b\u202e\0") & set(path.read_text())
    search(browser, "^[", "1", "2", "3", "4", "5")
    assert "\\u202e" in texts(browser, "#jobs td.w")[0]
    search(browser, "\\u202eevil\\xff^@", "2")
    assert browser.driver.title.startswith("r: ")
    assert browser.said() == []
    assert path.stat().st_size < 500_000


def test_nothing_else_may_run(browser: Browser, page: Page) -> None:
    """Even if some text came through: the page's policy forbids any script, style, picture or request but its own."""
    browser.open(page("echo {}", "--", "1"))
    browser.run(
        "const made = document.createElement('script'); made.id = 'evil';"
        "try { made.text = 'document.title = 1' } catch (error) { document.body.dataset.refused = error.name }"
    )
    assert browser.run("return document.body.dataset.refused") == "TypeError"
    browser.run(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'x.png'}));"
        "fetch('r.html').catch(() => { document.body.dataset.fetch = 'refused' })"
    )
    wait_for(lambda: browser.run("return document.body.dataset.fetch") == "refused")
    wait_for(lambda: any("img-src" in one or "default-src" in one for one in browser.said()))


def test_find_sort_and_filter(browser: Browser, page: Page) -> None:
    """By input, output and number; by each column; by status."""
    line = "sh -c 'echo word-{}; sleep 0.{}; exit $(({} == 3))'"
    browser.open(page(line, "--", "1", "0", "3", "2"))
    assert jobs(browser) == ["1", "2", "3", "4"]
    search(browser, "WORD-0", "2")
    search(browser, "#3", "3")
    search(browser, "", "1", "2", "3", "4")
    head = browser.driver.find_element(By.XPATH, "//th/button[text()='time']")
    head.click()
    assert jobs(browser) == ["3", "4", "1", "2"]  # the slowest first
    head.click()
    assert jobs(browser) == ["2", "1", "4", "3"]
    assert browser.run("return document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending"
    Select(browser.driver.find_element(By.ID, "state")).select_by_value("bad")
    assert jobs(browser) == ["3"]
    assert "failed" in texts(browser, "#jobs tbody tr")[0]


def test_many_jobs_are_pages(browser: Browser, page: Page) -> None:
    """Of a hundred; only these are in the document."""
    browser.open(page("true", "--each", f"n={','.join(map(str, range(250)))}"))
    assert (len(jobs(browser)), jobs(browser)[0]) == (100, "1")
    following = browser.driver.find_element(By.ID, "after")
    following.click()
    following.click()
    assert (len(jobs(browser)), jobs(browser)[0], following.is_enabled()) == (50, "201", False)
    assert texts(browser, "#shown") == ["201 to 250 of 250 jobs"]


def test_keyboard_and_screen_reader(browser: Browser, page: Page) -> None:
    """A job opens with Enter, which is announced; every picture has words; every field a label."""
    browser.open(page("sh -c 'echo what {} printed'", "--", "a"))
    button = browser.driver.find_element(By.CSS_SELECTOR, "button.open")
    assert (button.get_attribute("aria-expanded"), button.get_attribute("aria-label")) == ("false", "job 1, details")
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    assert texts(browser, "tr.more pre") == ["what a printed"]
    button.send_keys(Keys.ENTER)
    assert texts(browser, "tr.more pre") == []
    captions = texts(browser, "figcaption")
    assert len(captions) == browser.run("return document.querySelectorAll('figure').length") >= 4
    assert all(captions)
    assert browser.run("return [...document.querySelectorAll('input, select')].every((one) => one.labels.length === 1)")
    browser.driver.refresh()
    ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    assert browser.driver.switch_to.active_element.text == "to the table of all jobs"


@pytest.mark.parametrize("dark", [False, True])
def test_any_screen(dark: bool, browser: Browser, page: Page) -> None:
    """Nothing is wider than a telephone; the colours are those that the user's system prefers, and can be read; axe finds nothing."""
    path = page("sh -c 'seq 400; exit {}'", "--retries", "1", "--delay", "0", "--", "0", "1", "a-long-input-" * 30)
    shade = "return getComputedStyle(document.body)"
    for width in (360, 1400):
        browser.open(path, width=width, dark=dark)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        kinds = {
            name: browser.run(f"return getComputedStyle(document.querySelector('svg.{name}')).display")
            for name in ("wide", "narrow")
        }
        assert kinds == ({"wide": "none", "narrow": "block"} if width == 360 else {"wide": "inline", "narrow": "none"})
        back, ink = (sum(map(int, _numbers(browser.run(f"{shade}.{one}")))) for one in ("backgroundColor", "color"))
        assert (back < ink) == dark
        assert abs(back - ink) > 400
        colour = browser.run("return getComputedStyle(document.querySelector('svg.share rect.f-failed')).fill")
        assert browser.run(
            "return [...document.querySelectorAll('svg.wide path')].map((one) => getComputedStyle(one).fill)"
        ).count(colour)
        assert browser.violations() == []
        for button in browser.driver.find_elements(By.CSS_SELECTOR, "#jobs button.open"):
            button.click()
        assert len(texts(browser, "tr.more pre")) > 1
        assert browser.violations() == []


def _numbers(colour: str) -> list[str]:
    return colour.removeprefix("rgb(").removesuffix(")").split(",")


def test_without_jobs(browser: Browser, cli: Cli, tmp_path: Path, own_state: Path) -> None:
    """A run in which nothing has begun is a page, too."""
    from manyhands.storage.runs import Store

    limits = {"jobs": 2}
    request = {
        "template": "echo {}",
        "shell": None,
        "workdir": "/",
        "backend": "commands",
        "limits": limits,
        "environment": {},
    }
    Store(own_state).create(request, "r")[1].close()
    assert cli("batch.report", "r").returncode == 0
    browser.open(tmp_path / "r.html", width=360)
    assert texts(browser, "#shown") == ["0 to 0 of 0 jobs"]
    assert browser.said() == []
