"""Compares the room on datastores with the needs of the VMs that a restore, or a recovery of several, makes there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from vmkeep.errors import ConflictError, CorruptError
from vmkeep.flows.restore_values import DiskMatch, RestorePlan
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.point import RestorePoint
from vmkeep.model.room import StoreNeed, growth, joined, require_room
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.vsphere import configspec, freespace
from vmkeep.vsphere.inventory import VmDescription
from vmkeep.vsphere.loads import read_stores
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import DatastorePath
from vmkeep.vsphere.session import Session

_REMEDY = (
    f"make room there, or choose another datastore with {named('datastore', recovery='datastores of the target')}, or "
    f"for one disk with {named('disk_datastores')}"
)


class Room:
    """The room on datastores, of which each new VM of one plan takes its part."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._taken: dict[str, list[tuple[str, StoreNeed]]] = {}

    def take(self, ref: str, needs: Sequence[StoreNeed]) -> tuple[str, ...]:
        """Take the room for one VM. Return a warning for each datastore that may run full later.

        :param ref: the restore point of the VM.
        :raises ConflictError: a datastore has not the room. Nothing is taken then.
        """
        warnings: list[str] = []
        for need in needs:
            warnings += self._fitting(ref, need)
        for need in needs:
            self._taken.setdefault(need.datastore, []).append((ref, need))
        return tuple(warnings)

    def _fitting(self, ref: str, need: StoreNeed) -> tuple[str, ...]:
        before = self._taken.get(need.datastore, [])
        if joined([need, *(other for _, other in before)]).most <= need.free:
            return ()
        # Counting reads the map of each disk. So it is done only where the sizes alone leave a doubt.
        before[:] = [(other, self._counted(other, taken)) for other, taken in before]
        others = joined([taken for _, taken in before]) if before else None
        alone = self._counted(ref, need)
        left = replace(alone, free=max(0, need.free - others.certain)) if others else alone
        try:
            require_room(left, "the new VM takes at least", remedy=_REMEDY)
        except ConflictError as error:
            beside = f", of {size(need.free)} before the other VMs of the plan" if others else ""
            raise ConflictError(f"{error}{beside}") from None
        both = joined([alone, *(taken for _, taken in before)])
        whose = "the VMs of the plan up to this one" if others else "the new VM"
        return growth(both, f"the thin disks and the swap file of {whose} can grow to")

    def _counted(self, ref: str, need: StoreNeed) -> StoreNeed:
        if need.content is not None or not need.thin:
            return need
        point = self._repository.load_point(ref)
        try:
            return replace(need, content=_content_of(self._repository, point, need.thin_disks))
        except CorruptError:  # the plan warns of a damaged point, which may be the best there is
            return replace(need, content=0)


def room_for(
    repository: Repository, ref: str, needs: Sequence[StoreNeed], *, half_made: bool = False
) -> tuple[str, ...]:
    """Return a warning for each datastore that may run full after one VM is made.

    :param half_made: the files of a half-made VM are removed before the new one is made.
    :raises ConflictError: a datastore has not the room.
    """
    try:
        return Room(repository).take(ref, needs)
    except ConflictError as error:
        if not half_made:
            raise
        return (f"{error}; the removal of the half-made VM may make room enough",)


def needs_of(
    session: Session, host: str, built: configspec.BuiltSpec, matches: Sequence[DiskMatch], *, runs: bool
) -> tuple[StoreNeed, ...]:
    """Return what a new VM needs on each of its datastores.

    :param host: managed object id of a host that has these datastores.
    :param runs: the VM is going to be switched on.
    """
    written = {match.disk.address for match in matches if match.written}
    return tuple(
        replace(need, thin_disks=tuple(disk for disk in need.thin_disks if disk in written))
        for need in freespace.needs_of_new(session, host, built, runs=runs)
    )


def needs_above(session: Session, vm: VmDescription, written: Iterable[Disk]) -> tuple[StoreNeed, ...]:
    """Return what a snapshot may take on each datastore while disks are written above it.

    Each delta can grow to the size of its disk, because any doubt means that all blocks are written.
    """
    grows: Counter[str] = Counter()
    for disk in written:
        grows[decode_name(DatastorePath.parse(disk.file_name).datastore)] += disk.capacity
    return tuple(
        StoreNeed(datastore=store.moref, name=store.name, free=store.free, whole=grows[store.name])
        for store in read_stores(session, vm.moref)
    )


def require_room_still(session: Session, repository: Repository, host: str, plan: RestorePlan) -> None:
    """Return if the datastores have the room that a plan needs also now. Its approval may have taken days.

    :param host: managed object id of a host that has these datastores.
    :raises ConflictError: one has not.
    """
    free = {space.moref: space.free for space in freespace.read_free(session, host).values()}
    Room(repository).take(
        plan.point, [replace(need, free=free.get(need.datastore, need.free), content=None) for need in plan.needs]
    )


def _content_of(repository: Repository, point: RestorePoint, disks: Sequence[str]) -> int:
    """Return the bytes of some disks of a point that are not zeros, as whole blocks.

    :param disks: addresses. A disk that is not in the point has no content.
    """
    wanted = [image for image in point.images if image.disk.address in disks]
    return sum(
        extent.length
        for image in wanted
        for extent in repository.open_map(image.root, what=image.disk.label).stored_extents()
    )
