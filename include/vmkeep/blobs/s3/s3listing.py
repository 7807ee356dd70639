"""Lists the blobs below a prefix of a bucket, and leaves out foreign objects.

A bucket may hold keys that no blob can have: the markers by which web consoles show empty folders, or objects that
another program put in the wrong place. A listing leaves them out and warns about them. The faster client fails at the
first key with an empty part or with ``.`` as a part; then Amazon's own library lists.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

import obstore
from obstore.exceptions import InvalidPathError

from vmkeep.blobs.s3.s3access import S3Access
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.blobs.s3.wholelists import WholeLists
from vmkeep.blobs.store import BlobInfo, is_key
from vmkeep.model.wording import counted

log = logging.getLogger(__name__)

_PAGE = 1000
_Entry = tuple[str, int, datetime]


class S3Listing:
    """Lists the blobs of one place. Thread-safe."""

    def __init__(self, access: S3Access, versions: S3Versions) -> None:
        self._access = access
        self._versions = versions
        self._told: set[str] = set()
        """Prefixes about whose foreign objects a warning was logged."""
        self._whole = WholeLists(access)
        self.confirmed = False
        """Whether each list is compared with what the server says that follows it."""

    def list(self, prefix: str) -> list[BlobInfo]:
        """Return the blobs below a prefix. Sort them by key, because not every server does so as S3 promises."""
        entries: Iterable[_Entry]
        try:
            entries = self._listed(prefix)
        except InvalidPathError:
            entries = self._versions.newest(prefix)
        if self.confirmed:
            entries = list(entries)
            self._whole.require(prefix, {key for key, _, _ in entries})
        found, foreign = [], []
        for key, size, modified in entries:
            if is_key(key) and key.startswith(prefix):
                found.append(BlobInfo(key=key, size=size, modified=modified))
            elif not prefix.startswith(f"{key}/") and key and not key.endswith("/"):
                foreign.append(key)
        self._tell(prefix, foreign)
        return sorted(found, key=lambda blob: blob.key)

    def top_names(self) -> set[str]:
        """Return the first parts of up to a thousand keys. Leave out the marker of the prefix's own folder."""
        try:
            page = next(iter(obstore.list(self._access.reader(), chunk_size=_PAGE)), ())
            keys = [str(each["path"]) for each in page]
        except InvalidPathError:
            keys = [key for key, _, _ in islice(self._versions.newest(""), _PAGE)]
        return {key.partition("/")[0] for key in keys} - {""}

    def _listed(self, prefix: str) -> Iterable[_Entry]:
        stream = obstore.list(self._access.reader(), prefix or None, chunk_size=_PAGE)
        return [(str(each["path"]), int(each["size"]), each["last_modified"]) for page in stream for each in page]

    def _tell(self, prefix: str, foreign: Sequence[str]) -> None:
        if foreign and prefix not in self._told:
            self._told.add(prefix)
            where = f"{self._access.place}/{prefix}".rstrip("/")
            text = "%s: %s left out, because no blob can have such a key; %r is one"
            log.warning(text, where, counted(len(foreign), "object"), min(foreign))
