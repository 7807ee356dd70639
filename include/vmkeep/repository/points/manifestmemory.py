"""Remembers facts of manifests, so that a process that looks at all points several times reads each manifest once.

A manifest never changes, but a point may be deleted, and a point of the same name may come, for example a copy that
is brought back. So the listing of each look decides which manifests exist, and the facts of one count only if its blob
has the size and the time that it had when they were read. A store may count time in whole seconds. So the facts of a
manifest are kept only if a younger one was listed beside it: any blob that comes later has another time. Decision 0145
gives the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from blake3 import blake3

from vmkeep.blobs import BlobInfo
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.repository.frames import DIGEST_SIZE

_SETTLED: Final = timedelta(minutes=1)
"""Difference to the youngest manifest of a listing from which facts are kept. Clocks of one store's servers differ."""
_NAME_SIZE: Final = 16


class _Owner(NamedTuple):
    """The facts that most points of one VM have in common, so that they are kept once."""

    vm_name: str
    vcenter: str | None
    moref: str | None
    policy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFacts:
    """The facts of a manifest by which maintenance goes."""

    roots: tuple[str, ...]
    """The roots of all maps that the point names."""
    taken_at: datetime
    vm_name: str
    vcenter: str | None
    moref: str | None
    policy: str | None

    @classmethod
    def of(cls, point: RestorePoint) -> ManifestFacts:
        """Return the facts of a point."""
        return cls(
            roots=(*(image.root for image in point.images), *point.attachments.values()),
            taken_at=point.taken_at,
            vm_name=point.vm.name,
            vcenter=point.vm.vcenter,
            moref=point.vm.moref,
            policy=point.policy,
        )


class ManifestMemory:
    """The facts of one repository's manifests. Thread-safe. 100,000 points of two maps take 32 MB."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[bytes, datetime, _Owner]] = {}
        self._owners: dict[_Owner, _Owner] = {}

    def look(self, listed: Collection[BlobInfo], *, whole: bool) -> ManifestLook:
        """Return a look at manifests that have just been listed.

        :param whole: all manifests were listed, so the facts of others are forgotten.
        """
        if whole:
            names = set(map(_name, listed))
            self._kept = {name: kept for name, kept in tuple(self._kept.items()) if name in names}
            self._owners = {owner: owner for _, _, owner in tuple(self._kept.values())}
        youngest = max((blob.modified for blob in listed), default=None)
        return ManifestLook(self, None if youngest is None else youngest - _SETTLED)

    def find(self, blob: BlobInfo) -> ManifestFacts | None:
        """Return the facts of a manifest that was listed; ``None``: they are not known."""
        if (kept := self._kept.get(_name(blob))) is None:
            return None
        roots, taken_at, owner = kept
        return ManifestFacts(roots=_unpacked(roots), taken_at=taken_at, **owner._asdict())

    def keep(self, blob: BlobInfo, facts: ManifestFacts) -> None:
        """Keep the facts of a manifest that is listed with this size and this time."""
        with suppress(ValueError):  # not the digests of maps: whoever walks them says so
            roots = b"".join(map(bytes.fromhex, facts.roots))
            if _unpacked(roots) == facts.roots:
                owner = _Owner(facts.vm_name, facts.vcenter, facts.moref, facts.policy)
                self._kept[_name(blob)] = (roots, facts.taken_at, self._owners.setdefault(owner, owner))


class ManifestLook:
    """A look at the manifests of one listing. Thread-safe."""

    def __init__(self, memory: ManifestMemory, settled_before: datetime | None) -> None:
        self._memory = memory
        self._settled_before = settled_before

    def at(self, blob: BlobInfo, load: Callable[[], RestorePoint]) -> ManifestFacts:
        """Return the facts of a manifest that is in the listing.

        :param load: reads it, if its facts are not known.
        """
        if (known := self._memory.find(blob)) is not None:
            return known
        facts = ManifestFacts.of(load())
        if self._settled_before is not None and blob.modified <= self._settled_before:
            self._memory.keep(blob, facts)
        return facts


def _unpacked(packed: bytes) -> tuple[str, ...]:
    return tuple(packed[at : at + DIGEST_SIZE].hex() for at in range(0, len(packed), DIGEST_SIZE))


def _name(blob: BlobInfo) -> bytes:
    text = f"{blob.key}\n{blob.modified.isoformat()}\n{blob.size}"
    return blake3(text.encode(errors="surrogateescape")).digest(_NAME_SIZE)  # a folder may hold any file
