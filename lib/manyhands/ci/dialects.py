"""What the log of a CI system understands, and what keeps the text of a job from being understood.

    --ci auto --$GITHUB_ACTIONS, $GITLAB_CI, $TF_BUILD--> github, gitlab, azure, or plain, which understands nothing

The rules are those of the systems' own manuals: "Workflow commands for GitHub Actions", which Gitea and Forgejo have, too; GitLab's "Job
logs" (custom collapsible sections); Azure Pipelines' "Logging commands".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from manyhands.core.lean import NamedTuple
from manyhands.core.patterns import pattern
from manyhands.options.choices import CiSystem

_MARK: Final = pattern(r"##(?=(?:vso)?\[)|section_(?=(?:start|end):)", re.IGNORECASE)
"""How commands of Azure's agent, of GitHub's first runner and of GitLab begin, wherever they stand in a line."""
_LONGEST: Final = len("section_start:")


def broken(text: str) -> str:
    """``text`` in which nothing begins a command but ``::`` at the beginning of a line."""
    return _MARK.sub(r"\g<0> ", text)


class Dialect(NamedTuple):
    """The lines that one system understands, as they are given to `str.format`; of what it does not know they are empty."""

    group: str = "{title}"
    """The beginning of the group of job ``number``, which may be shown closed."""
    end: str = ""
    error: str = ""
    """A failure that is shown beside the log, too."""
    secret: str = ""
    """Hides a text from now on."""
    summary: str = ""
    """Says where there is a summary in Markdown."""
    summary_in: str = ""
    """The environment variable that names the file of it, or, if it has to be announced, its folder."""
    fence: tuple[str, str] = ("", "")
    """Nothing between these lines is understood; ``token`` is random."""
    percent: str = "%25"
    """What stands for ``%`` in what is given."""

    def line(self, text: str) -> str:
        """A line of ours, in which no name is a command."""
        text = broken(text)
        return "\\" + text if text.lstrip().startswith("::") else text

    def fenced(self, pieces: Iterable[str]) -> Iterator[str]:
        """What a job printed, in pieces: none of it is a command. It ends with a newline."""
        token, (before, after) = secrets.token_hex(16), self.fence
        held = ""
        yield before.format(token=token)
        for piece in pieces:
            text = broken(held + piece)
            held = text[-_LONGEST:]
            yield text[:-_LONGEST]
        yield held + ("" if held.endswith("\n") else "\n") + after.format(token=token)

    def group_of(self, number: int, title: str, began: float) -> str:
        """The line that begins a group. ``began``: seconds since 1970."""
        return self.group.format(number=number, title=self._given(title), at=round(began))

    def end_of(self, number: int, ended: float) -> str:
        """The line that ends it."""
        return self.end.format(number=number, at=round(ended))

    def error_of(self, title: str, text: str) -> str:
        """The line of an annotation."""
        name = self._given(title).replace(":", "%3A").replace(",", "%2C")
        return self.error.format(name=name, title=self._given(title), text=self._given(text))

    def secret_of(self, text: str) -> str:
        """The line that hides ``text``."""
        return self.secret.format(text=self._escaped(text))

    def summary_file(self, environ: Mapping[str, str]) -> Path | None:
        """The file to which a summary is appended; None: nobody would show it."""
        given = environ.get(self.summary_in) if self.summary_in else None
        if not given:
            return None
        return Path(given) / f"manyhands-{secrets.token_hex(8)}.md" if self.summary else Path(given)

    def summary_of(self, file: Path) -> str:
        """The line that announces it."""
        return self.summary.format(file=self._escaped(str(file)))

    def _given(self, text: str) -> str:
        return self._escaped(broken(text))

    def _escaped(self, text: str) -> str:
        return text.replace("%", self.percent).replace("\r", "%0D").replace("\n", "%0A")


DIALECTS: Final = {
    "github": Dialect(
        group="::group::{title}",
        end="::endgroup::",
        error="::error title={name}::{text}",
        secret="::add-mask::{text}",  # noqa: S106 - a command
        summary_in="GITHUB_STEP_SUMMARY",
        fence=("::stop-commands::{token}\n", "::{token}::\n"),
    ),
    "gitlab": Dialect(
        group="\x1b[0Ksection_start:{at}:job_{number}[collapsed=true]\r\x1b[0K{title}",
        end="\x1b[0Ksection_end:{at}:job_{number}\r\x1b[0K",
        percent="%",
    ),
    "azure": Dialect(
        group="##[group]{title}",
        end="##[endgroup]",
        error="##vso[task.logissue type=error]{title}%0A{text}",
        secret="##vso[task.setsecret]{text}",  # noqa: S106 - a command
        summary="##vso[task.uploadsummary]{file}",
        summary_in="AGENT_TEMPDIRECTORY",
        percent="%AZP25",
    ),
    "plain": Dialect(percent="%"),
}
_SIGNS: Final = {"github": "GITHUB_ACTIONS", "gitlab": "GITLAB_CI", "azure": "TF_BUILD"}
"""The variable that each of them sets to true."""


def dialect_of(system: CiSystem, environ: Mapping[str, str]) -> Dialect:
    """That of a system; ``auto``: of the one that has set ``environ``."""
    signs = (name for name, variable in _SIGNS.items() if environ.get(variable, "").lower() == "true")
    return DIALECTS[next(signs, "plain") if system == "auto" else system]
