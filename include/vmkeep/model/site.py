"""The site: addresses and logins, given by the command line, the environment, or Airflow's connections."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmkeep.model.aws import AwsCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class VCenter:
    """A vCenter or ESXi host, and the way its certificate is recognised."""

    host: str
    port: int = 443
    user: str
    password: str = field(repr=False)
    thumbprint: str | None = None
    """SHA-1 or SHA-256 of the server's certificate, hex, with or without colons."""
    also_sha256: str | None = None
    """SHA-256 of the very certificate whose SHA-1 ``thumbprint`` is, where it was verified: VDDK's second try."""
    ca_file: str | None = None
    """PEM bundle to verify against; with neither, the system's authorities are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything one run needs to know about its surroundings."""

    repository: str
    """Location of the repository: a folder, or a ``file://``, ``s3://``, ``sftp://`` or ``scp://`` URL."""
    passphrase: str | None = field(default=None, repr=False)
    """Passphrase or recovery key of an encrypted repository."""
    aws: AwsCredentials | None = field(default=None, repr=False)
    """For S3 and KMS; ``None``: the environment and the usual chain."""
    vcenter: VCenter | None = None
    vddk: str | None = None
    """Distribution folder of VDDK: the one that holds ``lib64/``."""
    catalog: str | None = None
    """SQLAlchemy URL of the catalog that sealed points are entered into; ``None``: whoever asks next enters them."""
    limit_rate: str | None = None
    """Bytes per second to and from the repository, for this machine, maybe by time of day: ``50MiB``."""
