"""Certificates that expire soon, of hosts and of files.

The `cryptography` package reads them. Measured against one `openssl x509` each, it takes 0.4 ms of CPU time for a certificate
instead of 45, works in the threads that shake hands, and no name in a certificate can pass for a line of openssl's output.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manyhands.admin import tls
from manyhands.admin.addresses import Address, address_of
from manyhands.admin.each import each, targets_of
from manyhands.admin.programs import ProgramError
from manyhands.admin.report import counted, report
from manyhands.core.errors import InputError, UsageError
from manyhands.core.extras import install_line
from manyhands.core.level import Level
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass, replace
from manyhands.core.safe_text import one_line
from manyhands.options.admin import CertificatesOptions

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

_ENDINGS: Final = (".pem", ".crt", ".cer")
_MOST: Final = 16 * 1024 * 1024
"""Bytes; no bundle of certificates is so large."""

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""The last, because a pipe would wait for somebody who writes."""

_BEGIN: Final = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
_END: Final = re.compile(rb"-----END (?:X509 |TRUSTED )?CERTIFICATE-----")


class State(StrEnum):
    """What there is to say of a certificate."""

    VALID = "valid"
    SOON = "expires soon"
    EXPIRED = "expired"
    EARLY = "not yet valid"
    UNTRUSTED = "not trusted"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Limits:
    """When certificates are looked at, and how long they must be good from there."""

    now: datetime
    warn: timedelta
    critical: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A certificate, or why there is none. ``number``: which one of its file, from 1; ``name``: the common name, else the first of
    ``names``, else ``subject``; ``verified``: whether a careful client trusts it, None for files."""

    where: str
    number: int = 1
    state: State
    name: str | None = None
    names: Sequence[str] = ()
    subject: str | None = None
    issuer: str | None = None
    serial: str | None = None
    sha256: str | None = None
    valid_from: str | None = None
    expires: str | None = None
    days_left: int | None = None
    verified: bool | None = None
    problem: str | None = None
    level: Level


Target = Address | Path


def certificates(options: CertificatesOptions) -> int:
    """Print when certificates expire."""
    _prepare_reader()
    limits = _limits(options)
    places = targets_of(options.places, options.file)
    if not places:
        raise UsageError("nothing is given: admin.certificates HOST:PORT|FILE|FOLDER ..., or --file FILE")
    closed: list[str] = []
    targets = [target for place in places for target in _targets_of(place, options.port, closed)]
    look = _looker(options, targets, limits)
    outcomes = [outcome.value for outcome in each(look, targets, jobs=options.jobs)]
    rows = [row for found in outcomes if found is not None for row in found]
    unread = len(closed) + sum(found is None for found in outcomes)
    if not rows:
        raise InputError(f"no certificate in {', '.join(places)}{_not_read(unread)}")
    return report(
        sorted(rows, key=lambda row: row.expires or ""),
        schema="certificate",
        summary=_summary(rows, options) + _not_read(unread),
        header=("days", "expires", "name", "where"),
        cells=lambda row: (
            "" if row.days_left is None else row.days_left,
            (row.expires or "")[:10],
            one_line(row.name or "", 40),
            _place(row),
        ),
        right=("days",),
        json=options.json,
    )


def _place(row: Found) -> str:
    """``mail:25: not for this name``, ``bundle.pem (2)``."""
    where = row.where if row.number == 1 else f"{row.where} ({row.number})"
    return where if row.problem is None else f"{where}: {row.problem}"


def of_host(address: Address, limits: Limits, present: Callable[[Address], tls.Presented]) -> list[Found]:
    """What a host presents."""
    there = present(address)
    if there.der is None:
        missing = Found(
            where=str(address), state=State.MISSING, problem=there.problem, verified=False, level=Level.CRITICAL
        )
        return [missing]
    found = _found(there.der, limits, str(address))
    if there.problem is None:
        return [replace(found, verified=True)]
    if found.state in (State.EXPIRED, State.EARLY, State.UNREADABLE):
        return [replace(found, verified=False)]
    return [replace(found, verified=False, state=State.UNTRUSTED, problem=there.problem, level=Level.CRITICAL)]


def of_file(path: Path, limits: Limits) -> list[Found] | None:
    """What is in a file, PEM or DER; private keys and all else in it are skipped. None: it may not be read."""
    try:
        data = _content(path)
    except OSError:
        return None
    if len(data) > _MOST:
        return [_unreadable(str(path), 1, "too large for certificates")]
    blocks = list(_blocks(data))
    if not blocks and data[:1] == b"\x30":  # a SEQUENCE of DER (X.690)
        blocks = [data]
    return [_found(block, limits, str(path), number) for number, block in enumerate(blocks, 1)]


def _limits(options: CertificatesOptions) -> Limits:
    warn, critical = parse_duration(options.warn, "--warn"), parse_duration(options.critical, "--critical")
    if critical > warn:
        raise UsageError(
            f"--critical {options.critical} is longer than --warn {options.warn}: nothing would be a warning"
        )
    return Limits(datetime.now(UTC), timedelta(seconds=warn), timedelta(seconds=critical))


def _looker(
    options: CertificatesOptions, targets: Iterable[Target], limits: Limits
) -> Callable[[Target], list[Found] | None]:
    """What is done with each target. Raises ManyhandsError for options that are wrong, before anything begins."""
    addresses = [one for one in targets if isinstance(one, Address)]
    protocols = {one: tls.protocol_of(one, options.starttls) for one in addresses}
    timeout, trusted = parse_duration(options.timeout, "--timeout"), tls.trusting(options.ca)

    def present(address: Address) -> tls.Presented:
        name = options.name or address.host
        return tls.presented(address, name, trusted=trusted, protocol=protocols[address], timeout=timeout)

    def look(target: Target) -> list[Found] | None:
        return of_file(target, limits) if isinstance(target, Path) else of_host(target, limits, present)

    return look


def _targets_of(place: str, port: int, closed: list[str]) -> Iterable[Target]:
    """The file, the host, or the files in the folder; those folders in it that may not be read are added to ``closed``.

    Raises ManyhandsError and OSError.
    """
    path = Path(place)
    if path.is_dir():
        os.scandir(path).close()  # whether it may be read: it is the user who has named it
        return _below(path, closed)
    if path.exists() or "/" in place or place.endswith(_ENDINGS):
        os.close(os.open(path, _READ))  # likewise
        return [path]
    return [address_of(place, port)]


def _below(folder: Path, closed: list[str]) -> Iterator[Path]:
    """Files with the names of certificates, each once, whatever links lead to it; links to folders are not followed."""
    seen = set()
    for parent, folders, names in os.walk(folder, onerror=lambda error: closed.append(error.filename)):
        folders.sort()
        for path in (Path(parent, name) for name in sorted(names) if name.lower().endswith(_ENDINGS)):
            with suppress(OSError):  # a link that leads nowhere
                status = path.stat()
                key = (status.st_dev, status.st_ino)
                if stat.S_ISREG(status.st_mode) and key not in seen:
                    seen.add(key)
                    yield path


def _blocks(data: bytes) -> Iterator[bytes]:
    """The certificates of a PEM file (RFC 7468)."""
    begin = _BEGIN.search(data)
    while begin and (end := _END.search(data, begin.end())):
        yield data[begin.start() : end.end()]
        begin = _BEGIN.search(data, end.end())


def _content(path: Path) -> bytes:
    """Of a regular file, and not much more than `_MOST`."""
    with open(os.open(path, _READ), "rb") as file:
        return file.read(_MOST + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


def _found(data: bytes, limits: Limits, where: str, number: int = 1) -> Found:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        load = x509.load_pem_x509_certificate if data.startswith(b"-----") else x509.load_der_x509_certificate
        one = load(data)
        names, common, subject = _names(one), _common_name(one.subject), one.subject.rfc4514_string()
        state, level = _judged(one, limits)
        return Found(
            where=where,
            number=number,
            state=state,
            name=common or next(iter(names), subject),
            names=names,
            subject=subject,
            issuer=one.issuer.rfc4514_string(),
            serial=f"{one.serial_number:x}",
            sha256=one.fingerprint(SHA256()).hex(),
            valid_from=_iso(one.not_valid_before_utc),
            expires=_iso(one.not_valid_after_utc),
            days_left=(one.not_valid_after_utc - limits.now) // timedelta(days=1),
            problem=state if state in (State.EXPIRED, State.EARLY) else None,
            level=level,
        )
    except ValueError:
        return _unreadable(where, number, "cannot be read as a certificate")


def _unreadable(where: str, number: int, problem: str) -> Found:
    return Found(where=where, number=number, state=State.UNREADABLE, problem=problem, level=Level.UNKNOWN)


def _judged(one: Certificate, limits: Limits) -> tuple[State, Level]:
    left = one.not_valid_after_utc - limits.now
    if left < timedelta(0):
        return State.EXPIRED, Level.CRITICAL
    if one.not_valid_before_utc > limits.now:
        return State.EARLY, Level.CRITICAL
    if left < limits.critical:
        return State.SOON, Level.CRITICAL
    return (State.SOON, Level.WARNING) if left < limits.warn else (State.VALID, Level.OK)


def _names(one: Certificate) -> list[str]:
    """Hosts, addresses and mailboxes that it is for (subjectAltName, RFC 5280)."""
    from cryptography import x509

    try:
        found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in found if isinstance(name, x509.DNSName | x509.IPAddress | x509.RFC822Name)]


def _common_name(name: Name) -> str | None:
    from cryptography.x509.oid import NameOID

    return next((str(one.value) for one in name.get_attributes_for_oid(NameOID.COMMON_NAME)), None)


def _summary(rows: Sequence[Found], options: CertificatesOptions) -> str:
    """``5 certificates: 1 has expired, 2 expire within 30d``."""
    there = [row for row in rows if row.days_left is not None]
    count = Counter((row.state, row.level if row.state is State.SOON else None) for row in rows)
    said = [
        f"{found} {one if found == 1 else several}"
        for state, level, one, several in (
            (State.EXPIRED, None, "has expired", "have expired"),
            (State.EARLY, None, "is not yet valid", "are not yet valid"),
            (State.UNTRUSTED, None, "is not trusted", "are not trusted"),
            (State.SOON, Level.CRITICAL, f"expires within {options.critical}", f"expire within {options.critical}"),
            (State.SOON, Level.WARNING, f"expires within {options.warn}", f"expire within {options.warn}"),
            (State.MISSING, None, "host presents none", "hosts present none"),
            (State.UNREADABLE, None, "is unreadable", "are unreadable"),
        )
        if (found := count[state, level])
    ]
    if not said:
        first = min(row.days_left for row in there if row.days_left is not None)
        said = [f"the first expires in {counted(first, 'day')}"]
    return f"{counted(len(there), 'certificate')}: {', '.join(said)}"


def _not_read(count: int) -> str:
    return f"; {counted(count, 'file or folder', 'files or folders')} may not be read" if count else ""


def _iso(moment: datetime) -> str:
    """In UTC, as RFC 3339 has it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _prepare_reader() -> None:
    """Raises ProgramError, with the command that installs what is missing."""
    try:
        from cryptography.utils import CryptographyDeprecationWarning
    except ImportError:
        raise ProgramError(
            f"admin.certificates needs cryptography, which is not installed: {install_line('certificates')}"
        ) from None
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # some old roots are not quite as they should be
