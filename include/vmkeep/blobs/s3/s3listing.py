"""Lists the blobs below a prefix of a bucket, and leaves out foreign objects.

A bucket may hold keys that no blob can have: the markers by which web consoles show empty folders, or objects that
another program put in the wrong place. A listing leaves them out and warns about them. The faster client fails at the
first key with an empty part or with ``.`` as a part; then Amazon's own library lists.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice

import obstore
from obstore.exceptions import InvalidPathError

from vmkeep.blobs.s3.listedblobs import ListedBlobs
from vmkeep.blobs.s3.s3access import S3Access
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.blobs.s3.wholelists import WholeLists
from vmkeep.blobs.store import is_key
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

    def list(self, prefix: str) -> ListedBlobs:
        """Return the blobs below a prefix, sorted by key, because not every server does so as S3 promises."""
        try:
            listed = _Listed(prefix, self._listed(prefix))
        except InvalidPathError:
            listed = _Listed(prefix, self._versions.newest(prefix))
        if self.confirmed:
            self._whole.require(prefix, listed, last=listed.last)
        self._tell(prefix, listed.foreign)
        return listed.blobs

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
        return ((str(each["path"]), int(each["size"]), each["last_modified"]) for page in stream for each in page)

    def _tell(self, prefix: str, foreign: Sequence[str]) -> None:
        if foreign and prefix not in self._told:
            self._told.add(prefix)
            where = f"{self._access.place}/{prefix}".rstrip("/")
            text = "%s: %s left out, because no blob can have such a key; %r is one"
            log.warning(text, where, counted(len(foreign), "object"), min(foreign))


class _Listed:
    """A list that was read to its end."""

    def __init__(self, prefix: str, entries: Iterable[_Entry]) -> None:
        self._prefix = prefix
        self.blobs = ListedBlobs()
        self.others: set[str] = set()
        """Keys that no blob below the prefix can have."""
        self.last: str | None = None
        """The last key in the order of their bytes."""
        for key, size, modified in entries:
            if self.last is None or key > self.last:
                self.last = key
            if is_key(key) and key.startswith(prefix):
                self.blobs.add(key, size, modified)
            else:
                self.others.add(key)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.blobs) + len(self.others)

    def __iter__(self) -> Iterator[str]:
        """Yield each key."""
        return chain((blob.key for blob in self.blobs), self.others)

    def __contains__(self, key: object) -> bool:
        """Return whether a key was listed. This looks at all of them."""
        return key in self.others or key in self.blobs

    @property
    def foreign(self) -> list[str]:
        """The keys about which people are told: not the markers of folders."""
        return [key for key in self.others if key and not self._prefix.startswith(f"{key}/") and not key.endswith("/")]
