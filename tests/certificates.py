"""Certificates for servers that tests start on 127.0.0.1."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str = "server") -> tuple[Path, Path]:
    """(a certificate of 127.0.0.1 that is its own authority, its key), for a day."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert), *subject]
    subprocess.run(made, check=True, capture_output=True)
    return cert, key
