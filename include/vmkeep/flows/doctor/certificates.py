"""Judges the certificate of a server: whether it is trusted, and how long it lasts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from vmkeep.flows.doctor.values import Answer, ok, warning
from vmkeep.vsphere.certificatelook import CertificateLook

SOON: Final = timedelta(days=30)
"""Remaining time of a certificate from which on people are told."""
_RENEW: Final = "renew it in vCenter, and then set the new thumbprint here, wherever one is pinned"


def judge(seen: CertificateLook, now: datetime) -> Answer:
    """Return whether a certificate that was accepted will go on being accepted. Pure."""
    told = f"{seen.how}; SHA-256 {seen.thumbprint_sha256}"
    if seen.expires is None:
        return warning(f"the certificate is trusted, and its end cannot be read ({told})", _RENEW)
    until = f"{seen.expires:%Y-%m-%d}"
    if seen.expires <= now:
        return warning(f"the certificate ended on {until}; it is still accepted, because its thumbprint fits", _RENEW)
    if seen.expires - now < SOON:
        days = (seen.expires - now).days
        return warning(f"the certificate ends on {until}, in {days} days ({told})", _RENEW)
    return ok(f"the certificate is trusted until {until} ({told})")
