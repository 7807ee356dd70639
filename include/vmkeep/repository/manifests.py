"""Manifests: one blob per restore point, whose creation commits it.

A manifest is one frame of kind MANIFEST over JSON ``{"manifest": 1, "write_id": …, "point": …}``. It is created if
absent, under a name that only its run uses; the write id, drawn anew for each attempt, tells whose bytes are there
when a reply was lost.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from blake3 import blake3

from vmkeep.blobs import BlobStore
from vmkeep.errors import AmbiguousError, BlobNotFoundError, ConflictError, CorruptError, NotFoundError
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.point import RestorePoint
from vmkeep.repository.digests import Kind
from vmkeep.repository.frames import Framer

PREFIX = "points/"
_VERSION = 1
_LATEST = "latest"


def safe_name(text: str) -> str:
    """Return any text as one part of a blob key, reversibly unless it is very long."""
    name = quote(text, safe="").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name) > 150:
        name = f"{name[:80].rpartition('%')[0] or name[:80]}~{blake3(text.encode()).hexdigest()[:32]}"
    return name


def point_id(run: str, vm_key: str) -> str:
    """Return the id that the restore point of a VM gets in a run: the same for every retry."""
    return blake3(f"{run}\n{vm_key}".encode(), derive_key_context="vmkeep restore point id").hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class PointName:
    """A restore point as its blob's name tells it, before anything is read."""

    vm_key: str
    stamp: str
    """``YYYYMMDDThhmmssZ``: sorts by time."""
    id: str
    blob: str

    @property
    def ref(self) -> str:
        """The point's ref."""
        return f"{self.vm_key}/{self.stamp}-{self.id}"


class Manifests:
    """The restore points of one repository."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer

    def names(self, vm_key: str | None = None) -> Iterator[PointName]:
        """Yield the names of all points, or of one VM's; sorted by VM, then by time."""
        prefix = PREFIX if vm_key is None else f"{PREFIX}{safe_name(vm_key)}/"
        for blob in self._store.list(prefix):
            folder, _, name = blob.key[len(PREFIX) :].partition("/")
            stamp, _, identity = name.partition("-")
            yield PointName(unquote(folder) if vm_key is None else vm_key, stamp, identity, blob.key)

    def load(self, blob: str) -> RestorePoint:
        """Read one manifest.

        :raises CorruptError: it is damaged, or lies under another point's name.
        """
        try:
            content = self._framer.unwrap(Kind.MANIFEST, self._store.get(blob), name=blob)
            point = _parse(content)
        except CorruptError as error:
            raise CorruptError(f"restore point {blob.removeprefix(PREFIX)}: manifest is damaged: {error}") from error
        if blob_key(point) != blob:
            raise CorruptError(f"restore point {blob.removeprefix(PREFIX)}: holds {point.ref} instead; it was swapped")
        return point

    def seal(self, point: RestorePoint) -> str:
        """Commit a point, or find that its run has done so before; return the ref of the one that stands.

        :raises ConflictError: another run's point has this name.
        """
        if (sealed := self.sealed_by(point)) is not None:
            return sealed
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
        return point.ref

    def sealed_by(self, point: RestorePoint) -> str | None:
        """Return the ref under which a point's run has sealed it before, or ``None``."""
        stamp = f"{point.taken_at:%Y%m%dT%H%M%SZ}"
        for name in self.names(point.vm.key):
            if (name.id == point.id or name.stamp == stamp) and self.load(name.blob).run == point.run:
                return name.ref
        return None

    def find(self, text: str) -> RestorePoint:
        """Return the point that a person means.

        :param text: a ref, the unique beginning of an id or of a ref, ``latest``, or ``latest:<VM name or key>``.
        :raises NotFoundError: none fits.
        :raises AmbiguousError: more than one does.
        """
        names = list(self.names())
        if text == _LATEST or text.startswith(f"{_LATEST}:"):
            return self._latest(names, text.partition(":")[2])
        exact = [name for name in names if text in (name.ref, name.id)]
        fitting = exact or [name for name in names if text and (name.ref.startswith(text) or name.id.startswith(text))]
        if not fitting:
            raise NotFoundError(f"no restore point '{text}' in {self._store.location}; see 'vmkeep point list'")
        if len(fitting) > 1:
            shown = ", ".join(name.ref for name in fitting[:5])
            raise AmbiguousError(f"'{text}' fits {len(fitting)} restore points: {shown}{', …' * (len(fitting) > 5)}")
        return self.load(fitting[0].blob)

    def latest(self, vm_key: str) -> RestorePoint | None:
        """Return a VM's newest point, or ``None``."""
        return next(iter(self._newest(list(self.names(vm_key)))), None)

    def _newest(self, names: list[PointName]) -> list[RestorePoint]:
        """Return the newest point of every VM; names tell whole seconds only, so equal ones are read."""
        stamps: dict[str, str] = {}
        for name in names:
            stamps[name.vm_key] = max(name.stamp, stamps.get(name.vm_key, ""))
        newest: dict[str, RestorePoint] = {}
        for name in names:
            if name.stamp == stamps[name.vm_key]:
                point = self.load(name.blob)
                if name.vm_key not in newest or newest[name.vm_key].taken_at < point.taken_at:
                    newest[name.vm_key] = point
        return list(newest.values())

    def _latest(self, names: list[PointName], vm: str) -> RestorePoint:
        if vm in {name.vm_key for name in names}:
            names = [name for name in names if name.vm_key == vm]
            vm = ""
        points = [point for point in self._newest(names) if not vm or point.vm.name == vm]
        if not points:
            of = f" of '{vm}'" if vm else ""
            raise NotFoundError(f"no restore point{of} in {self._store.location}; see 'vmkeep point list'")
        if vm and len(points) > 1:
            keys = ", ".join(sorted(point.vm.key for point in points))
            raise AmbiguousError(f"'{vm}' is the name of {len(points)} VMs; write latest:<key> with one of {keys}")
        return max(points, key=lambda point: point.taken_at)


def blob_key(point: RestorePoint) -> str:
    """Return the blob key of a point's manifest."""
    return f"{PREFIX}{safe_name(point.vm.key)}/{point.taken_at:%Y%m%dT%H%M%SZ}-{safe_name(point.id)}"


def blob_of_ref(ref: str) -> str:
    """Return the blob key that a full ref stands for.

    :raises NotFoundError: it is no ref.
    """
    vm_key, _, name = ref.rpartition("/")
    stamp, _, identity = name.partition("-")
    if not (vm_key and stamp and identity):
        raise NotFoundError(f"'{ref}' does not name a restore point; see 'vmkeep point list'")
    return f"{PREFIX}{safe_name(vm_key)}/{safe_name(stamp)}-{safe_name(identity)}"


def load_ref(manifests: Manifests, ref: str) -> RestorePoint:
    """Read the point of a full ref.

    :raises NotFoundError: there is none.
    """
    try:
        return manifests.load(blob_of_ref(ref))
    except BlobNotFoundError as error:
        raise NotFoundError(f"no restore point '{ref}'; see 'vmkeep point list'") from error


def _parse(content: memoryview) -> RestorePoint:
    try:
        fields = json.loads(bytes(content))
        if not isinstance(fields, dict) or fields.get("manifest") != _VERSION:
            raise CorruptError("manifest is of a version that this program does not know")
        return from_plain(RestorePoint, fields["point"])
    except (ValueError, KeyError, RecursionError) as error:
        raise CorruptError(f"does not parse: {str(error).splitlines()[0]}") from error
