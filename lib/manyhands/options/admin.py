"""What the ``admin`` tasks take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

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
        positional=True, metavar="FOLDER", help="where the backups are, each in a folder of its own; it must exist"
    )
    exclude: Sequence[str] = option(
        (), short="e", metavar="PATTERN", help="leave out what matches, as rsync's --exclude does; may be repeated"
    )
    one_file_system: bool = option(False, short="x", help="leave out other file systems that are mounted in the source")
    checksum: bool = option(
        False, help="read all files, instead of trusting size and time, to see which have not changed"
    )
    keep: int | None = option(None, short="k", metavar="N", help="keep the newest N, and delete the others")
    daily: int | None = option(None, metavar="N", help="keep the last backup of each of N days")
    weekly: int | None = option(None, metavar="N", help="keep the last backup of each of N weeks")
    monthly: int | None = option(None, metavar="N", help="keep the last backup of each of N months")
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


class DiskOptions(Json):
    """What ``admin.disk`` takes."""

    folder: str = option(
        ".", positional=True, metavar="FOLDER", help="what lies below it, on its file system (default: .)"
    )
    by: Literal["folder", "file", "age", "owner", "open"] = option(
        "folder", help="list the largest folders (default) or files, amounts by age or owner, or deleted files still open"
    )
    top: int = option(15, short="n", metavar="COUNT", help="list so many at most (default: 15)")
    depth: int | None = option(
        None, short="d", metavar="LEVELS", help="only folders so many levels below FOLDER, as of du"
    )
    older_than: str | None = option(
        None, short="o", metavar="TIME", help="count only what was not modified for this time (180d)"
    )
    inodes: bool = option(False, short="i", help="the most files and folders, for a file system that has no inodes left")
    warn: str = option(
        "80%", short="w", metavar="PERCENT", help="a file system fuller than this is a warning (default: 80%)"
    )
    critical: str = option("90%", short="c", metavar="PERCENT", help="and fuller than this is critical (default: 90%)")
    jobs: str = option("4", short="j", metavar="N", help="folders looked at at once (default: 4)")


class Remembering(Json):
    """For programs that tell what is new."""

    remember: bool = option(False, short="r", help="keep what is seen now, for later looks to compare with")
    state_dir: str | None = option(
        None, metavar="FOLDER", help="where that is kept (default: $XDG_STATE_HOME/manyhands, ~/.local/state/manyhands)"
    )


class ListenersOptions(Remembering):
    """What ``admin.listeners`` takes."""

    public: bool = option(False, short="p", help="leave out those that only this machine reaches")


class LogsOptions(Json):
    """What ``admin.logs`` takes."""

    folders: Sequence[str] = option((), positional=True, metavar="FOLDER", help="where logs are, also in folders below")
    match: Sequence[str] = option(
        (),
        metavar="PATTERN",
        help="names of logs, also rotated ones: app.log.1, app.log-20260131.gz; repeatable (default: *.log)",
    )
    compress_after: str = option(
        "1d", metavar="TIME", help="compress what nobody has written to for this time (default: 1d)"
    )
    remove_after: str | None = option(
        None, metavar="TIME", help="remove what nobody has written to for this time, such as 30d"
    )
    yes: bool = option(False, short="y", excludes=("dry_run",), help="do it, and do not ask")
    dry_run: bool = option(False, short="n", help="only show what would be done, and do not ask")
    run_id: str | None = option(None, metavar="NAME", help="the name of the run; one that was stopped is continued")
    jobs: str = option("50%", short="j", metavar="N", help="files at once (default: 50%)")


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


class ServicesOptions(Json):
    """What ``admin.services`` takes."""

    since: str = option("1d", short="s", metavar="TIME", help="failures of the last so long, such as 12h (default: 1d)")
    lines: int = option(5, short="n", metavar="COUNT", help="the last lines of each (default: 5)")
    log: Sequence[str] = option(
        (), short="l", metavar="FILE", help="look in this file of a syslog daemon, and do not ask systemd; repeatable"
    )


class TimersOptions(Json):
    """What ``admin.timers`` takes."""

    since: str = option("8d", short="s", metavar="TIME", help="how far back to look in the log of cron (default: 8d)")
    root: str = option(
        "/", short="r", metavar="FOLDER", help="look at the crontabs and logs of the system below it (default: /)"
    )


class UpdatesOptions(Json):
    """What ``admin.updates`` takes."""

    all: bool = option(False, short="a", help="the other updates, too, which are no reason for a warning")
