"""Puts the manual page, made from the tasks as they are, into the wheel: ``man manyhands`` then finds it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Manual(BuildHookInterface):  # type: ignore[type-arg]
    """A hook of hatchling, named in pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Write the page and have it shipped."""
        sys.path.insert(0, str(Path(self.root) / "lib"))
        from manyhands import __version__
        from manyhands.cli.loaded_tasks import load_tasks
        from manyhands.cli.manual import manual

        page = self._page()
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(manual(load_tasks().namespace, "manyhands", __version__), encoding="utf-8")
        build_data["shared_data"][str(page)] = "share/man/man1/manyhands.1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove it again: what lies beside the wheel is published."""
        self._page().unlink()

    def _page(self) -> Path:
        return Path(self.directory) / "manyhands.1"
