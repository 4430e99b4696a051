"""Stand-ins for systemctl and journalctl: they print what the real ones printed when the programs asked them.

tests/data/systemd.jsonl was recorded with systemd 252 and Debian's cron in a container of their own, where some services fail: by an
exit status, by a signal, once before it is up again, and as the service of a timer.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from conftest import HERE

RECORDED = HERE / "tests" / "data" / "systemd.jsonl"
_REPLAY = r"""#!{python}
import json, os, re, sys
def plain(argv):  # moments are those of the call; of the lines it had more than were asked for
    return [re.sub(r"^(--(?:since=@|until=@|lines=))\d+$", r"\1", one) for one in argv]
asked = plain([os.path.basename(sys.argv[0]), *sys.argv[1:]])
for line in open({recorded!r}):
    one = json.loads(line)
    if plain(one["argv"]) == asked:
        count = [int(word[8:]) for word in sys.argv if word.startswith("--lines=")]
        sys.stdout.writelines(one["stdout"].splitlines(True)[-count[0] if count else 0 :])
        sys.exit(one["exit"])
sys.exit(f"not recorded: {{asked}}")
"""


def with_systemd(environment: Mapping[str, str], folder: Path, recorded: Path = RECORDED) -> dict[str, str]:
    """The environment of a machine where systemd runs, and has seen what was recorded; its times are those of UTC."""
    folder.mkdir()
    for name in ("systemctl", "journalctl"):
        (folder / name).write_text(_REPLAY.format(python=sys.executable, recorded=str(recorded)))
        (folder / name).chmod(0o755)
    return {**environment, "PATH": f"{folder}:{environment['PATH']}", "TZ": "UTC"}


def without_systemd(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment of a machine where systemd is installed, and does not run: as systemctl says it there."""
    folder.mkdir()
    (folder / "systemctl").write_text("#!/bin/sh\n[ $1 = is-system-running ] && echo offline\nexit 1\n")
    (folder / "systemctl").chmod(0o755)
    return {**environment, "PATH": f"{folder}:{environment['PATH']}"}
