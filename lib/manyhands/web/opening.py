"""Opens the link in the user's browser, without anybody else seeing it: the arguments of a program are public (/proc/PID/cmdline).

link --> a page of 0600 that leads to it --its path--> browser; removed once the link was used, or after a while
"""

from __future__ import annotations

import os
import tempfile
import threading
import webbrowser
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Final

from manyhands.core.errors import UsageError

_LONGEST: Final = 60.0
"""Seconds that the page is there at most."""


class Opening:
    """One browser, and the page that leads it to us."""

    def __init__(self, browser: webbrowser.BaseBrowser) -> None:
        self._browser = browser
        self._path: Path | None = None
        self._timer: threading.Timer | None = None

    @classmethod
    def find(cls) -> Opening:
        """The browser of this user. Raises UsageError if there is none that has a window."""
        wanted = os.environ.get("BROWSER")
        there = wanted or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.uname().sysname == "Darwin"
        try:
            if not there:
                raise webbrowser.Error
            return cls(webbrowser.get())
        except webbrowser.Error:
            raise UsageError("--open: no browser was found here: open the link without it, or set BROWSER") from None

    def open(self, link: str) -> None:
        """Open it; nothing waits for the browser."""
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        folder = runtime if runtime and os.path.isdir(runtime) and os.access(runtime, os.W_OK) else None
        number, name = tempfile.mkstemp(prefix="manyhands-", suffix=".html", dir=folder)  # 0600
        with open(number, "w", encoding="utf-8") as file:
            file.write(_PAGE.format(link=escape(link)))
        self._path = Path(name)
        self._timer = threading.Timer(_LONGEST, self.done)
        self._timer.daemon = True
        self._timer.start()
        threading.Thread(
            target=self._browser.open, args=(self._path.as_uri(),), name="manyhands-web-browser", daemon=True
        ).start()

    def done(self) -> None:
        """Remove the page."""
        if self._timer is not None:
            self._timer.cancel()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
            self._path = None


_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>manyhands</title>
<meta http-equiv="refresh" content="0;url={link}"><p><a href="{link}" rel="noreferrer">manyhands</a></p></html>
"""
