"""``admin.certificates``: certificates made by openssl, in files and presented by servers on 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from admin.ordinary_user import as_ordinary_user
from admin.pages import check_page
from conftest import Cli
from manyhands.admin.addresses import Address
from manyhands.admin.certificates import certificates
from manyhands.admin.tls import STARTTLS, protocol_of
from manyhands.core.errors import UsageError
from manyhands.core.level import Level
from manyhands.options.admin import CertificatesOptions

CONFIG = """\
[ca]
default_ca=own
[own]
database=index.txt
new_certs_dir=issued
default_md=sha256
policy=any
rand_serial=yes
unique_subject=no
copy_extensions=copy
[any]
commonName=optional
"""
Say = Callable[[socket.socket], None]


def run(*command: str, folder: Path) -> str:
    return subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True, text=True).stdout


class Authority:
    """Certificates by a certificate authority of our own, ``ca.pem``, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, folder / "key"
        (folder / "issued").mkdir(parents=True)
        (folder / "ca.cnf").write_text(CONFIG)
        (folder / "index.txt").touch()
        run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key", folder=folder)
        run("req", "-x509", "-key", "key", "-subj", "/CN=Own CA", "-days", "3650", "-out", "ca.pem", folder=folder)

    def issue(
        self,
        to: Path,
        *,
        begins: float = -10,
        days: float,
        alt: str = "IP:127.0.0.1",
        subject: str = "/CN=web",
        self_signed: bool = False,
    ) -> Path:
        """A certificate for the one key; ``begins`` and ``days`` from now."""
        now = datetime.now(UTC)
        start, end = (f"{now + timedelta(days=one):%Y%m%d%H%M%SZ}" for one in (begins, days))
        request = ["-key", "key", "-out", "request", "-subj", subject, "-addext", f"subjectAltName={alt}"]
        run("req", "-new", *request, folder=self.folder)
        by = ["-selfsign"] if self_signed else ["-cert", "ca.pem"]
        wanted = ["-in", "request", "-out", str(to), "-startdate", start, "-enddate", end, "-notext"]
        run("ca", "-batch", "-config", "ca.cnf", *by, "-keyfile", "key", *wanted, folder=self.folder)
        return to


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority of our own."""
    return Authority(tmp_path_factory.mktemp("authority"))


class Servers:
    """Servers on 127.0.0.1, which serve one connection after another until the test is over."""

    def __init__(self) -> None:
        self._all = ExitStack()

    def start(self, serve: Say) -> int:
        """The port of a server."""
        server = self._all.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        thread = threading.Thread(target=self._accept, args=(server, serve), daemon=True)
        thread.start()
        self._all.callback(thread.join)
        self._all.callback(server.shutdown, socket.SHUT_RDWR)
        return int(server.getsockname()[1])

    def start_tls(self, certificate: Path, key: Path, first: Say = lambda connection: None) -> int:
        """The port of a server with a certificate, that says something ``first``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        def serve(connection: socket.socket) -> None:
            first(connection)
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)

        return self.start(serve)

    @staticmethod
    def _accept(server: socket.socket, serve: Say) -> None:
        with suppress(OSError):  # the listening socket is shut down
            while True:
                connection = server.accept()[0]
                with closing(connection), suppress(OSError):
                    serve(connection)

    def close(self) -> None:
        self._all.close()


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Servers that end with the test."""
    with closing(Servers()) as started:
        yield started


def rows(cli: Cli, *args: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in cli("admin.certificates", *args, "--json").stdout.splitlines()]


def test_files_as_openssl_reads_them(authority: Authority, tmp_path: Path, cli: Cli) -> None:
    """PEM and DER, several in one file, each with what openssl says of it."""
    one = authority.issue(tmp_path / "one.pem", days=90, alt="DNS:web.example.org,DNS:www.example.org")
    two = authority.issue(tmp_path / "two.pem", days=20, subject="/O=Ours/CN=Zürich")
    (tmp_path / "bundle.crt").write_text(f"a comment\n{one.read_text()}{two.read_text()}")
    run("x509", "-in", "one.pem", "-outform", "DER", "-out", "one.cer", folder=tmp_path)
    found = rows(cli, ".")
    assert [(row["where"], row["number"]) for row in found] == [
        ("bundle.crt", 2),
        ("two.pem", 1),
        ("bundle.crt", 1),
        ("one.cer", 1),
        ("one.pem", 1),
    ]
    for row in found:
        path = "two.pem" if row["number"] == 2 else str(row["where"])
        form = "DER" if path.endswith(".cer") else "PEM"
        said = run(
            "x509",
            "-in",
            path,
            "-inform",
            form,
            "-noout",
            "-enddate",
            "-startdate",
            "-serial",
            "-fingerprint",
            "-sha256",
            "-subject",
            "-issuer",
            "-nameopt",
            "RFC2253,-esc_msb,utf8",
            folder=tmp_path,
        )
        told = dict(line.split("=", 1) for line in said.splitlines())
        for key, name in (("expires", "notAfter"), ("valid_from", "notBefore")):
            moment = datetime.strptime(told[name], "%b %d %H:%M:%S %Y GMT")
            assert row[key] == f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        assert (row["subject"], row["issuer"]) == (told["subject"], told["issuer"])
        assert str(row["serial"]).upper().zfill(len(told["serial"])) == told["serial"]
        assert str(row["sha256"]).upper() == told["sha256 Fingerprint"].replace(":", "")
    assert found[4]["names"] == ["web.example.org", "www.example.org"]
    assert [row["level"] for row in found] == ["WARNING", "WARNING", "OK", "OK", "OK"]


@pytest.mark.parametrize(
    ("begins", "days", "state", "level", "left"),
    [
        (-10, -1.5, "expired", "CRITICAL", -2),
        (-10, 2.5, "expires soon", "CRITICAL", 2),
        (-10, 20.5, "expires soon", "WARNING", 20),
        (-10, 90.5, "valid", "OK", 90),
        (10, 90.5, "not yet valid", "CRITICAL", 90),
    ],
)
def test_how_long_it_is_good(
    begins: float, days: float, state: str, level: str, left: int, authority: Authority, tmp_path: Path, cli: Cli
) -> None:
    """Thirty days are a warning, seven are critical; days are counted down."""
    authority.issue(tmp_path / "one.pem", begins=begins, days=days)
    [row] = rows(cli, "one.pem")
    assert (row["state"], row["level"], row["days_left"]) == (state, level, left)


def test_thresholds(authority: Authority, tmp_path: Path, cli: Cli) -> None:
    """Are options; the first line counts what is past them."""
    authority.issue(tmp_path / "one.pem", days=20)
    done = cli("admin.certificates", "one.pem", "--warn", "15d")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "OK - 1 certificate: the first expires in 19 days")
    done = cli("admin.certificates", "one.pem", "--critical", "21d")
    assert (done.returncode, done.stdout.splitlines()[0]) == (2, "CRITICAL - 1 certificate: 1 expires within 21d")


def test_a_trusted_host(authority: Authority, servers: Servers, tmp_path: Path, cli: Cli) -> None:
    """A chain that ends at the file of --ca, presented by a server; without that file the reason is what is wrong."""
    port = servers.start_tls(authority.issue(tmp_path / "one.pem", days=90), authority.key)
    host, ca = f"127.0.0.1:{port}", str(authority.folder / "ca.pem")
    done = cli("admin.certificates", host, "--ca", ca)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "OK - 1 certificate: the first expires in 89 days"
    [row] = rows(cli, host, "--ca", ca)
    assert (row["verified"], row["problem"], row["where"], row["name"]) == (True, None, host, "web")
    [row] = rows(cli, host)
    assert (row["verified"], row["state"], row["level"]) == (False, "not trusted", "CRITICAL")
    assert row["problem"] == "unable to get local issuer certificate"
    assert row["expires"]
    done = cli("admin.certificates", host)
    assert (done.returncode, done.stdout.splitlines()[0]) == (2, "CRITICAL - 1 certificate: 1 is not trusted")


@pytest.mark.parametrize(
    ("made", "args", "state", "problem"),
    [
        ({"days": -1}, [], "expired", "expired"),
        ({"begins": 1, "days": 9}, [], "not yet valid", "not yet valid"),
        ({"days": 90, "self_signed": True}, [], "not trusted", "self-signed certificate"),
        ({"days": 90, "alt": "DNS:other"}, [], "not trusted", "not for this name"),
        ({"days": 90, "alt": "DNS:other"}, ["--name", "other"], "valid", None),
        ({"days": 90, "alt": "DNS:other"}, ["--name", "another"], "not trusted", "not for this name"),
    ],
)
def test_a_host_that_is_not_trusted(
    made: dict[str, object],
    args: list[str],
    state: str,
    problem: str | None,
    authority: Authority,
    servers: Servers,
    tmp_path: Path,
    cli: Cli,
) -> None:
    """Its certificate is shown all the same, with the reason."""
    issued = authority.issue(tmp_path / "one.pem", **made)  # type: ignore[arg-type]
    port = servers.start_tls(issued, authority.key)
    [row] = rows(cli, f"127.0.0.1:{port}", "--ca", str(authority.folder / "ca.pem"), *args)
    found = str(row["problem"]).replace("self signed", "self-signed") if row["problem"] else None  # OpenSSL 1.1
    assert (row["state"], found, row["verified"]) == (state, problem, problem is None)


def test_the_name_is_told_to_the_server(authority: Authority, servers: Servers, tmp_path: Path, cli: Cli) -> None:
    """By SNI, because it may have many certificates."""
    told: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(tmp_path / "one.pem", days=90, alt="DNS:other"), authority.key)
    context.sni_callback = lambda _connection, name, _context: told.append(name)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    port = servers.start(serve)
    rows(cli, f"127.0.0.1:{port}", "--ca", str(authority.folder / "ca.pem"), "--name", "other")
    assert told == ["other"]


def test_what_speaks_no_tls(servers: Servers, cli: Cli) -> None:
    """A port with another protocol, one that closes at once, one that never answers, one where nobody is."""
    over = threading.Event()
    plain = servers.start(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"))
    closes = servers.start(lambda connection: None)
    silent = servers.start(lambda connection: (over.wait(), None)[1])
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        ports = [plain, closes, silent, held.getsockname()[1]]
        done = rows(cli, *(f"127.0.0.1:{port}" for port in ports), "--timeout", "1")
    over.set()
    problems = [str(row["problem"]) for row in done]
    assert problems[0].startswith("no TLS: ")
    assert problems[1].startswith("no TLS: ") or "reset" in problems[1]
    assert problems[2:] == ["no answer within 1 s", "connection refused"]
    assert {(row["state"], row["level"], row["expires"]) for row in done} == {("missing", "CRITICAL", None)}


DIALOGUES = {
    "smtp": [b"220-mail\r\n220 mail\r\n", b"EHLO localhost", b"250-mail\r\n250 STARTTLS\r\n", b"STARTTLS", b"220 go\r\n"],
    "imap": [b"* OK mail\r\n", b"a STARTTLS", b"* CAPABILITY x\r\na OK go\r\n"],
    "pop3": [b"+OK mail\r\n", b"STLS", b"+OK go\r\n"],
    "ftp": [b"220 files\r\n", b"AUTH TLS", b"234 go\r\n"],
}


def speak(connection: socket.socket, dialogue: list[bytes]) -> None:
    """What the server says, and between that what it must be told."""
    with connection.makefile("rb") as told:
        for number, text in enumerate(dialogue):
            if number % 2:
                assert told.readline() == text + b"\r\n"
            else:
                connection.sendall(text)


@pytest.mark.parametrize("protocol", STARTTLS)
def test_tls_after_a_dialogue(protocol: str, authority: Authority, servers: Servers, tmp_path: Path, cli: Cli) -> None:
    """Servers of mail and files begin without TLS."""
    issued = authority.issue(tmp_path / "one.pem", days=90)
    port = servers.start_tls(issued, authority.key, lambda connection: speak(connection, DIALOGUES[protocol]))
    [row] = rows(cli, f"127.0.0.1:{port}", "--starttls", protocol, "--ca", str(authority.folder / "ca.pem"))
    assert (row["verified"], row["problem"]) == (True, None)


def test_a_mail_server_without_tls(servers: Servers, cli: Cli) -> None:
    """Its own words are the reason; one that goes on talking is not listened to for ever."""
    no = [*DIALOGUES["smtp"][:4], b"454 not \x1b[31mnow\r\n"]
    port = servers.start(lambda connection: speak(connection, no))
    assert [row["problem"] for row in rows(cli, f"127.0.0.1:{port}", "--starttls", "smtp")] == [
        "no TLS by smtp: 454 not ^[[31mnow"
    ]
    endless = servers.start(lambda connection: connection.sendall(b"220-more\r\n" * 100_000))
    [row] = rows(cli, f"127.0.0.1:{endless}", "--starttls", "smtp", "--timeout", "60")
    assert row["problem"] == "no TLS by smtp: the connection was closed"


@pytest.mark.parametrize(
    ("port", "given", "protocol"),
    [(443, None, None), (25, None, "smtp"), (143, None, "imap"), (25, "none", None), (2525, "smtp", "smtp")],
)
def test_which_protocol(port: int, given: str | None, protocol: str | None) -> None:
    """By the port, unless it is said."""
    assert protocol_of(Address("mail", port), given) == protocol


def test_an_unknown_protocol() -> None:
    """The known ones are named."""
    with pytest.raises(UsageError, match="--starttls ldap: expected smtp, imap, pop3, ftp or none"):
        protocol_of(Address("mail", 1), "ldap")


def test_a_private_key_is_left_alone(authority: Authority, tmp_path: Path, cli: Cli) -> None:
    """In a file of its own, or before the certificate; nothing of it is ever printed."""
    key = authority.key.read_text()
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / "both.pem").write_text(key + authority.issue(tmp_path / "one", days=90).read_text())
    done = cli("admin.certificates", ".")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["where"] for row in rows(cli, ".")] == ["both.pem"]
    for line in key.splitlines():
        assert line not in done.stdout
    done = cli("admin.certificates", "key.pem")
    assert (done.returncode, done.stdout) == (3, "UNKNOWN - no certificate in key.pem\n")


def test_what_is_in_a_folder(authority: Authority, tmp_path: Path, cli: Cli) -> None:
    """Links to files count, once; links to folders, dangling ones, pipes and other files do not."""
    folder = tmp_path / "certs"
    (folder / "web").mkdir(parents=True)
    real = authority.issue(tmp_path / "web1.pem", days=90)
    (folder / "web" / "cert.pem").symlink_to(real)
    (folder / "web" / "same.pem").symlink_to(real)
    (folder / "gone.pem").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.pem")
    (folder / "empty.pem").touch()
    (folder / "torn.pem").write_text(real.read_text()[:300])
    (folder / "one.txt").write_text(real.read_text())
    assert [row["where"] for row in rows(cli, "certs")] == ["certs/web/cert.pem"]


def test_what_is_no_certificate(authority: Authority, tmp_path: Path, cli: Cli) -> None:
    """It says so, and is unknown to a monitor; the others in the file are read."""
    good = authority.issue(tmp_path / "good.crt", days=90).read_text()
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (tmp_path / "bundle.pem").write_text(broken + good)
    done = cli("admin.certificates", "bundle.pem")
    assert (done.returncode, done.stdout.splitlines()[0]) == (3, "UNKNOWN - 1 certificate: 1 is unreadable")
    assert [(row["number"], row["state"]) for row in rows(cli, "bundle.pem")] == [(1, "unreadable"), (2, "valid")]


def test_hostile_names(authority: Authority, tmp_path: Path, cli: Cli) -> None:
    """Nothing that a certificate or a file is called reaches the terminal as it is, or passes for a line of ours."""
    path = tmp_path / "-\x1b[31m\nOK - fine.pem"
    authority.issue(tmp_path / "one", days=-1, subject="/CN=a\nOK - fine\x1b[2J")
    shutil.move(tmp_path / "one", path)
    done = cli("admin.certificates", ".")
    assert (done.returncode, done.stdout.count("\n")) == (2, 3)
    assert "\x1b" not in done.stdout
    assert "a␤OK - fine^[[2J" in done.stdout


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "nothing is given"),
        (["empty"], "no certificate in empty"),
        (["none.pem"], "none.pem: No such file or directory"),
        (["x", "--warn", "soon"], "--warn 'soon': expected seconds"),
        (["x", "--critical", "40d"], "--critical 40d is longer than --warn 30d"),
        (["x", "--ca", "none.pem"], "--ca none.pem: No such file or directory"),
        (["x", "--ca", "text"], "--ca text: no certificate in it"),
        (["x", "--starttls", "ldap"], "--starttls ldap: expected smtp"),
    ],
)
def test_mistakes(args: list[str], text: str, tmp_path: Path, cli: Cli) -> None:
    """One line, which a monitor shows, and the status 3."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no certificate\n")
    done = cli("admin.certificates", *args)
    assert done.returncode == 3
    assert done.stdout.startswith("UNKNOWN - ")
    assert text in done.stdout
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_what_may_not_be_read_is_counted(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for keys in folders that belong to root; a file that is named is a mistake."""
    authority.issue(tmp_path / "one.pem", days=90).chmod(0o644)
    (tmp_path / "key.pem").touch(mode=0)
    (tmp_path / "private").mkdir(mode=0)
    options = CertificatesOptions(places=[str(tmp_path)])
    assert certificates(options) is Level.OK  # and loads what it needs, which may lie where only root may read
    capsys.readouterr()
    with as_ordinary_user(tmp_path):
        assert certificates(replace(options, places=["."])) is Level.OK
        verdict = capsys.readouterr().out.splitlines()[0]
        assert verdict == "OK - 1 certificate: the first expires in 89 days; 2 files or folders may not be read"
        for name in ("key.pem", "private"):
            with pytest.raises(PermissionError):
                certificates(replace(options, places=[name]))


def test_without_the_package(tmp_path: Path, environment: dict[str, str], cli: Cli) -> None:
    """What to type."""
    (tmp_path / "cryptography.py").write_text("raise ImportError")
    there = {**environment, "PYTHONPATH": f"{tmp_path}:{environment['PYTHONPATH']}"}
    done = cli("admin.certificates", "x", env=there, cold=True)
    assert done.returncode == 3
    assert "admin.certificates needs cryptography, which is not installed: " in done.stdout
    assert "cryptography>=" in done.stdout


def test_the_page(authority: Authority, servers: Servers, tmp_path: Path, environment: dict[str, str]) -> None:
    """Its commands print what it shows."""
    folder = tmp_path / "page"
    (folder / "live").mkdir(parents=True)
    authority.issue(folder / "live" / "www.pem", days=20.5, subject="/CN=www.example.org")
    shutil.copy(authority.folder / "ca.pem", folder / "own-ca.pem")
    issued = authority.issue(folder / "web1.pem", days=90.5, subject="/CN=web1")
    port = servers.start_tls(issued, authority.key)
    check_page("certificates", folder, environment, {"web1:443": f"127.0.0.1:{port}"})
