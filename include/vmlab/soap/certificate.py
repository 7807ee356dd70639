"""The lab's own TLS certificate: made once per folder, self-signed, with its thumbprints."""

import hashlib
import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Files of a certificate and its key, and the thumbprints (upper-case hex with colons)."""

    certificate: Path
    key: Path
    sha1: str
    sha256: str


def load_or_make(folder: Path) -> Certificate:
    """The certificate kept in `folder` (`certificate.pem`, `key.pem`); made there at the first call."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if not certificate.exists() or not key.exists():
        _make(certificate, key)
    return _load(certificate, key)


def renew(folder: Path) -> Certificate:
    """Make a new certificate and key in `folder`, in place of those that are there."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    _make(certificate, key)
    return _load(certificate, key)


def _load(certificate: Path, key: Path) -> Certificate:
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    return Certificate(
        certificate=certificate,
        key=key,
        sha1=_colons(hashlib.sha1(der, usedforsecurity=False).hexdigest()),
        sha256=_colons(hashlib.sha256(der).hexdigest()),
    )


def _make(certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vmlab")])
    now = datetime.now(UTC)
    alternatives = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))


def _colons(digest: str) -> str:
    return ":".join(digest[index : index + 2] for index in range(0, len(digest), 2)).upper()
