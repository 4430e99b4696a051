"""The file of a report or a picture: checked before the work begins, written whole or not at all, opened in a browser on request."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from manyhands import __version__
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.lean import NamedTuple
from manyhands.core.safe_text import harmless, one_line
from manyhands.options.common import Picture
from manyhands.posix.durable_files import replacing
from manyhands.posix.signals import die_by

if TYPE_CHECKING:
    from manyhands.report.drawing import Drawing

FORMS: Final = ("html", "svg", "png", "md")
"""In which a report or a drawing can be written: also how the name of the file ends."""


class Target(NamedTuple):
    """Where to write, in which of `FORMS`; ``name``: as it was typed."""

    name: str
    path: Path
    form: str
    open: bool = False


def target_of(options: Picture) -> Target | None:
    """The file that was asked for, if one was. Raises UsageError if it cannot be written, or if the extra that draws is missing."""
    name = options.output
    if name is None:
        return None
    if name == "-":
        raise UsageError("--output -: expected the name of a file, because standard output has the text")
    target = Target(name, Path(name).absolute(), form_of(name), options.open)
    _check_place(target)
    if target.form != "md":
        from manyhands.report.svg import check_installed

        check_installed("a picture")
    return target


def form_of(name: str, otherwise: str = "") -> str:
    """By how the name ends, in a folder that is there. Raises UsageError; ``otherwise``: what else could be given."""
    form = Path(name).suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise UsageError(
            f"--output {one_line(name, 300)}: expected a name that ends with .html, .svg, .png or .md{otherwise}"
        )
    return form


def check_folder(name: str) -> None:
    """Raise UsageError if the folder is missing."""
    if not Path(name).absolute().parent.is_dir():
        raise UsageError(f"--output {one_line(name, 300)}: there is no such folder")


def _check_place(target: Target) -> None:
    check_folder(target.name)
    if target.path.exists() and not target.path.is_file():
        raise UsageError(f"--output {one_line(target.name, 300)}: is no regular file, so it is not replaced")
    try:
        tempfile.TemporaryFile(dir=target.path.parent).close()
    except OSError as error:
        raise _refused(target.name, error) from None


def _refused(name: str, error: OSError) -> UsageError:
    return UsageError(f"--output {one_line(name, 300)}: {error.strerror or error}")


def write(target: Target, pieces: Iterable[bytes]) -> None:
    """Replace the file by these, and show it on request. Raises UsageError."""
    try:
        with replacing(target.path, mode=0o600) as file:
            for piece in pieces:
                file.write(piece)
    except OSError as error:
        raise _refused(target.name, error) from None
    if target.open:
        _show(target.path)


def draw(target: Target | None, drawing: Callable[[], Drawing]) -> None:
    """Write it, and say so on standard error; without a target nothing. Raises UsageError."""
    if target is None:
        return
    from manyhands.report.drawn_forms import in_form

    made_by = f"manyhands {__version__} on {datetime.now():%Y-%m-%d %H:%M:%S}"
    write(target, [in_form(drawing(), target.form, made_by)])
    sys.stderr.write(f"manyhands: {one_line(target.name, 1000)} is written\n")


def _draw_or_say(target: Target, drawing: Callable[[], Drawing]) -> None:
    """In the place of `draw` where the program ends by something else."""
    try:
        draw(target, drawing)
    except ManyhandsError as error:
        sys.stderr.write(harmless(f"manyhands: {error}\n"))


class _Ended(BaseException):
    """Raised by a signal that ends this program."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def drawn_at_the_end(target: Target | None, drawing: Callable[[], Drawing]) -> Iterator[None]:
    """`draw` when the block is left, however: also by Ctrl-C, TERM or HUP, after which the program ends as without it."""
    if target is None:
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        try:
            yield
        except BaseException:
            _draw_or_say(target, drawing)
            raise
        draw(target, drawing)
    except _Ended as end:
        die_by(end.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise _Ended(number)


def _show(path: Path) -> None:
    """In the user's browser; that there is none is no failure."""
    import webbrowser

    if not webbrowser.open(path.as_uri()):
        sys.stderr.write("manyhands: no browser was found to open it in\n")
