"""Credentials and endpoints for Amazon's services, or for a server that speaks their protocols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """Keys and endpoints. Empty fields are taken from the environment and from AWS's usual chain."""

    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """Session token that belongs to keys that expire, such as those of an assumed role."""
    endpoint: str = ""
    """URL of S3. Unencrypted http is used only if the URL says so."""
    kms_endpoint: str = ""
    region: str = ""
    ca_file: str = ""
    """PEM file with the certificate authority that must have signed the server's certificate."""
    renew: Callable[[], AwsCredentials] | None = field(default=None, repr=False, compare=False)
    """Returns current credentials. It is called every few minutes by any thread, and never sent to another process."""
