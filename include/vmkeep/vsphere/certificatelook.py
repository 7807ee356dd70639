"""Looks at the certificate of a server as every connection does, and reads how long it lasts. Sends nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cryptography import x509

from vmkeep.lateclass import dataclass
from vmkeep.model.site import VCenter
from vmkeep.vsphere.trust import Trust

_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateLook:
    """A certificate that was accepted."""

    how: str
    """How it was recognised, for people."""
    thumbprint_sha256: str
    expires: datetime | None
    """Its end in UTC; ``None``: the certificate cannot be parsed, as an accepted thumbprint does not need."""


def look_at_certificate(vcenter: VCenter, *, seconds: float = _SECONDS) -> CertificateLook:
    """Connect, check the certificate by the rule of the site, and hang up.

    :param seconds: time for the connection, and again for the handshake.
    :raises CertificateError: the certificate is not the expected one.
    :raises UnreachableError: the name does not resolve, or no TLS server answers there in time.
    """
    trust = Trust(vcenter)
    trust.open_socket(vcenter.host, vcenter.port, timeout=seconds).close()
    return CertificateLook(
        how=_how(vcenter), thumbprint_sha256=trust.thumbprint_sha256, expires=_end_of(trust.certificate or b"")
    )


def _how(vcenter: VCenter) -> str:
    if vcenter.thumbprint:
        return "by its pinned thumbprint"
    return f"by the authorities in {vcenter.ca_file}" if vcenter.ca_file else "by the system's authorities"


def _end_of(der: bytes) -> datetime | None:
    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc
    except ValueError:
        return None
