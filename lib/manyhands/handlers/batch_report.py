"""What ``batch.report`` does: read a run once, and write it as a page, a picture or Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manyhands import __version__
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.safe_text import one_line
from manyhands.handlers.batch_store import store
from manyhands.options.runs import ReportOptions
from manyhands.posix.durable_files import replacing
from manyhands.storage import runs

if TYPE_CHECKING:
    from manyhands.report.look import Look

_ENDINGS: Final = ("html", "svg", "png", "md")


def report(options: ReportOptions) -> int:
    """Write the report, and say where; returns the exit status."""
    kept = store(options.state_dir)
    found = kept.find(options.run)
    name = options.output or f"{found.id}.{options.format or 'html'}"
    form = _format_of(name, options)
    if form != "md":
        from manyhands.report.svg import check_installed

        check_installed()
    pieces = _pieces(form, found, kept)
    if name == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    path = Path(name).absolute()
    try:
        with replacing(path, mode=0o600) as file:
            for piece in pieces:
                file.write(piece)
    except OSError as error:
        raise UsageError(f"--output {one_line(name, 300)}: {error.strerror or error}") from None
    sys.stdout.write(f"{one_line(name, 1000)}\n")
    if options.open:
        _open(path)
    return 0


def _format_of(name: str, options: ReportOptions) -> str:
    """By ``--format``, else by the end of the name. Raises UsageError."""
    if name == "-":
        if options.open:
            raise UsageError("--open needs a file: give --output another name than -")
        if options.format != "md" and sys.stdout.isatty():
            raise UsageError("--output -: standard output is a terminal; redirect it, or give a name")
        return options.format or "html"
    ending = Path(name).suffix.removeprefix(".").lower()
    form = options.format or ending
    if form not in _ENDINGS:
        raise UsageError(
            f"--output {one_line(name, 300)}: expected a name that ends with .html, .svg, .png or .md, or --format"
        )
    if not Path(name).absolute().parent.is_dir():
        raise UsageError(f"--output {one_line(name, 300)}: there is no such folder")
    return form


def _pieces(form: str, found: runs.Run, kept: runs.Store) -> Iterable[bytes]:
    """The report. Raises ManyhandsError."""
    from manyhands.report import writing

    if form == "md":
        return [writing.markdown(found)]
    look = _look(found, kept)
    if form == "html":
        return writing.html_page(look)
    if not len(look.attempts):
        raise ManyhandsError(f"no job of the run {found.id} has begun, so there is nothing to draw")
    return [writing.picture(look, png=form == "png")]


def _look(found: runs.Run, kept: runs.Store) -> Look:
    from manyhands.report.look import look_at

    return look_at(found, kept, __version__)


def _open(path: Path) -> None:
    """In the user's browser; that there is none is no failure of the report."""
    import webbrowser

    if not webbrowser.open(path.as_uri()):
        sys.stderr.write("manyhands: no browser was found to open it in\n")
