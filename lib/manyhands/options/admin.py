"""What the ``admin`` tasks take."""

from __future__ import annotations

from collections.abc import Sequence

from manyhands.options.choices import Algorithm
from manyhands.options.common import Json
from manyhands.options.declaration import option


class Targets(Json):
    """Several of something, as arguments or in a file."""

    file: str | None = option(
        None, short="f", metavar="FILE", help="more of them, one a line; # begins a comment, - is standard input"
    )


class BackupOptions(Json):
    """What ``admin.backup`` takes."""

    source: str = option(positional=True, metavar="FOLDER", help="what is backed up")
    target: str = option(
        positional=True, metavar="FOLDER", help="where the backups are, each in a folder of its own; it must be there"
    )
    exclude: Sequence[str] = option(
        (), short="e", metavar="PATTERN", help="leave out what matches, as rsync's --exclude does; may be repeated"
    )
    one_file_system: bool = option(False, short="x", help="leave out other file systems that are mounted in the source")
    checksum: bool = option(
        False, help="read all files, instead of trusting size and time, to see which have not changed"
    )
    keep: int | None = option(None, short="k", metavar="N", help="keep the newest N, and delete the others")
    daily: int | None = option(None, metavar="N", help="keep the last of each of N days")
    weekly: int | None = option(None, metavar="N", help="keep the last of each of N weeks")
    monthly: int | None = option(None, metavar="N", help="keep the last of each of N months")
    sample: int = option(
        20,
        short="s",
        metavar="N",
        help="restore so many files, chosen at random, and compare them with the source (default: 20)",
    )
    dry_run: bool = option(False, short="n", help="show what would be copied and deleted; change nothing")


class CertificatesOptions(Targets):
    """What ``admin.certificates`` takes."""

    places: Sequence[str] = option(
        (),
        positional=True,
        metavar="HOST:PORT|FILE|FOLDER",
        help="whose certificates; a folder is searched for *.pem, *.crt, *.cer",
    )
    warn: str = option("30d", short="w", metavar="TIME", help="less than this left is a warning (default: 30d)")
    critical: str = option("7d", short="c", metavar="TIME", help="less than this left is critical (default: 7d)")
    ca: str | None = option(None, metavar="FILE", help="trust these certificate authorities, too (PEM)")
    name: str | None = option(
        None, short="n", metavar="NAME", help="expect certificates of this name, not of the host (SNI)"
    )
    starttls: str | None = option(
        None, metavar="PROTOCOL", help="smtp, imap, pop3, ftp or none (default: by port: 25, 587, 143, 110, 21)"
    )
    port: int = option(443, short="p", metavar="PORT", help="for hosts without a port (default: 443)")
    timeout: str = option("5", short="t", metavar="TIME", help="give up a handshake after this time (default: 5)")
    jobs: str = option("32", short="j", metavar="N", help="hosts and files at once (default: 32)")


class ChecksumsOptions(Json):
    """What ``admin.checksums`` takes."""

    folder: str = option(positional=True, metavar="FOLDER", help="whose files are read; no symbolic link is followed")
    write: str = option(
        "-",
        short="w",
        metavar="FILE",
        excludes=("verify",),
        help="where the checksums go, as sha256sum prints them (default: -, standard output)",
    )
    verify: str | None = option(
        None, short="v", metavar="FILE", help="compare the files with these checksums instead; - is standard input"
    )
    allow_new: bool = option(False, needs="verify", help="files that FILE does not list are no finding")
    algorithm: Algorithm = option("sha256", short="a", help="of the checksums (default: sha256)")
    jobs: str = option(
        "100%",
        short="j",
        metavar="N",
        help="files at once, or a share of the cores (default: 100%); 1 is best for one spinning disk",
    )
    run_id: str | None = option(
        None, metavar="NAME", help="keep what was read under this name: the same command goes on after a kill"
    )


class DuplicatesOptions(Json):
    """What ``admin.duplicates`` takes."""

    folders: Sequence[str] = option(
        (), positional=True, metavar="FOLDER", help="whose files are compared, those of all folders with one another"
    )
    min_size: str = option(
        "1",
        short="m",
        metavar="SIZE",
        help="leave out smaller files (default: 1 byte; 0: empty files are duplicates, too)",
    )
    warn: str | None = option(None, short="w", metavar="SIZE", help="more than this to be saved is a warning (1GiB)")
    jobs: str = option("100%", short="j", metavar="N", help="files at once, or a share of the cores (default: 100%)")


class ReachOptions(Targets):
    """What ``admin.reach`` takes."""

    hosts: Sequence[str] = option((), positional=True, metavar="HOST:PORT", help="where to connect to; IPv6 is [::1]:22")
    port: int = option(443, short="p", metavar="PORT", help="for hosts without a port (default: 443)")
    tries: int = option(3, short="n", metavar="COUNT", help="connections to each (default: 3)")
    warn: str | None = option(None, short="w", metavar="TIME", help="a median above this is a warning (100ms)")
    timeout: str = option("3", short="t", metavar="TIME", help="give up a connection after this time (default: 3)")
    jobs: str = option("32", short="j", metavar="N", help="hosts at once (default: 32)")


class RepositoriesOptions(Targets):
    """What ``admin.repositories`` takes."""

    folders: Sequence[str] = option(
        (), positional=True, metavar="FOLDER", help="repositories, and folders of repositories"
    )
    fetch: bool = option(False, help="fetch from all remotes first; nobody is asked for a password")
    trust: bool = option(
        False, needs="fetch", help="fetch also where a repository's own configuration names programs to run"
    )
    timeout: str = option("60", short="t", metavar="TIME", help="give up a repository after this time (default: 60)")
    jobs: str = option("8", short="j", metavar="N", help="repositories at once (default: 8)")


class UpdatesOptions(Json):
    """What ``admin.updates`` takes."""

    all: bool = option(False, short="a", help="the other updates, too, which are no reason for a warning")
