"""A blob store in a bucket of S3 or a server that speaks it, through obstore.

Creating is one PUT with ``If-None-Match: *``: the server lets one of many writers win, and an object is visible
whole or not at all. A 412 may answer our own request (one that was sent again after its reply was lost), so it is
settled by reading back. S3 documents a 409 where nothing was stored, which the client reports like a 412: if there
is no object afterwards, that is a failure like any other, to be tried again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from vmkeep.blobs.s3access import S3Access, S3Location
from vmkeep.blobs.s3errors import translate
from vmkeep.blobs.store import BlobInfo, Bytes, check_key, check_prefix
from vmkeep.errors import BlobNotFoundError, ConflictError, RepositoryError, StoreError

_COMPARED = 8 << 20
_NO_ETAG = "00000000000000000000000000000000"
_PROBES = "probes/"


class S3BlobStore:
    """Blobs as objects below one prefix of a bucket, which has to exist."""

    def __init__(self, place: S3Location, access: S3Access) -> None:
        self._place = place
        self._access = access

    @property
    def location(self) -> str:
        """``s3://bucket/prefix``."""
        return str(self._place)

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; see :meth:`BlobStore.put`."""
        check_key(key)
        with self._errors(key):
            try:
                obstore.put(self._access.writer(len(data)), key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                pass
            else:
                return True
        try:
            same = self._holds(key, memoryview(data))
        except BlobNotFoundError as error:
            raise StoreError(f"{self._name(key)}: another write was in the way; nothing was stored") from error
        if not same:
            raise ConflictError(f"{self._name(key)}: exists with other content")
        return False

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
            obstore.put(self._access.writer(len(data)), key, data, use_multipart=False)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        check_key(key)
        with self._errors(key):
            return obstore.get(self._access.reader(), key).bytes().to_bytes()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        return bytes(self._range(key, start, length))

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return how much there was."""
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
                return memoryview(obstore.get_range(self._access.reader(), key, start=start, length=length))
            except BaseError as error:
                if "416" not in str(error).partition("\n")[0]:
                    raise
                return memoryview(b"")  # the object exists and ends before

    def size(self, key: str) -> int:
        """Return a blob's size."""
        check_key(key)
        with self._errors(key):
            return int(obstore.head(self._access.reader(), key)["size"])

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``, sorted by key.

        Sorted here: not every server lists in the order that S3 promises.
        """
        check_prefix(prefix)
        with self._errors(prefix):
            stream = obstore.list(self._access.reader(), prefix or None, chunk_size=1000)
            found = [(str(each["path"]), int(each["size"]), each["last_modified"]) for page in stream for each in page]
        for key, size, modified in sorted(found):
            yield BlobInfo(key=key, size=size, modified=modified)

    def delete(self, key: str) -> None:
        """Remove a blob."""
        check_key(key)
        with self._errors(key):
            try:
                obstore.delete(self._access.reader(), key)
            except FileNotFoundError as error:
                if not isinstance(translated := self._translate(key, error), BlobNotFoundError):
                    raise translated from error

    def local_path(self, key: str) -> Path | None:
        """Nothing to map: there is no file."""
        check_key(key)
        return None

    def check_writable(self) -> None:
        """Ask to overwrite an object that does not exist on condition of its ETag: refused if all is well."""
        key = f"{_PROBES}{secrets.token_hex(8)}"
        try:
            with self._errors(key):
                obstore.put(self._access.writer(0), key, b"", mode={"e_tag": _NO_ETAG}, use_multipart=False)
        except BlobNotFoundError:
            return
        except StoreError as error:
            if isinstance(error.__cause__, PreconditionError):
                return
            raise
        self.delete(key)  # a server that does not know If-Match has stored it: it can be written to

    def check_reachable(self) -> None:
        """Ask for one name: endpoint, credentials and bucket are right if this returns."""
        with self._errors(""):
            next(iter(obstore.list(self._access.reader(), _PROBES, chunk_size=1)), None)

    def check_creates(self) -> None:
        """Prove that the server keeps its promise to create only what is absent; some take the header and overwrite.

        :raises RepositoryError: it does not; two backups could overwrite each other there.
        """
        key = f"{_PROBES}{secrets.token_hex(8)}"
        self.put(key, b"first")
        try:
            self.put(key, b"second")
        except ConflictError:
            return
        finally:
            self.delete(key)
        raise RepositoryError(
            f"{self.location}: {self._access.endpoint} overwrites objects it was asked to create only if absent "
            "(If-None-Match); use a server that honours conditional writes"
        )

    def _name(self, key: str) -> str:
        return f"{self.location}/{key}".rstrip("/")

    def _translate(self, key: str, error: Exception) -> Exception:
        return translate(error, bucket=self._place.bucket, endpoint=self._access.endpoint, what=self._name(key))

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise self._translate(key, error) from error
