"""Versions and locks of objects in a bucket, through Amazon's own library, because obstore has no calls for them.

A bucket with Object Lock keeps versions. Overwriting adds a version, and deleting adds a mark of deletion. Both hide
the older versions without harming them. A locked version cannot be removed for good.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from blake3 import blake3

from vmkeep.blobs.aws import AwsClient, refusal
from vmkeep.blobs.locking import BlobVersion, Versions
from vmkeep.blobs.s3.answers import Answer
from vmkeep.blobs.s3.s3access import S3Access
from vmkeep.blobs.s3.s3errors import explain
from vmkeep.blobs.s3.wholelists import require_page
from vmkeep.errors import (
    BlobNotFoundError,
    LockedError,
    PermissionDeniedError,
    RepositoryError,
    StoreError,
    VmKeepError,
)

log = logging.getLogger(__name__)

_PROBE_SECONDS = (6.0, 30.0, 120.0)
"""Seconds for which a probe is locked: longer where a slow server has not answered before the lock ended."""
_WHOLE_SECONDS = timedelta(seconds=2)
"""Time by which a lock may end early, because servers tell their clock, and may keep a lock's end, in whole seconds."""
_CLOCK_HOLDS = 3600.0
"""Seconds after which the server is asked for the time again."""
_NEEDED = "versions and locks of objects"
_NO_COPIES = {400, 405, 501}
"""Statuses of servers that cannot copy an old version onto its own object; LocalStack answers 400, InvalidRequest."""
_NO_LOCK = {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"}


class S3Versions:
    """The versions below one prefix of a bucket. Thread-safe."""

    def __init__(self, access: S3Access) -> None:
        self._place = access.place
        self._endpoint = access.endpoint
        self._client = AwsClient("s3", access.credentials, endpoint=access.credentials.endpoint, region=access.region)
        self._clock: tuple[float, datetime] | None = None
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time by the server's clock. Ask once an hour, and add the time that has passed since."""
        from email.utils import parsedate_to_datetime  # slow to import

        with self._lock:
            if self._clock is None or time.monotonic() - self._clock[0] > _CLOCK_HOLDS:
                with self._errors(""):
                    answer = self._client.get().head_bucket(Bucket=self._place.bucket)
                date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
                self._clock = (time.monotonic(), parsedate_to_datetime(date))
            asked_at, said = self._clock
            return said + timedelta(seconds=time.monotonic() - asked_at)

    def are_kept(self) -> bool | None:
        """Return whether the bucket keeps versions; ``None``: the server does not say."""
        try:
            with self._errors(""):
                answer = self._client.get().get_bucket_versioning(Bucket=self._place.bucket)
        except VmKeepError:
            return None
        # A bucket whose versions are suspended still has the older ones. Some servers say "Disabled" of one without.
        return answer.get("Status") in {"Enabled", "Suspended"}

    def list(self, prefix: str) -> Iterator[Versions]:
        """Yield all versions of the objects whose key begins with ``prefix``, grouped by object."""
        whole, cut = self._object(prefix), len(self._object(""))
        held_key, held = "", list[dict[str, Any]]()
        for page in self._pages(whole):
            found: dict[str, list[dict[str, Any]]] = {held_key: held} if held else {}
            for entry in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
                found.setdefault(entry["Key"], []).append(entry)
            held_key = page.get("NextKeyMarker", "")  # the next page may have more versions of this key
            held = found.pop(held_key, [])
            for key in sorted(found):
                yield _gathered(key[cut:], found[key])
        if held:
            yield _gathered(held_key[cut:], held)

    def _pages(self, prefix: str) -> Iterator[dict[str, Any]]:
        marker: dict[str, str] = {}
        while True:
            with self._errors(""):
                page = self._client.get().list_object_versions(Bucket=self._place.bucket, Prefix=prefix, **marker)
            require_page(page, f"versions below {self._place}", more="NextKeyMarker")
            yield page
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}

    def of(self, key: str) -> Versions | None:
        """Return the versions of one object; ``None``: there are none."""
        return next((found for found in self.list(key) if found.key == key), None)

    def remove(self, key: str, version: str) -> None:
        """Remove one version for good.

        :raises LockedError: the version is locked.
        """
        try:
            with self._errors(key):
                self._client.get().delete_object(Bucket=self._place.bucket, Key=self._object(key), VersionId=version)
        except PermissionDeniedError as error:
            if (until := self.locked_until(key, version)) is not None and until > self.now():
                name = f"{self._place}/{key}"
                raise LockedError(f"{name}: is locked until {until.isoformat()}", until=until.isoformat()) from error
            raise

    def hide(self, key: str) -> None:
        """Remove an object. If the bucket keeps versions, this only hides the object from readers."""
        with self._errors(key):
            self._client.get().delete_object(Bucket=self._place.bucket, Key=self._object(key))

    def locked_until(self, key: str, version: str) -> datetime | None:
        """Return the end of a version's lock; ``None``: it has none."""
        try:
            with self._errors(key, expected=_NO_LOCK):
                answer = self._client.get().get_object_retention(
                    Bucket=self._place.bucket, Key=self._object(key), VersionId=version
                )
        except _ExpectedError:
            return None
        until: datetime | None = answer.get("Retention", {}).get("RetainUntilDate")
        return until

    def retain(self, key: str, version: str, mode: str, until: datetime) -> None:
        """Lock a version until a time. The server refuses to shorten a lock."""
        with self._errors(key):
            self._client.get().put_object_retention(
                Bucket=self._place.bucket,
                Key=self._object(key),
                VersionId=version,
                Retention={"Mode": mode.upper(), "RetainUntilDate": until},
            )

    def newest(self, prefix: str) -> Iterator[tuple[str, int, datetime]]:
        """Yield key, size and time of the visible objects whose key begins with ``prefix``."""
        where = {"Bucket": self._place.bucket, "Prefix": self._object(prefix)}
        cut = len(self._object(""))
        while True:
            with self._errors(prefix):
                page = self._client.get().list_objects_v2(**where)
            require_page(page, f"{self._place}/{prefix}", more="NextContinuationToken")
            for entry in page.get("Contents", ()):
                yield entry["Key"][cut:], int(entry["Size"]), entry["LastModified"]
            if not page.get("IsTruncated"):
                return
            where["ContinuationToken"] = page["NextContinuationToken"]

    def copy_on_top(self, key: str, version: BlobVersion) -> None:
        """Make a copy of an old version the newest one. If the server cannot copy, put the version's bytes again."""
        source = {"Bucket": self._place.bucket, "Key": self._object(key), "VersionId": version.id}
        try:
            with self._errors(key, expected=_NO_COPIES):
                self._client.get().copy_object(Bucket=self._place.bucket, Key=self._object(key), CopySource=source)
        except _ExpectedError:
            self._put_on_top(key, version)

    def _put_on_top(self, key: str, version: BlobVersion) -> None:
        """Put the bytes of an old version as the newest one, and require that they can be read back."""
        content = self._get(key, VersionId=version.id)
        if len(content) == version.size:
            with self._errors(key):
                self._client.get().put_object(Bucket=self._place.bucket, Key=self._object(key), Body=content)
            if blake3(self._get(key)).digest() == blake3(content).digest():
                return
        raise StoreError(
            f"{self._place}/{key}: {self._endpoint} does not give back the bytes of its version {version.id}"
        )

    def _get(self, key: str, **which: str) -> bytes:
        with self._errors(key):
            answer = self._client.get().get_object(Bucket=self._place.bucket, Key=self._object(key), **which)
            return bytes(answer["Body"].read())

    def check(self) -> None:
        """Return if the bucket can lock objects, and keeps the locks.

        :raises RepositoryError: it does not; the message names the remedy.
        """
        bucket = self._place.bucket
        try:
            with self._errors("", expected=_NO_LOCK):
                self._client.get().get_object_lock_configuration(Bucket=bucket)
        except _ExpectedError as error:
            raise RepositoryError(
                f"s3://{bucket}: has no Object Lock; make a bucket that has it (aws s3api create-bucket "
                "--object-lock-enabled-for-bucket), because nothing can be locked here"
            ) from error
        self._prove()

    def _prove(self) -> None:
        """Lock an object for a few seconds, and require that it cannot be removed."""
        where = f"{self._place}: {self._endpoint}"
        for seconds in _PROBE_SECONDS:
            until = self.now() + timedelta(seconds=seconds)
            surely_locked = until - _WHOLE_SECONDS
            try:
                if self._is_kept(f"probes/{secrets.token_hex(8)}", until):
                    return
            except StoreError:
                if self.now() < surely_locked:
                    raise
                continue  # because servers refuse a lock that would end in the past
            if self.now() < surely_locked:
                raise RepositoryError(f"{where} sets locks but does not keep them; use another server")
        raise StoreError(
            f"{where} took over {_PROBE_SECONDS[-1]:g} s to lock one small object, so whether it keeps locks is not "
            "known; try again when it is less busy"
        )

    def _is_kept(self, key: str, until: datetime) -> bool:
        """Lock a new object, and return whether it could not be removed. Once the lock has ended, remove it."""
        with self._errors(key):
            answer = self._client.get().put_object(Bucket=self._place.bucket, Key=self._object(key), Body=b"")
        version = answer.get("VersionId", "null")
        try:
            self.retain(key, version, "governance", until)
            held = self._is_held(key, version)
        except VmKeepError:
            self._remove_probe(key, version)
            raise
        if held:
            time.sleep(max(0.0, (until - self.now()).total_seconds()) + 1)
            self._remove_probe(key, version)
        return held

    def _is_held(self, key: str, version: str) -> bool:
        try:
            self.remove(key, version)
        except LockedError:
            return True
        return False

    def _remove_probe(self, key: str, version: str) -> None:
        """Remove a probe. Log a failure, because it says nothing about locks."""
        try:
            self.remove(key, version)
        except VmKeepError as error:
            log.warning("%s: a probe could not be removed: %s", self._place, error)

    def _object(self, key: str) -> str:
        return f"{self._place.prefix}/{key}" if self._place.prefix else key

    @contextmanager
    def _errors(self, key: str, *, expected: Collection[str | int] = ()) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            code, status = refusal(error)
            if code in expected or status in expected:
                raise _ExpectedError(code) from error
            raise self._explained(key, error, code, status) from error

    def _explained(self, key: str, error: Exception, code: str, status: int) -> VmKeepError:
        what = f"{self._place}/{key}".rstrip("/")
        if code == "NoSuchVersion":
            return BlobNotFoundError(f"{what}: no such version")
        if not status:
            return _unanswered(error, what, self._endpoint)
        answer = Answer(status=status, code=code)
        return explain(answer, bucket=self._place.bucket, endpoint=self._endpoint, what=what, needs=_NEEDED)


def _unanswered(error: Exception, what: str, endpoint: str) -> StoreError:
    from botocore.exceptions import ConnectionError as NoConnectionError
    from botocore.exceptions import HTTPClientError

    reached = not isinstance(error, NoConnectionError | HTTPClientError)
    return StoreError(f"{what}: {endpoint}: {error}" if reached else f"{what}: {endpoint} cannot be reached: {error}")


class _ExpectedError(Exception):
    """An error code or status that the caller expects."""


def _gathered(key: str, entries: list[dict[str, Any]]) -> Versions:
    entries.sort(key=lambda entry: entry["LastModified"], reverse=True)  # within one second, the server's order stays
    entries.sort(key=lambda entry: not entry["IsLatest"])
    return Versions(key=key, all=tuple(_version(entry) for entry in entries))


def _version(entry: dict[str, Any]) -> BlobVersion:
    return BlobVersion(
        id=str(entry["VersionId"]),
        deleted="ETag" not in entry,
        size=int(entry.get("Size", 0)),
        e_tag=str(entry.get("ETag", "")).strip('"'),
        modified=entry["LastModified"],
    )
