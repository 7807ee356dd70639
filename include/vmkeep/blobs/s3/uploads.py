"""Objects that are sent in parts, through Amazon's own library, because obstore lets no caller number its parts.

An upload is open until it is completed or aborted. Its parts may come in any order, and the object appears when the
upload is completed. Parts of an upload that nobody ends stay in the bucket, unseen, and cost money.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

from vmkeep.blobs.aws import AwsClient, refusal
from vmkeep.blobs.s3.answers import Answer
from vmkeep.blobs.s3.s3access import S3Access
from vmkeep.blobs.s3.s3errors import explain
from vmkeep.blobs.s3.wholelists import require_page
from vmkeep.errors import BlobNotFoundError, ConflictError, StoreError
from vmkeep.lateclass import dataclass

_OWNER = "vmkeep-owner"
"""Field of an object's metadata."""
_NEEDED = "uploads in parts"
_THERE_ALREADY = (409, 412)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPart:
    """A part that the server has."""

    number: int
    """From 1."""
    tag: str
    """The server's ETag."""
    checksums: tuple[tuple[str, str], ...] = ()
    """Checksums that the server answered with, by field. It wants to hear them again at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundObject:
    """An object in the bucket."""

    name: str
    size: int
    modified: datetime


class S3Uploads:
    """Objects below one prefix of a bucket, with any names. Thread-safe."""

    def __init__(self, access: S3Access) -> None:
        self._place = access.place
        self._endpoint = access.endpoint
        self._client = AwsClient("s3", access.credentials, endpoint=access.credentials.endpoint, region=access.region)

    @property
    def location(self) -> str:
        """The location, ``s3://bucket/prefix``."""
        return str(self._place)

    def begin(self, name: str, *, owner: str) -> str:
        """Begin an upload. Return its id.

        :param owner: ASCII, by which the object is known later; see :meth:`owner`.
        """
        with self._errors(name):
            told = {_OWNER: owner}
            return str(self._client.get().create_multipart_upload(**self._named(name), Metadata=told)["UploadId"])

    def owner(self, name: str) -> str | None:
        """Return who uploaded an object; ``None``: there is no such object, or it does not tell."""
        try:
            with self._errors(name):
                told = self._client.get().head_object(**self._named(name))["Metadata"].get(_OWNER)
        except BlobNotFoundError:
            return None
        return None if told is None else str(told)

    def send(self, name: str, upload: str, number: int, content: bytes | bytearray) -> SentPart:
        """Send one part.

        :param number: from 1.
        """
        with self._errors(name):
            done = self._client.get().upload_part(**self._named(name), UploadId=upload, PartNumber=number, Body=content)
        sums = tuple(
            (key, str(done[key])) for key in sorted(done) if key.startswith("Checksum") and key != "ChecksumType"
        )
        return SentPart(number=number, tag=done["ETag"], checksums=sums)

    def complete(self, name: str, upload: str, parts: Sequence[SentPart], *, overwrite: bool) -> None:
        """Make an object of an upload's parts.

        :raises ConflictError: there is an object of that name, the server knows that only absent ones are wanted, and
            ``overwrite`` is not set.
        """
        listed = [{"PartNumber": part.number, "ETag": part.tag, **dict(part.checksums)} for part in parts]
        condition = {} if overwrite else {"IfNoneMatch": "*"}
        with self._errors(name):
            self._client.get().complete_multipart_upload(
                **self._named(name), UploadId=upload, MultipartUpload={"Parts": listed}, **condition
            )

    def abort(self, name: str, upload: str) -> None:
        """Remove the parts of an upload. One that is gone is success."""
        try:
            with self._errors(name):
                self._client.get().abort_multipart_upload(**self._named(name), UploadId=upload)
        except BlobNotFoundError:
            return

    def abort_all(self, name: str) -> None:
        """Abort all uploads of one name."""
        key = self._key(name)
        with self._errors(name):
            pages = self._client.get().get_paginator("list_multipart_uploads")
            found = [
                each["UploadId"]
                for page in pages.paginate(Bucket=self._place.bucket, Prefix=key)
                for each in page.get("Uploads", ())
                if each["Key"] == key
            ]
        for upload in found:
            self.abort(name, upload)

    def put(self, name: str, content: bytes, *, overwrite: bool) -> None:
        """Create a small object.

        :raises ConflictError: there is one of that name, and ``overwrite`` is not set.
        """
        condition = {} if overwrite else {"IfNoneMatch": "*"}
        with self._errors(name):
            self._client.get().put_object(**self._named(name), Body=content, **condition)

    def get(self, name: str) -> bytes:
        """Return an object's bytes."""
        with self._errors(name):
            return bytes(self._client.get().get_object(**self._named(name))["Body"].read())

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes of an object from byte ``start`` on.

        :raises StoreError: the server sent fewer.
        """
        wanted = f"bytes={start}-{start + length - 1}"
        with self._errors(name):
            content = bytes(self._client.get().get_object(**self._named(name), Range=wanted)["Body"].read())
        if len(content) != length:
            raise StoreError(f"{self._what(name)}: {self._endpoint} sent {len(content)} bytes of {length} from {start}")
        return content

    def list(self, beginning: str) -> Iterator[FoundObject]:
        """Yield the objects whose names begin with a text."""
        cut = len(self._key(""))
        with self._errors(""):
            pages = self._client.get().get_paginator("list_objects_v2")
            found = [
                FoundObject(name=each["Key"][cut:], size=each["Size"], modified=each["LastModified"])
                for page in pages.paginate(Bucket=self._place.bucket, Prefix=self._key(beginning))
                for each in self._listed(page)
            ]
        yield from found

    def _listed(self, page: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        require_page(page, self.location, more="NextContinuationToken")
        return cast("Iterable[Mapping[str, Any]]", page.get("Contents", ()))

    def exists(self, name: str) -> bool:
        """Return whether there is an object of that name."""
        try:
            with self._errors(name):
                self._client.get().head_object(**self._named(name))
        except BlobNotFoundError:
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete an object. One that is gone is success."""
        with self._errors(name):
            self._client.get().delete_object(**self._named(name))

    def _key(self, name: str) -> str:
        return f"{self._place.prefix}/{name}" if self._place.prefix else name

    def _named(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._place.bucket, "Key": self._key(name)}

    def _what(self, name: str) -> str:
        return f"{self.location}/{name}".rstrip("/")

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Turn an error of the library into one of ours."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except ClientError as error:
            code, status = refusal(error)
            if status in _THERE_ALREADY and code in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise ConflictError(f"{self._what(name)}: exists already") from error
            answer = Answer(status=status, code=code, words=str(error))
            raise explain(
                answer, bucket=self._place.bucket, endpoint=self._endpoint, what=self._what(name), needs=_NEEDED
            ) from error
        except HTTPClientError as error:
            raise StoreError(f"{self._what(name)}: {self._endpoint}: {error}") from error
        except BotoCoreError as error:
            raise StoreError(f"{self._what(name)}: {error}") from error
