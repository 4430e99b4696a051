"""A real Chromium without a window, for tests of pages; a plugin of pytest. Where it is missing, they are skipped by its name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from conftest import wait_for

CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root, which Chromium's sandbox refuses
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--window-size=1400,1000",
)


class Browser:
    """``driver`` is selenium's."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def look(self, *, width: int = 1400, dark: bool = False) -> None:
        """Be a window of this width, of somebody who prefers dark pages or light ones."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wanted = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def open(self, page: Path, *, width: int = 1400, dark: bool = False, anchor: str = "", script: bool = True) -> None:
        """Open a file, and wait until its script, if it has one, has done its work."""
        self.look(width=width, dark=dark)
        self.driver.get("about:blank")
        self.said()
        self.driver.get(page.as_uri() + anchor)
        if script:
            wait_for(lambda: self.run("return document.documentElement.dataset.ready"))

    def run(self, script: str, *values: Any) -> Any:
        """What a script in the page returns; its language is JavaScript."""
        return self.driver.execute_script(script, *values)

    def said(self) -> list[str]:
        """What the page has written to its console since the last time: errors, and what the policy has blocked."""
        return [one["message"] for one in self.driver.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]

    def violations(self) -> list[str]:
        """What axe-core finds wrong for people who use a keyboard or a screen reader: rule, and the first place."""
        import axe_core_python

        self.run((Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]


@pytest.fixture(scope="module")
def open_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for the tests of a module: it takes a second to start."""
    program = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None or find_spec("selenium") is None:
        pytest.skip("chromium is not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (*_ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    found.set_script_timeout(60)
    found.set_page_load_timeout(120)
    yield Browser(found)
    found.quit()


@pytest.fixture
def browser(open_browser: Browser) -> Iterator[Browser]:
    """It, with nothing kept from the test before."""
    open_browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    open_browser.look()
    open_browser.said()
    yield open_browser
    open_browser.driver.get("about:blank")  # it watches nothing any more
