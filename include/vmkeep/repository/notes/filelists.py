"""Indexes of the files in restore points. They are kept beside the points, because manifests never change.

    files/<vm>/<point>/<index>/<number>   a part of an index
    files/<vm>/<point>/head               names the index that counts, and tells about it

Each is a frame of kind note. The parts are put first, under a random name, and then the head, so that an index is there
as a whole or not at all. No restore needs them. They go with their point.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime

from vmkeep.blobs import BlobStore, is_there
from vmkeep.errors import BlobNotFoundError, CorruptError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_json, to_json
from vmkeep.model.point import RestorePoint
from vmkeep.repository.folders import FILES, POINTS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.points import blob_of_ref

_HEAD = "head"
_MOST_PARTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedVolume:
    """The part of an index that one volume has."""

    name: str
    kind: str
    entries: int
    problem: str = ""
    """The reason why some or all of its files are not in the index; empty: all are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIndexHead:
    """The facts about an index of files."""

    point: str
    """Ref of the point."""
    vm: str
    """Name of its VM."""
    taken_at: datetime
    """The time that the point shows."""
    made_at: datetime
    parts: int
    entries: int
    volumes: tuple[IndexedVolume, ...]
    index: str = ""
    """The random name of its parts. The repository fills it in."""


class FileLists:
    """The indexes of files in one repository's restore points."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer

    def begin(self, point: RestorePoint) -> FileListWriter:
        """Return a writer of a new index, which replaces an older one of the point once it is complete."""
        return FileListWriter(self, self._store, self._framer, point)

    def manifests(self) -> frozenset[str]:
        """Return the blob keys of the manifests whose points have an index. List blobs without reading any."""
        heads = (blob.key for blob in self._store.list(FILES) if blob.key.endswith(f"/{_HEAD}"))
        return frozenset(f"{POINTS}{key.removeprefix(FILES).removesuffix(f'/{_HEAD}')}" for key in heads)

    def head(self, ref: str) -> FileIndexHead | None:
        """Return the facts about a point's index; ``None``: it has none.

        :raises CorruptError: its head is damaged.
        """
        key = f"{_folder(ref)}{_HEAD}"
        try:
            head = from_json(FileIndexHead, bytes(self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key)))
        except BlobNotFoundError:
            return None
        except (CorruptError, ValueError) as error:
            raise CorruptError(f"{key} cannot be read: {str(error).splitlines()[0]}; make the index anew") from error
        if head.point != ref or not 0 <= head.parts <= _MOST_PARTS:
            raise CorruptError(f"{key} is the index of another point, or of none; make the index anew")
        return head

    def parts(self, head: FileIndexHead) -> Iterator[bytes]:
        """Yield the parts of an index, one after the other.

        :raises CorruptError: a part is damaged or gone.
        """
        for number in range(head.parts):
            key = _part(head.point, head.index, number)
            try:
                yield bytes(self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key))
            except (BlobNotFoundError, CorruptError) as error:
                raise CorruptError(f"the index of the files in {head.point}: {error}; make the index anew") from error

    def forget(self, ref: str) -> None:
        """Remove the index of a point that is gone."""
        for blob in list(self._store.list(_folder(ref))):
            self._store.delete(blob.key)

    def remove(self, ref: str, index: str) -> None:
        """Remove the parts of one index."""
        for blob in list(self._store.list(f"{_folder(ref)}{index}/")):
            self._store.delete(blob.key)


class FileListWriter:
    """Writes one index, part by part."""

    def __init__(self, lists: FileLists, store: BlobStore, framer: Framer, point: RestorePoint) -> None:
        self._lists = lists
        self._store = store
        self._framer = framer
        self._point = point
        self._ref = point.ref
        self._index = secrets.token_hex(8)
        self._parts = 0

    def add(self, part: bytes) -> None:
        """Store the next part."""
        key = _part(self._ref, self._index, self._parts)
        self._store.put(key, self._framer.wrap(Kind.NOTE, part, name=key))
        self._parts += 1

    def end(self, *, made_at: datetime, entries: int, volumes: Iterable[IndexedVolume]) -> FileIndexHead:
        """Store the head, which makes the index count, and remove the parts of the one before it.

        :raises NotFoundError: the point was deleted meanwhile. Nothing of the index stays.
        """
        head = FileIndexHead(
            point=self._ref, vm=self._point.vm.name, taken_at=self._point.taken_at, made_at=made_at,
            parts=self._parts, entries=entries, volumes=tuple(volumes), index=self._index,
        )  # fmt: skip
        before = self._before()
        key = f"{_folder(self._ref)}{_HEAD}"
        self._store.replace(key, self._framer.wrap(Kind.NOTE, to_json(head), name=key))
        if not is_there(self._store, blob_of_ref(self._ref)):
            self._lists.forget(self._ref)
            raise NotFoundError(f"no restore point '{self._ref}' (any more); see 'vmkeep point list'")
        if before is not None and before.index != self._index:
            self._lists.remove(self._ref, before.index)
        return head

    def give_up(self) -> None:
        """Remove the parts that were stored."""
        self._lists.remove(self._ref, self._index)

    def _before(self) -> FileIndexHead | None:
        try:
            return self._lists.head(self._ref)
        except CorruptError:
            return None


def _folder(ref: str) -> str:
    return f"{FILES}{blob_of_ref(ref).removeprefix(POINTS)}/"


def _part(ref: str, index: str, number: int) -> str:
    return f"{_folder(ref)}{index}/{number:05}"
