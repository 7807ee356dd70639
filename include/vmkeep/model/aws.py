"""Credentials and endpoints at Amazon, or at a server that speaks its protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """Keys and places; what is empty is taken from the environment and the usual chain."""

    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """Session token of keys that expire, such as those of an assumed role."""
    endpoint: str = ""
    """URL of S3; plain http only if it says so."""
    kms_endpoint: str = ""
    region: str = ""
    ca_file: str = ""
    """PEM file with the authority that the server's certificate is verified against."""
    renew: Callable[[], AwsCredentials] | None = field(default=None, repr=False, compare=False)
    """Returns the credentials that hold now; asked again every few minutes, by any thread. Stays in its process."""
