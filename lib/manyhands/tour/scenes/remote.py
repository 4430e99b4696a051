"""A command on another host: a real sshd, which is this machine's own, on a port of 127.0.0.1, and the system's ssh."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from manyhands.tour.scene_tools import tell
from manyhands.tour.scenes.servers import free_port, has_noted, serving
from manyhands.tour.seen import Seen, expect

FACTS = ["sh", "-c", 'echo "$(uname -n) $$ ${SSH_CONNECTION##* }"']
"""Host, process, and the port of the sshd that it came through, if any."""
ODD = "my songs; touch oops"


@contextmanager
def ssh_host() -> Iterator[list[str]]:
    """A host that only we can log in to; gives the beginning of a command for it: ssh, options, and its name."""
    with tempfile.TemporaryDirectory(prefix="ssh-") as folder:
        for name in ("host", "mine"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
        port = free_port()
        with serving(sshd(Path(folder), port), lambda pid: has_noted(Path(folder, "pid"), pid)):
            tell("sshd listens on 127.0.0.1, port {port}", port=port)
            known = Path(folder, "host.pub").read_text()
            Path(folder, "known").write_text(f"[127.0.0.1]:{port} {known}")  # no other host is believed
            Path(folder, "config").write_text(
                f"Host box\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/mine\n  IdentitiesOnly yes\n"
                f"  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking yes\n  BatchMode yes\n  LogLevel ERROR\n"
            )
            yield ["ssh", "-F", f"{folder}/config", "box"]


def sshd(folder: Path, port: int) -> list[str]:
    """The command of a server with keys and a configuration of its own, without passwords."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # root's sshd wants this empty folder
    (folder / "sshd").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/mine.pub\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"SetEnv HOME={folder} PATH={os.defpath}\n"  # not the start-up files of who plays this
    )
    program = which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/sbin") or "sshd"  # it wants its whole path
    return [program, "-D", "-e", "-f", str(folder / "sshd")]


def run(command: list[str], text: str = "") -> tuple[int, str]:
    """Its exit status, and what it printed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.rstrip("\n")


def remote() -> None:
    """ssh carries a line to a shell there, and brings back what it prints and how it ends: quote what is not yours."""
    with ssh_host() as ssh:
        for where, command in (("here", FACTS), ("there", [*ssh, shlex.join(FACTS)])):
            name, pid, port = run(command)[1].split(" ")
            tell("{where}: {name}, process {pid}, port {port}", where=where, name=name, pid=pid, port=port or "-")
        tell("it reads what it is sent: {lines}", lines=run([*ssh, "sort"], "pear\napple\n")[1].split())
        tell("exit 7 there is {status} here", status=run([*ssh, "exit 7"])[0])
        tell("ssh itself fails with {status}", status=run([*ssh[:-1], "-p", str(free_port()), "box"])[0])
        Path(ODD).touch()
        line = f"cd {shlex.quote(os.getcwd())} || exit; ls -d {shlex.quote(ODD)}"
        tell("quoted, {found!r} is one name", found=run([*ssh, line])[1])
        tell("now there are {names}", names=sorted(os.listdir()))
        tell("fabric has run(line): a line for a shell, too")


def remote_seen(seen: Seen) -> str:
    here, there = (one.data for one in seen.all("{where}: {name}", 2))
    ours = str(seen.one("sshd listens").data["port"])
    expect(here["name"] == there["name"] and here["pid"] != there["pid"], f"it was {here}, and {there}")
    expect(there["port"] == ours != here["port"], f"they came by {here['port']} and {there['port']}, not by {ours}")
    expect(seen.one("it reads what").data["lines"] == ["apple", "pear"], "what was sorted is not what was sent")
    status, failed = seen.one("exit 7").data["status"], seen.one("ssh itself").data["status"]
    expect((status, failed) == (7, 255), f"the exit statuses were {status} and {failed}")
    expect(seen.one("quoted").data["found"] == ODD, "the file was not found by its name")
    expect(seen.one("now there").data["names"] == [ODD], "there is another file")
    return (
        f"process {there['pid']} was started through port {ours}; its input, output and exit status came over; "
        f"255 is ssh's own; {ODD!r} stayed one name"
    )


def remote_broken() -> None:
    """A list of arguments does not help: ssh joins them by blanks, and the shell there reads the line."""
    with ssh_host() as ssh:
        Path(ODD).touch()
        run([*ssh, f"cd {shlex.quote(os.getcwd())} || exit; ls -d", ODD])
        tell("after ls -d there are {names}", names=sorted(os.listdir()))


def remote_broken_seen(seen: Seen) -> str:
    names = seen.one("after ls").data["names"]
    expect(names == [ODD, "oops"], f"there are {names}")
    return f"the shell there has carried out what the file is called: a new file 'oops' beside {ODD!r}"
