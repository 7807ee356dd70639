"""Facts for retention: manifests, marks and uses of restore points, as plain values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from vmkeep.blobs import BlobInfo, abreast
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.repository import Marks, Repository, Use, used_words
from vmkeep.repository.folders import POINTS
from vmkeep.repository.points import ManifestFacts, ManifestLook, PointName, blobs_of_vms
from vmkeep.retention import PointFacts


def point_facts(
    repository: Repository,
    *,
    at: datetime,
    vm_keys: Collection[str] | None = None,
    store_time: datetime | None = None,
    marks: Mapping[str, Marks] | None = None,
) -> list[PointFacts]:
    """Return the facts of all restore points, or of those of some keys.

    Lists their manifests, and reads those that maintenance has not read before in this process.

    :param at: the time at which a pin with an end must still hold to count.
    :param store_time: now, by the store's clock, to count the uses of points; ``None``: by this machine's clock.
    :param marks: the marks of these points, if the caller has just read them.
    :returns: sorted by VM, then by time. A point with a damaged manifest counts as not good; its time comes from its
        name.
    """
    if marks is None:
        marks = repository.marks.all() if vm_keys is None else repository.marks.of_vms(vm_keys)
    uses = repository.uses.all(time=store_time or now())
    if vm_keys is None:
        listed = {blob.key: blob for blob in repository.blobs.list(POINTS)}
    else:
        listed = {blob.key: blob for blob in blobs_of_vms(repository.blobs, POINTS, vm_keys)}
    look = repository.manifests.facts.look(listed.values(), whole=vm_keys is None)

    def facts_of(name: PointName) -> PointFacts | None:
        return _facts(
            name,
            _read(repository, look, name, listed[name.blob]),
            marks.get(name.ref, Marks()),
            uses.get(name.blob, ()),
            at,
        )

    names = repository.manifests.named(listed.values(), vm_keys or ())
    return [facts for facts in abreast(repository.blobs, facts_of, names) if facts is not None]


def _read(
    repository: Repository, look: ManifestLook, name: PointName, blob: BlobInfo
) -> ManifestFacts | BlobNotFoundError | CorruptError:
    """Return the facts of a manifest, or the reason why it cannot be read."""
    try:
        return look.at(blob, lambda: repository.manifests.load(name.blob))
    except (BlobNotFoundError, CorruptError) as error:
        return error


def _facts(
    name: PointName,
    read: ManifestFacts | BlobNotFoundError | CorruptError,
    marks: Marks,
    uses: Sequence[Use],
    at: datetime,
) -> PointFacts | None:
    if isinstance(read, BlobNotFoundError):
        return None  # deleted since it was listed
    pinned = marks.pin is not None and marks.pin.holds(at)
    in_use = used_words(uses) if uses else ""
    if not isinstance(read, CorruptError):
        return PointFacts(
            ref=name.ref,
            vm_key=name.vm_key,
            vm_name=read.vm_name,
            vcenter=read.vcenter,
            moref=read.moref,
            taken_at=read.taken_at,
            good=marks.good,
            pinned=pinned,
            in_use=in_use,
            policy=read.policy,
        )
    if name.taken_at is None:
        return None  # its name is not that of a restore point: no rule keeps or drops it
    return PointFacts(
        ref=name.ref,
        vm_key=name.vm_key,
        taken_at=name.taken_at,
        good=False,
        readable=False,
        pinned=pinned,
        in_use=in_use,
    )
