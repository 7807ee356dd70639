"""The site: the addresses and credentials of one run's surroundings.

They come from the command line, the environment, or Airflow's connections.
"""

from __future__ import annotations

from dataclasses import field

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.aws import AwsCredentials
from vmkeep.model.limits import Limits

_HOOK_SECONDS = 300.0
_LONGEST_HOOK = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VCenter:
    """A vCenter or ESXi host, and the means to verify its certificate."""

    host: str
    port: int = 443
    user: str
    password: str = field(repr=False)
    thumbprint: str | None = None
    """SHA-1 or SHA-256 of the server's certificate in hex, with or without colons."""
    also_sha256: str | None = None
    """SHA-256 of the certificate whose SHA-1 ``thumbprint`` is. It is set once that certificate was verified; VDDK is
    given it in a second attempt."""
    ca_file: str | None = None
    """PEM file of the trusted certificate authorities. Without it and a thumbprint, those of the system are trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All addresses and credentials that one run needs."""

    repository: str
    """Location of the repository: a folder, or a ``file://``, ``s3://``, ``sftp://`` or ``scp://`` URL."""
    passphrase: str | None = field(default=None, repr=False)
    """Passphrase or recovery key of an encrypted repository."""
    aws: AwsCredentials | None = field(default=None, repr=False)
    """Credentials for S3 and KMS; ``None``: those of the environment and of AWS's usual chain."""
    vcenter: VCenter | None = None
    vddk: str | None = None
    """VDDK's folder, which holds ``lib64/``."""
    disk_drivers: tuple[str, ...] = ()
    """Names of the disk drivers to try, the preferred one first; empty: all that are installed, in their own order."""
    array_hook: str | None = None
    """The hook round each copy: the full path of a program, maybe with arguments, or the name of an entry point."""
    array_hook_seconds: float = _HOOK_SECONDS
    """Time limit of one call of the hook."""
    catalog: str | None = None
    """SQLAlchemy URL of the catalog in which sealed points are entered; ``None``: the catalog's next reader enters
    them."""
    limit_rate: str | None = None
    """This machine's limit for reading and writing the repository, in bytes per second, maybe by time of day, e.g.
    ``50MiB``."""
    limits: Limits = field(default_factory=Limits)
    """Limits on work at the same time, which all runs and proxies share."""


def parse_drivers(text: str | None) -> tuple[str, ...]:
    """Return the disk drivers that a text such as ``vddk:nbd`` names, the preferred one first."""
    return tuple(filter(None, (name.strip() for name in (text or "").split(":"))))


def parse_hook_seconds(text: str | None) -> float:
    """Return the time limit of the array hook.

    :raises UsageError: the text is no number of seconds within the bounds.
    """
    try:
        seconds = float(text) if text else _HOOK_SECONDS
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= _LONGEST_HOOK:
        raise UsageError(f"the time limit '{text}' of the array hook is wrong: give 1 to {_LONGEST_HOOK:.0f} seconds")
    return seconds
