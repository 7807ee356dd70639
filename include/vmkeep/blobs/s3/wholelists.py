"""Makes sure that a list of objects is whole, for callers that decide by what is in no list.

obstore takes any document for a list. So an error in an answer with the status 200, a page of a proxy that asks for a
login, and a page without the token of the next one all look like the end of the list, or like an empty bucket. Amazon's
own library tells these apart, but needs ten times the processor time. So it is asked only for what follows the list.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Any

from vmkeep.blobs.aws import AwsClient
from vmkeep.blobs.s3.s3access import S3Access
from vmkeep.errors import StoreError


def require_page(page: Mapping[str, Any], what: str, *, more: str) -> None:
    """Return if an answer of Amazon's own library is a page of a list, and names the next page if there is one.

    :param page: the answer, in which the library finds nothing if it is no list, e.g. a page that asks for a login.
    :param what: the listed things, for the error.
    :param more: the field with the name of the next page.
    :raises StoreError: it is not; a later try may succeed.
    """
    if not page.get("Name") or (page.get("IsTruncated") and not page.get(more)):
        raise StoreError(f"{what}: the server's answer is no list, or only the beginning of one; try again")


class WholeLists:
    """Asks a bucket what follows a list. Thread-safe."""

    def __init__(self, access: S3Access) -> None:
        self._place = access.place
        self._endpoint = access.endpoint
        self._client = AwsClient("s3", access.credentials, endpoint=access.credentials.endpoint, region=access.region)

    def require(self, prefix: str, listed: Collection[str], *, last: str | None) -> None:
        """Return if nothing follows the keys that were listed below a prefix.

        :param listed: all these keys. To look for one may take a look at each.
        :param last: the last one of them; ``None``: none was listed.
        :raises StoreError: an object follows that was not listed, or the answer is no list. A later try may succeed,
            because another machine may just have written the object.
        """
        where = {"MaxKeys": 1} | ({} if last is None else {"StartAfter": self._object(last)})
        answer = self._ask(prefix, **where)
        more = self._unlisted(answer, listed)
        if answer.get("Contents") and not more:
            # This server does not know StartAfter, and began anew.
            more = self._all_unlisted(prefix, frozenset(listed))
        elif answer.get("IsTruncated") or not answer.get("Name"):
            more = True
        if more:
            raise StoreError(
                f"{self._what(prefix)}: {self._endpoint} has listed {len(listed)} objects, and not all that there are; "
                "nothing is decided by such a list"
            )

    def _all_unlisted(self, prefix: str, listed: Container[str]) -> bool:
        """Return whether Amazon's own library finds an object that was not listed, among all that there are."""
        found = False
        more: dict[str, Any] = {}
        while True:
            page = self._ask(prefix, **more)
            require_page(page, self._what(prefix), more="NextContinuationToken")
            found |= self._unlisted(page, listed)
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _ask(self, prefix: str, **more: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        where = {"Bucket": self._place.bucket, "Prefix": self._object(prefix), **more}
        try:
            answer: dict[str, Any] = self._client.get().list_objects_v2(**where)
        except (BotoCoreError, ClientError) as error:
            raise StoreError(
                f"{self._what(prefix)}: {self._endpoint} does not tell whether its list is whole: {error}"
            ) from error
        return answer

    def _unlisted(self, answer: Mapping[str, Any], listed: Container[str]) -> bool:
        """Return whether an answer names an object that was not listed. obstore tells a marker without its slash."""
        cut = len(self._object(""))
        keys = (entry["Key"][cut:] for entry in answer.get("Contents", ()))
        return any(key not in listed and key.rstrip("/") not in listed for key in keys)

    def _what(self, prefix: str) -> str:
        return f"{self._place}/{prefix}".rstrip("/")

    def _object(self, key: str) -> str:
        return f"{self._place.prefix}/{key}" if self._place.prefix else key
