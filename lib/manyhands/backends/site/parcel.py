"""What brings the far end of a site there: a few lines of Python, and a zip of our modules that they read from standard input.

Nothing is installed and nothing is written to disk: the zip is in a file in memory (memfd_create(2)), from which Python imports
(`zipimport`), and which the launchers inherit. Where Python is the same as ours, the modules travel compiled: to compile them there
takes longer than all else that a far end does before its first job.
"""

from __future__ import annotations

import io
import marshal
import zipfile
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Final

from manyhands.core.package_location import LIBRARY

OLDEST: Final = (3, 9)
"""The oldest Python that the far end runs on."""
LENGTH: Final = 4
"""Bytes before the zip that say how long it is, the most significant one first."""
_BOOT: Final = f"""
import os, sys
bytecode = getattr(sys.modules.get("_frozen_importlib_external"), "MAGIC_NUMBER", b"").hex() or 0
print("\\n" + sys.argv[1], bytecode, *sys.version_info[:3], flush=True)
if sys.version_info < {OLDEST}:
    sys.exit(1)
def take(length):
    while length:
        piece = os.read(0, min(length, 65536))
        if not piece:
            sys.exit(1)
        length -= len(piece)
        yield piece
file = os.memfd_create("manyhands")
with open(file, "wb", closefd=False) as memory:
    memory.writelines(take(int.from_bytes(b"".join(take({LENGTH})), "big")))
sys.path.insert(0, "/proc/self/fd/%d" % file)
from manyhands.backends.site.far_end import main
main(keep_open=(file,))
"""
_TRAVELS: Final = """
backends: commands protocol
backends.launchers: job_processes launcher launcher_process main ready_jobs report_queue slots spawning warm_spawning wire zygote_process
backends.shared: captured measured orphan_results shortage slot wake_up
backends.site: far_end far_files frames moved_files outbox
core: attempt encoding errors kept_file lean package_location patterns records terminal_escapes
posix: linux which
runtime: at_fork
"""
"""What the far end imports of ours, by package; written down, because to find it out takes longer than to send it."""
_UNCHECKED: Final = b"\1\0\0\0" + bytes(8)
"""What says, after the magic number, that a compiled module is used as it is (PEP 552)."""


def boot(python: str, marker: str) -> list[str]:
    """The command that starts the far end. It prints ``marker``, the magic number of its compiled modules, and its version in a line of
    their own, for what start-up files print comes first; then it reads `parcel`, and then it speaks frames. Quoted once, it passes any
    login shell."""
    code = f'exec(bytes.fromhex("{_BOOT.encode().hex()}"))'
    return [python, "-I", "-c", code, marker]


@cache
def parcel(bytecode: str) -> bytes:
    """The zip of all modules that the far end imports, after its length; compiled, if that is the magic number of our Python."""
    compiled = bytecode == MAGIC_NUMBER.hex()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for module, path in modules().items():
            name = path.relative_to(LIBRARY).with_suffix(".pyc" if compiled else ".py").as_posix()
            data = _compiled(module, path) if compiled else path.read_bytes()
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    found = stream.getvalue()
    return len(found).to_bytes(LENGTH, "big") + found


def _compiled(module: str, path: Path) -> bytes:
    return MAGIC_NUMBER + _UNCHECKED + marshal.dumps(SourceFileLoader(module, str(path)).get_code(module))


def modules() -> dict[str, Path]:
    """The modules of ours that the far end imports, by name, with their packages."""
    found = {"manyhands": Path(LIBRARY, "manyhands", "__init__.py")}
    for line in _TRAVELS.strip().splitlines():
        package, _, names = line.partition(": ")
        found |= {
            f"manyhands.{one}": Path(LIBRARY, "manyhands", *one.split("."), "__init__.py") for one in _upwards(package)
        }
        folder = Path(LIBRARY, "manyhands", *package.split("."))
        found |= {f"manyhands.{package}.{name}": folder / f"{name}.py" for name in names.split()}
    return found


def _upwards(package: str) -> list[str]:
    parts = package.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
