"""What ``batch.report`` does: read a run once, and write it as a page, a picture or Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands import __version__
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.safe_text import one_line
from manyhands.handlers.batch_store import store
from manyhands.handlers.picture_file import Target, check_folder, form_of, write
from manyhands.options.runs import ReportOptions
from manyhands.storage import runs

if TYPE_CHECKING:
    from manyhands.report.look import Look


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
    write(Target(name, Path(name).absolute(), form, options.open), pieces)
    sys.stdout.write(f"{one_line(name, 1000)}\n")
    return 0


def _format_of(name: str, options: ReportOptions) -> str:
    """By ``--format``, else by the end of the name. Raises UsageError."""
    if name == "-":
        if options.open:
            raise UsageError("--open needs a file: give --output another name than -")
        if options.format != "md" and sys.stdout.isatty():
            raise UsageError("--output -: standard output is a terminal; redirect it, or give a name")
        return options.format or "html"
    form = options.format or form_of(name, ", or --format")
    check_folder(name)
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
