"""Other programs, run by `sh`, where a chain of them reads better than our own code.

`sh` forks, which Python 3.12 and later warn of in a process that has threads: a program here calls it in its main thread, before
and after `each`, never within.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.safe_text import one_line

if TYPE_CHECKING:
    import sh


_ENCODING: Final = "file_names"
"""That of arguments, for `sh`: it takes text only, and with UTF-8 no names that are not."""


class ProgramError(ManyhandsError):
    """Another program is missing, or has failed."""


def program(name: str, *, package: str, env: Mapping[str, str] | None = None) -> sh.Command:
    """The program ``name``, ready to be called with its arguments; ``package``: of Debian, which brings it.

    Its texts are in English, its output is not a terminal, and bytes that are no UTF-8 survive as surrogates. What it prints is
    what the call returns, as text; if it fails, it raises `sh.ErrorReturnCode`, see `failure`. Raises ProgramError if it is not installed.
    """
    codecs.register(_codec)
    import sh  # not at the top: it takes as long as the rest of a start

    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # an ordinary user's lacks these
    try:
        found = sh.Command(name, search_paths=path.split(os.pathsep))
    except sh.CommandNotFound:
        raise ProgramError(f"{name} is not installed; on Debian: apt install {package}") from None
    return found.bake(
        _tty_out=False,
        _env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", **(env or {})},
        _encoding=_ENCODING,
        _return_cmd=False,
    )


def failure(error: sh.ErrorReturnCode) -> ProgramError:
    """Why a program failed: the last line that it wrote to stderr, and its exit status or signal."""
    said = [line for line in error.stderr.decode(errors="replace").splitlines() if line.strip()]
    name = os.path.basename(error.full_cmd.split(maxsplit=1)[0])
    how = f"exit status {error.exit_code}" if error.exit_code >= 0 else f"signal {-error.exit_code}"
    return ProgramError(f"{name}: {one_line(said[-1].strip(), 200)} ({how})" if said else f"{name}: {how}")


def _codec(name: str) -> codecs.CodecInfo | None:
    """Bytes that are not UTF-8 as surrogates, and the other way round: PEP 383."""
    if name != _ENCODING:
        return None
    return codecs.CodecInfo(
        name=name,
        encode=lambda text, _errors="strict": (os.fsencode(text), len(text)),
        decode=lambda data, _errors="strict": (os.fsdecode(bytes(data)), len(data)),
    )
