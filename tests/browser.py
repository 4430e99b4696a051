"""A real browser, chromium without a window, for pages that tests open from a disk; a plugin of pytest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import wait_for


class Browser:
    """One browser with one page."""

    def __init__(self, profile: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = str(_program())
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for one in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
            options.add_argument(one)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # which chromium demands from root
        self.driver: Any = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))

    def close(self) -> None:
        """End it."""
        self.driver.quit()

    def open(self, page: Path, *, width: int = 1400, dark: bool = False, anchor: str = "") -> None:
        """Open a file, and wait until its script has done its work."""
        driver = self.driver
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get("about:blank")
        driver.get_log("browser")
        driver.get(page.as_uri() + anchor)
        wait_for(lambda: self.run("return document.documentElement.dataset.ready"))

    def run(self, script: str, *values: object) -> Any:
        """What a script of the test returns."""
        return self.driver.execute_script(script, *values)

    def complaints(self) -> list[str]:
        """What stands in its console."""
        return [str(one["message"]) for one in self.driver.get_log("browser")]


def _program() -> str | None:
    """Debian's, or what GitHub's runners have."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for the tests of one module."""
    if _program() is None:
        pytest.skip("chromium is not installed")
    if shutil.which("chromedriver") is None:
        pytest.skip("chromedriver is not installed")
    pytest.importorskip("selenium", reason="selenium is not installed")
    with closing(Browser(tmp_path_factory.mktemp("browser"))) as made:
        yield made
