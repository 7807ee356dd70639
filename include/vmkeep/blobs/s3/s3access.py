"""Access to a bucket: location, credentials, endpoint and time-outs. This module knows no keys and moves no data."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from obstore.store import S3Store

from vmkeep.blobs.aws import resolve
from vmkeep.clock import now
from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.aws import AwsCredentials

if TYPE_CHECKING:  # obstore has these two names for type checkers only
    from obstore.store import ClientConfig, S3Config

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST = 512
"""Longest prefix in bytes. S3 allows 1,024 for a key, and a repository's keys need up to 400 of them."""
_CONNECT = timedelta(seconds=10)
_SILENCE = timedelta(seconds=60)
"""The time without a byte after which a reader gives up."""
_ANY_LENGTH = timedelta(hours=12)
"""The time in which a reader has to receive a whole object."""
_LEAST = 30.0
"""Seconds that every upload may take."""
_SLOWEST = 256 << 10
"""Bytes per second of the slowest link over which an upload can succeed."""
_SMALLEST_CLASS = 1 << 20
"""Bytes of the smallest class of uploads, each of which has its own time-out."""
_TTL = timedelta(minutes=7)
"""The lifetime of expiring keys as the client is told. It asks five minutes before their end, so every two minutes."""
_REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """The parts of ``s3://bucket/prefix``."""

    bucket: str
    prefix: str
    """The prefix without slashes at its ends; empty: the whole bucket."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse_location(location: str) -> S3Location:
    """Parse ``s3://bucket/prefix``.

    :raises UsageError: the text is something else, or S3 or a repository cannot have such parts.
    """
    scheme, _, rest = location.partition("://")
    bucket, slash, prefix = rest.partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket):
        raise UsageError(
            f"{location}: write s3://bucket/prefix, with a bucket of 3 to 63 small letters, digits, '-' and '.'; the "
            "endpoint goes into AWS_ENDPOINT_URL"
        )
    prefix = prefix.removesuffix("/")
    if slash and (why := _why_no_prefix(prefix)):
        raise UsageError(
            f"{location}: no prefix of a repository, because it {why}; it may have any letters, blanks and signs but "
            "'\\', up to 512 bytes, in parts with one '/' between them that are neither '.' nor '..'"
        )
    return S3Location(bucket=bucket, prefix=prefix)


def _why_no_prefix(prefix: str) -> str:
    """Return the reason why some server could not keep a prefix or would change it, in words; empty: there is none."""
    parts = prefix.split("/") if prefix else []
    if "" in parts:
        return "has a '/' at its beginning or two together"
    if "." in parts or ".." in parts:
        return "has '.' or '..' as a part"
    if bad := next((each for each in prefix if each == "\\" or not each.isprintable()), ""):
        return f"contains {bad!r}"
    return "is too long" if len(prefix.encode()) > _LONGEST else ""


class S3Access:
    """Makes clients for one place. Each has a time-out that suits the size of its objects."""

    def __init__(
        self,
        place: S3Location,
        credentials: AwsCredentials | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Find endpoint and credentials without sending anything to S3.

        :raises AuthenticationError: there are no credentials.
        """
        found = resolve(credentials, what=str(place), environment=environment)
        self.place = place
        self.credentials = found
        """The complete credentials, with the function that renews them."""
        self.endpoint = found.endpoint or "Amazon S3"
        self.region = found.region or _REGION
        self._config: dict[str, Any] = {"region": self.region}
        if found.endpoint:
            self._config["endpoint"] = found.endpoint
        self._options: dict[str, Any] = {
            "connect_timeout": _CONNECT,
            "allow_http": found.endpoint.startswith("http://"),
        }
        if found.ca_file:
            self._options["root_certificate"] = _read_bundle(found.ca_file)
        self._provider: _Renewing | None = None
        if found.renew is not None:
            self._provider = _Renewing(found)
        else:
            self._config |= {"access_key_id": found.access_key, "secret_access_key": found.secret_key}
            if found.token:
                self._config["session_token"] = found.token
        self._clients: dict[int, S3Store] = {}
        self._lock = threading.Lock()

    def reader(self) -> S3Store:
        """Return the client for requests that send little, but may receive much."""
        return self._client(0, {"timeout": _ANY_LENGTH, "read_timeout": _SILENCE})

    def writer(self, size: int) -> S3Store:
        """Return the client for sending an object of ``size`` bytes, with a time-out for a slow link."""
        largest = max(_SMALLEST_CLASS, 1 << max(0, size - 1).bit_length())
        return self._client(largest, {"timeout": timedelta(seconds=upload_seconds(largest))})

    def not_renewed(self) -> Exception | None:
        """Return the error of the last renewal of the credentials; ``None``: it succeeded, or none was needed."""
        return self._provider.failure if self._provider is not None else None

    def _client(self, which: int, options: dict[str, Any]) -> S3Store:
        with self._lock:
            if which not in self._clients:
                self._clients[which] = S3Store(
                    self.place.bucket,
                    prefix=self.place.prefix or None,
                    config=cast("S3Config", self._config),
                    client_options=cast("ClientConfig", self._options | options),
                    retry_config={"max_retries": 2, "retry_timeout": timedelta(minutes=2)},
                    credential_provider=cast("Any", self._provider),
                )
            return self._clients[which]


class _Renewing:
    """Gives the client its current credentials, and keeps the error of the last renewal."""

    def __init__(self, found: AwsCredentials) -> None:
        self._found = found
        self.failure: Exception | None = None

    def __call__(self) -> dict[str, object]:
        """Return the credentials in obstore's form."""
        try:
            keys = self._found.renew() if self._found.renew else self._found
        except Exception as error:
            self.failure = error
            raise
        self.failure = None
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token or None,
            "expires_at": now() + _TTL,
        }


def upload_seconds(size: int) -> float:
    """Return the seconds that sending ``size`` bytes may take: 30, and the time that they need at 256 KiB/s."""
    return _LEAST + size / _SLOWEST


def _read_bundle(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"authorities of the S3 server (AWS_CA_BUNDLE): {path}: {error.strerror}") from error
