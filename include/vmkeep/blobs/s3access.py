"""How to reach a bucket: location, credentials, endpoint, time-outs. Knows no keys and moves no bytes."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from obstore.store import S3Store

from vmkeep.blobs.s3errors import no_credentials
from vmkeep.blobs.store import check_prefix
from vmkeep.errors import UsageError

if TYPE_CHECKING:  # these two exist for type checkers only
    from obstore.store import ClientConfig, S3Config

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONNECT = timedelta(seconds=10)
_SILENCE = timedelta(seconds=60)
"""A reader gives up after this long without a byte, however large the object is."""
_ANY_LENGTH = timedelta(hours=12)
_LEAST = 30.0
_SLOWEST = 256 << 10
"""Bytes per second of the slowest link that may still finish an upload."""
_SMALLEST_CLASS = 1 << 20
_TTL = timedelta(minutes=5)
"""How long keys of a chain are held: the chain renews its own in time, so ask it often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Credentials:
    """Who we are, and where; what is empty is taken from the environment."""

    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    endpoint: str = ""
    """URL; plain http only if it says so."""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """``s3://bucket/prefix``, taken apart."""

    bucket: str
    prefix: str
    """Without slashes at its ends; empty: the whole bucket."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse_location(location: str) -> S3Location:
    """Take ``s3://bucket/prefix`` apart.

    :raises UsageError: it is something else, or has parts that S3 or a repository cannot have.
    """
    url = urlsplit(location)
    prefix = url.path.strip("/")
    if url.scheme != "s3" or url.query or url.fragment or not _BUCKET.fullmatch(url.netloc):
        raise UsageError(f"{location}: write s3://bucket/prefix; the endpoint goes into AWS_ENDPOINT_URL")
    if prefix:
        check_prefix(prefix + "/")
    return S3Location(bucket=url.netloc, prefix=prefix)


class S3Access:
    """Makes clients for one place; each has the time-out that the size of its objects asks for."""

    def __init__(
        self,
        place: S3Location,
        credentials: S3Credentials | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Look for endpoint and credentials; nothing is sent yet.

        :raises AuthenticationError: there are no credentials.
        """
        environment = os.environ if environment is None else environment
        given = credentials or S3Credentials()
        self._place = place
        url = given.endpoint or environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
        self._config: dict[str, Any] = {"endpoint": url} if url else {}
        self.endpoint = url or "Amazon S3"
        self._options: dict[str, Any] = {"connect_timeout": _CONNECT, "allow_http": url.startswith("http://")}
        if bundle := environment.get("AWS_CA_BUNDLE"):
            self._options["root_certificate"] = _read_bundle(bundle)
        self._provider: Any = None
        self._identify(given, environment)
        region = given.region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        if region:
            self._config["region"] = region
        self._config.setdefault("region", "us-east-1")
        self._clients: dict[int, S3Store] = {}
        self._lock = threading.Lock()

    def _identify(self, given: S3Credentials, environment: Mapping[str, str]) -> None:
        """Take the keys given, or those in the environment, or else ask the chain of profiles and roles."""
        key, secret, token = given.access_key, given.secret_key, given.token
        if not key and "AWS_PROFILE" not in environment:
            key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
            token = environment.get("AWS_SESSION_TOKEN", "")
        if key:
            self._config |= {"access_key_id": key, "secret_access_key": secret}
            if token:
                self._config["session_token"] = token
            return
        from boto3.session import Session  # slow to import, and most have their keys in the environment
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider

        try:
            session = Session()
            if session.get_credentials() is None:
                raise no_credentials(str(self._place))
            self._provider = Boto3CredentialProvider(session, ttl=_TTL)
        except BotoCoreError as error:
            raise UsageError(f"{self._place}: the AWS configuration cannot be used: {error}") from error
        if session.region_name:
            self._config["region"] = session.region_name

    def reader(self) -> S3Store:
        """Return the client for requests whose answer is long and whose question is short."""
        return self._client(0, {"timeout": _ANY_LENGTH, "read_timeout": _SILENCE})

    def writer(self, size: int) -> S3Store:
        """Return the client to send an object of that many bytes, allowing for a slow link."""
        largest = max(_SMALLEST_CLASS, 1 << max(0, size - 1).bit_length())
        return self._client(largest, {"timeout": timedelta(seconds=upload_seconds(largest))})

    def _client(self, which: int, options: dict[str, Any]) -> S3Store:
        with self._lock:
            if which not in self._clients:
                self._clients[which] = S3Store(
                    self._place.bucket,
                    prefix=self._place.prefix or None,
                    config=cast("S3Config", self._config),
                    client_options=cast("ClientConfig", self._options | options),
                    retry_config={"max_retries": 2, "retry_timeout": timedelta(minutes=2)},
                    credential_provider=self._provider,
                )
            return self._clients[which]


def upload_seconds(size: int) -> float:
    """Return how long sending ``size`` bytes may take: 30 s, and what 256 KiB/s need."""
    return _LEAST + size / _SLOWEST


def _read_bundle(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"AWS_CA_BUNDLE: {path}: {error.strerror}") from error
