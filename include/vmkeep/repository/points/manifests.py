"""Manifests: one blob per restore point, whose creation commits it.

A manifest is one frame of kind MANIFEST over JSON ``{"manifest": 1, "write_id": …, "point": …}``. It is created if
absent, under a name that only its run uses. Each attempt to create it draws a new write id; so after a lost reply the
stored bytes show which attempt succeeded.

Points are sealed and deleted while other processes read, so a listed manifest may be gone when it is read. A manifest
that cannot be read must not hide the others. :meth:`Manifests.read` handles both cases; every walk over points uses it.
"""

from __future__ import annotations

import errno
import json
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Protocol

from blake3 import blake3

from vmkeep.blobs import BlobInfo, BlobStore, abreast, confirm_lists
from vmkeep.errors import (
    BlobNotFoundError,
    ConflictError,
    CorruptError,
    NotFoundError,
    PermissionDeniedError,
    Recovery,
    StoreError,
    UsageError,
)
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_json, from_plain, to_plain
from vmkeep.model.knownpoint import KnownPoint
from vmkeep.model.point import RestorePoint
from vmkeep.repository.folders import POINTS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.points.manifestmemory import ManifestMemory
from vmkeep.repository.points.pointnames import (
    NOT_A_NAME,
    PointName,
    blob_key,
    blob_of_ref,
    folder_of,
    is_cut,
    parse_key,
)
from vmkeep.repository.points.vmfolders import blobs_of_vms

_VERSION = 1
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.EIO)
"""Errors that concern one file and not the whole store."""


def point_id(run: str, vm_key: str, moment: str = "") -> str:
    """Return the id of a VM's restore point in a run. Every retry of the run gets the same id.

    :param moment: distinguishes two points of one VM in one run, for example by the snapshot that each came from.
    """
    what = "\n".join(filter(None, (run, vm_key, moment)))
    return blake3(what.encode(), derive_key_context="vmkeep restore point id").hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPoint:
    """A restore point, or the reason why it could not be read."""

    name: PointName
    point: RestorePoint | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """The sealed point of a run."""

    ref: str
    ours: bool
    """Whether this call sealed it. If not, another try of the run had sealed it before."""


class KnownPoints(Protocol):
    """A memory of sealed points. It may lack any of them, and what it has never changes, because manifests do not."""

    @property
    def price(self) -> int:
        """Number of manifests that are read in the time that the memory takes to answer."""

    def known(self, refs: Collection[str]) -> Mapping[str, KnownPoint]:
        """Return the facts of those points that are in the memory, by ref. It raises no error if it fails."""

    def keep(self, points: Sequence[RestorePoint]) -> None:
        """Add points that were read. It raises no error if it fails."""


