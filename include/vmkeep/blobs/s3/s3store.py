"""A blob store in a bucket of S3, or of a server that speaks its protocol, through obstore.

To create a blob, the store sends one PUT with ``If-None-Match: *``. The server lets one of many writers win, and an
object is visible whole or not at all. If a reply was lost and the client sent its request again, the answer 412 may
mean that the first request succeeded. So a 412 is settled by reading the object back. S3 also documents a 409 if
nothing was stored, and the client reports it like a 412. So if there is no object afterwards, the call failed and may
be tried again.

In a bucket that keeps versions, deleting and replacing remove the versions, too, because otherwise no space would ever
be freed. A blob that is to be locked is locked before ``put`` returns. This takes a second request, because obstore
cannot set a lock with the first one, and Amazon's own library needs twice the processor time to send a pack.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError, PreconditionError

from vmkeep.blobs.creation import PROBES, fault_of_creating
from vmkeep.blobs.s3.answers import dissect
from vmkeep.blobs.s3.s3access import S3Access, S3Location
from vmkeep.blobs.s3.s3errors import explain
from vmkeep.blobs.s3.s3listing import S3Listing
from vmkeep.blobs.s3.s3locks import S3Locks
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.blobs.store import BlobInfo, Bytes, check_key, check_prefix
from vmkeep.errors import (
    BlobNotFoundError,
    ConflictError,
    LockedError,
    PermissionDeniedError,
    RepositoryError,
    StoreError,
    StoreFullError,
    UnlockedError,
    VmKeepError,
)

log = logging.getLogger(__name__)

_COMPARED = 8 << 20
_NO_ETAG = "00000000000000000000000000000000"
_CONDITIONAL = "conditional writes (If-None-Match), which a repository is built on"
_ANYTHING = "this request"
_BEYOND_THE_END = 416
_NO_SUCH_REQUEST = (405, 501)


class S3BlobStore:
    """A store of blobs as objects below one prefix of a bucket, which has to exist."""

    def __init__(self, place: S3Location, access: S3Access) -> None:
        self._place = place
        self._access = access
        self._versions = S3Versions(access)
        self._listing = S3Listing(access, self._versions)
        self.locks = S3Locks(self._versions)
        self._versioned: bool | None = None
        """Whether the bucket keeps versions; ``None``: this is not known yet."""
        self._replaced: dict[str, str] = {}
        """By key, the version that this store has written last by ``replace``."""

    @property
    def location(self) -> str:
        """The location, ``s3://bucket/prefix``."""
        return str(self._place)

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; see :meth:`BlobStore.put`."""
        check_key(key)
        if not self.locks.cover(key):
            return self._create(key, data)[0]
        try:
            created, version = self._create(key, data)
            self.locks.secure(key, version)
        except StoreFullError:
            raise
        except StoreError as error:
            raise UnlockedError(f"{self._name(key)}: could not be stored and locked: {error}") from error
        return created

    def _create(self, key: str, data: Bytes) -> tuple[bool, str | None]:
        """Return whether the blob was created, and its version; the version is ``None`` if the blob was there."""
        with self._errors(key, needs=_CONDITIONAL):
            try:
                done = obstore.put(self._access.writer(len(data)), key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                pass
            else:
                return True, self._seen(done["version"])
        try:
            same = self._holds(key, memoryview(data))
        except BlobNotFoundError as error:
            raise StoreError(f"{self._name(key)}: another write was in the way; nothing was stored") from error
        if not same:
            raise ConflictError(f"{self._name(key)}: exists with other content")
        return False, None

    def _seen(self, version: str | None) -> str | None:
        self._versioned = version not in (None, "null")
        return version

    def _holds(self, key: str, data: memoryview) -> bool:
        if self.size(key) != len(data):
            return False
        return all(
            self.get_range(key, at, _COMPARED) == data[at : at + _COMPARED] for at in range(0, len(data), _COMPARED)
        )

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob atomically."""
        check_key(key)
        with self._errors(key):
            done = obstore.put(self._access.writer(len(data)), key, data, use_multipart=False)
        if (version := self._seen(done["version"])) is not None and self._versioned:
            with suppress(StoreError, PermissionDeniedError):  # "delete" removes versions that stay now
                self._free_older(key, version)

    def _free_older(self, key: str, version: str) -> None:
        """Remove the version that a new one replaces; or all older ones, if this store did not write that version."""
        before = self._replaced.get(key)
        self._replaced[key] = version
        if before is not None:
            self._versions.remove(key, before)
        elif (found := self._versions.of(key)) is not None:
            ids = [each.id for each in found.all]
            for older in ids[ids.index(version) + 1 :] if version in ids else ():
                self._versions.remove(key, older)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        check_key(key)
        with self._errors(key):
            return obstore.get(self._access.reader(), key).bytes().to_bytes()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        return bytes(self._range(key, start, length))

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return the number of bytes."""
        part = self._range(key, start, len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def _range(self, key: str, start: int, length: int) -> memoryview:
        check_key(key)
        if length <= 0:
            self.size(key)
            return memoryview(b"")
        with self._errors(key):
            try:
                answer = obstore.get(self._access.reader(), key, options={"range": (start, start + length)})
                part = memoryview(answer.bytes())
            except BaseError as error:
                if dissect(error).status != _BEYOND_THE_END or self.size(key) > start:
                    raise
                return memoryview(b"")  # the object exists and ends before ``start``
        if len(part) != min(length, answer.meta["size"] - start):
            raise StoreError(
                f"{self._name(key)}: {self._access.endpoint} sent {len(part)} bytes of {length} from {start} on"
            )
        return part

    def size(self, key: str) -> int:
        """Return a blob's size in bytes."""
        check_key(key)
        with self._errors(key):
            return int(obstore.head(self._access.reader(), key)["size"])

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``, sorted by key."""
        check_prefix(prefix)
        with self._errors(prefix):
            found = self._listing.list(prefix)
        yield from found

    def confirm_lists(self) -> None:
        """Compare each further list with what the server says that follows it; see ``wholelists``."""
        self._listing.confirmed = True

    def delete(self, key: str) -> None:
        """Remove a blob, with all versions that the bucket keeps of it.

        :raises LockedError: the blob is locked, and no version of it was removed.
        """
        check_key(key)
        self._replaced.pop(key, None)
        if not self._keeps_versions(key):
            self._delete_plain(key)
            return
        try:
            self._delete_versions(key)
        except PermissionDeniedError as error:
            if self.locks.cover(key):
                raise
            log.warning("%s: only hidden, its versions stay and take up space: %s", self._name(key), error)
            self._delete_plain(key)

    def _delete_versions(self, key: str) -> None:
        if (found := self._versions.of(key)) is not None:
            for version in reversed(found.all):  # begin with the oldest, because only that one may be locked
                self._versions.remove(key, version.id)

    def _keeps_versions(self, key: str) -> bool:
        if self._versioned is None:
            try:
                with self._errors(key):
                    self._seen(obstore.head(self._access.reader(), key)["version"])
            except BlobNotFoundError:
                return False  # there is no blob, so either way to delete it will do
        return bool(self._versioned)

    def _delete_plain(self, key: str) -> None:
        with self._errors(key):
            try:
                obstore.delete(self._access.reader(), key)  # obstore sends a request for several objects, with one
            except FileNotFoundError as error:
                if not isinstance(translated := self._translate(key, error), BlobNotFoundError):
                    raise translated from error
            except BaseError as error:
                if dissect(error).status not in _NO_SUCH_REQUEST:
                    raise
                self._versions.hide(key)

    def local_path(self, key: str) -> Path | None:
        """Return ``None``, because there is no file."""
        check_key(key)
        return None

    def check_writable(self) -> None:
        """Try to overwrite an absent object, if it has an ETag. A refusal shows that the store can be written to."""
        key = f"{PROBES}{secrets.token_hex(8)}"
        try:
            with self._errors(key):
                obstore.put(self._access.writer(0), key, b"", mode={"e_tag": _NO_ETAG}, use_multipart=False)
        except BlobNotFoundError:
            return
        except StoreError as error:
            if isinstance(error.__cause__, PreconditionError):
                return
            raise
        try:  # the server does not know If-Match and has stored the probe, so it can be written to
            self.delete(key)
        except StoreError as error:
            log.warning("%s: a probe could not be removed: %s", self.location, error)

    def check_reachable(self) -> None:
        """Return if endpoint, credentials and bucket are right. Ask for one name to find out."""
        with self._errors(""), suppress(InvalidPathError):  # raised for a foreign object, so the server has answered
            next(iter(obstore.list(self._access.reader(), PROBES, chunk_size=1)), None)

    def top_names(self) -> set[str]:
        """Return the first parts of up to a thousand keys."""
        with self._errors(""):
            return self._listing.top_names()

    def check_creates(self) -> None:
        """Return if the server creates only absent objects in a bucket of this kind.

        :raises RepositoryError: it does not, so that two backups could overwrite each other there.
        """
        try:
            fault = fault_of_creating(self)
        except LockedError as error:
            raise RepositoryError(
                f"s3://{self._place.bucket}: has a default retention, which would lock leases and notes too; take it "
                "off (aws s3api put-object-lock-configuration), because 'repo init --lock' locks all that restores need"
            ) from error
        if fault:
            raise RepositoryError(f"{self.location}: {self._access.endpoint} {fault} (If-None-Match); {self._remedy()}")

    def _remedy(self) -> str:
        """Return advice on a better bucket, because some servers keep the promise only in buckets without versions."""
        versions = self._versions.are_kept()
        if versions is None:
            return "a bucket without versions may do, if this one keeps them, else a server with conditional writes"
        if versions:
            return "this bucket keeps versions: one that does not may do, else a server with conditional writes"
        return "another bucket would not help, because this one keeps no versions: use a server that honours it"

    def _name(self, key: str) -> str:
        return f"{self.location}/{key}".rstrip("/")

    def _translate(self, key: str, error: Exception, needs: str = _ANYTHING) -> VmKeepError:
        answer, what = dissect(error), self._name(key)
        if not answer.status and (why := self._access.not_renewed()) is not None:
            return StoreError(f"{what}: the AWS credentials could not be renewed: {why}")
        return explain(answer, bucket=self._place.bucket, endpoint=self._access.endpoint, what=what, needs=needs)

    @contextmanager
    def _errors(self, key: str, needs: str = _ANYTHING) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise self._translate(key, error, needs) from error