class Manifests:
    """The restore points of one repository."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer
        self._cut: dict[str, str] = {}
        self.facts = ManifestMemory()
        """The facts of manifests that maintenance has read."""
        self.memory: KnownPoints | None = None
        """A memory of these points, which saves reading many to find one; ``None``: there is none."""
        self.asked = False
        """Whether the memory has told of a point."""

    def known(self, refs: Collection[str]) -> Mapping[str, KnownPoint]:
        """Return the facts of those points that the memory has, by ref; none, if it is faster to read them all."""
        if self.memory is None or len(refs) <= self.memory.price:
            return {}
        known = self.memory.known(refs)
        self.asked |= bool(known)
        return known

    def keep_known(self, points: Sequence[RestorePoint], *, of: int) -> None:
        """Add points to the memory, which did not have them.

        :param of: number of points that it was asked for.
        """
        if self.memory is not None and points and of > self.memory.price:
            self.memory.keep(points)

    @property
    def location(self) -> str:
        """The store's location, for messages."""
        return self._store.location

    def names(self, vm_key: str | None = None) -> Iterator[PointName]:
        """Yield the names of all points, or of one VM's points, sorted by the VM's folder and then by time.

        Also yield blobs below ``points/`` that are no points; their ``taken_at`` is ``None``.

        :raises StoreError: the store lists not all that there are. The newest of some points would be taken for the
            newest of all.
        """
        confirm_lists(self._store)
        yield from self.quick_names(vm_key)

    def quick_names(self, vm_key: str | None = None) -> Iterator[PointName]:
        """Yield the same names, for a caller to whom one that is missing costs time and nothing else.

        On S3, a list that comes as an error looks like no points; see :func:`~vmkeep.blobs.confirm_lists`.
        """
        prefix = POINTS if vm_key is None else f"{POINTS}{folder_of(vm_key)}/"
        yield from self.named(self._store.list(prefix), () if vm_key is None else (vm_key,))

    def names_of(self, vm_keys: Collection[str]) -> Iterator[PointName]:
        """Yield the names of the points of some VMs, in the order of :meth:`names`."""
        confirm_lists(self._store)
        yield from self.named(blobs_of_vms(self._store, POINTS, vm_keys), vm_keys)

    def named(self, blobs: Iterable[BlobInfo], vm_keys: Collection[str] = ()) -> Iterator[PointName]:
        """Yield the names of manifests that were listed.

        :param vm_keys: the keys of VMs that are known beforehand.
        """
        known = {folder_of(key): key for key in vm_keys}
        keys = (blob.key for blob in blobs)
        for folder, of_vm in groupby(keys, key=lambda key: key.removeprefix(POINTS).partition("/")[0]):
            vm_key = known.get(folder)
            if is_cut(folder):
                listed = list(of_vm)
                whole = self._key_of(folder, listed) if vm_key in (None, folder) else vm_key
                yield from (parse_key(key, whole) for key in listed)
            else:
                yield from (parse_key(key, vm_key) for key in of_vm)

    def _key_of(self, folder: str, keys: Iterable[str]) -> str:
        """Return the key of a VM whose folder name was cut, from one of its manifests; else the folder's name."""
        if folder not in self._cut:
            found = next((read.point for read in map(self._read, map(parse_key, keys)) if read and read.point), None)
            if found is None:
                return folder
            self._cut[folder] = found.vm.key
        return self._cut[folder]

    def load(self, blob: str) -> RestorePoint:
        """Read one manifest.

        :raises CorruptError: the manifest is damaged or lies under another point's name, or may not be read.
        :raises BlobNotFoundError: the manifest is gone.
        """
        try:
            content = bytes(self._framer.unwrap(Kind.MANIFEST, self._get(blob), name=blob))
            if (usual := _parse_usual(content, blob)) is not None:
                return usual
            point = _parse(content, blob)
        except CorruptError as error:
            what = f"manifest is damaged: {error}" if parse_key(blob).taken_at is not None else NOT_A_NAME
            raise CorruptError(f"restore point {blob.removeprefix(POINTS)}: {what}") from error
        if blob_key(point) != blob:
            raise CorruptError(f"restore point {blob.removeprefix(POINTS)}: holds {point.ref} instead; it was swapped")
        return point

    def read(self, names: Iterable[PointName]) -> Iterator[ReadPoint]:
        """Yield points in the order given, reading several at a time. Leave out points that are gone by now.

        A point that cannot be read is yielded with the reason. If the store as a whole fails, its error is raised.
        """
        yield from (read for read in abreast(self._store, self._read, names) if read is not None)

    def _read(self, name: PointName) -> ReadPoint | None:
        try:
            return ReadPoint(name=name, point=self.load(name.blob))
        except BlobNotFoundError:
            return None
        except CorruptError as error:
            return ReadPoint(name=name, point=None, problem=str(error))

    def _get(self, blob: str) -> bytes:
        try:
            return self._store.get(blob)
        except BlobNotFoundError:
            raise
        except UsageError as error:
            raise CorruptError(f"not the name of a restore point: {error}") from error
        except (StoreError, PermissionDeniedError) as error:
            if error.recovery is Recovery.STOP or getattr(error.__cause__, "errno", None) in _UNREADABLE:
                raise CorruptError(f"cannot be read: {error}") from error
            raise

    def seal(self, point: RestorePoint) -> Commit:
        """Commit a point, unless its run has done so before.

        :raises ConflictError: another run's point has this name.
        """
        if (sealed := self.sealed_by(point)) is not None:
            return Commit(sealed, ours=False)
        text = json.dumps(
            {"manifest": _VERSION, "write_id": secrets.token_hex(16), "point": to_plain(point)},
            separators=(",", ":"),
        )
        blob = blob_key(point)
        try:
            self._store.put(blob, self._framer.wrap(Kind.MANIFEST, text.encode(), name=blob))
        except ConflictError as error:
            if self.load(blob).run != point.run:
                raise ConflictError(f"restore point {point.ref} exists already, sealed by another run") from error
            return Commit(point.ref, ours=False)
        return Commit(point.ref, ours=True)

    def sealed_by(self, point: RestorePoint) -> str | None:
        """Return the ref under which a point's run has sealed it before; ``None``: the run has not.

        Compares the VMs, too, because two runs may have the same name and two VMs the same UUID.
        """
        names = self.names(point.vm.key)
        alike = [name for name in names if name.id == point.id or name.stamp == point.stamp]
        found = (read for read in map(self._read, alike) if read is not None and read.point is not None)
        same = (point.run, point.vm.vcenter, point.vm.moref)
        return next(
            (
                it.name.ref
                for it in found
                if it.point and (it.point.run, it.point.vm.vcenter, it.point.vm.moref) == same
            ),
            None,
        )


def load_ref(manifests: Manifests, ref: str) -> RestorePoint:
    """Read the point that a full ref names.

    :raises NotFoundError: there is no such point.
    """
    try:
        return manifests.load(blob_of_ref(ref))
    except BlobNotFoundError as error:
        raise NotFoundError(f"no restore point '{ref}'; see 'vmkeep point list'") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The content of a manifest, as far as a reader needs it."""

    manifest: int
    point: RestorePoint


def _parse_usual(content: bytes, blob: str) -> RestorePoint | None:
    """Parse a manifest in one step, because many are read in a row; ``None``: it needs a closer look."""
    try:
        stored = from_json(_Stored, content)
    except (ValueError, RecursionError):
        return None
    return stored.point if stored.manifest == _VERSION and blob_key(stored.point) == blob else None


def _parse(content: bytes, blob: str) -> RestorePoint:
    try:
        fields = json.loads(content)
        if not isinstance(fields, dict) or fields.get("manifest") != _VERSION:
            raise CorruptError("manifest is of a version that this program does not know")
        point = from_plain(RestorePoint, fields["point"])
        if blob_key(point) == blob:
            return point
        # Earlier programs wrote a point's time into its name in the zone in which the time was given, not in UTC.
        return point.named_in(datetime.fromisoformat(fields["point"]["taken_at"]).tzinfo)
    except (ValueError, KeyError, RecursionError) as error:
        raise CorruptError(f"does not parse: {str(error).splitlines()[0]}") from error
