"""Collects the evidence of a check of data quality: VMs of vCenters, demands of policies, and sampled manifests."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from vmkeep.catalog import PointOrigin, PolicyTerms, QualityCheck, SampledDisk, SampledPoint, VmStanding, Wish
from vmkeep.errors import CorruptError, NotFoundError, VmKeepError
from vmkeep.flows.answerable import answerable_policies
from vmkeep.flows.last_seen import sightings
from vmkeep.flows.listing import newest_points
from vmkeep.flows.windows import obstacle
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.model.site import VCenter
from vmkeep.policy import Policy, by_precedence, selectors_of, taker
from vmkeep.quality import Severity
from vmkeep.repository import Repository
from vmkeep.vsphere.choosing import known_vms
from vmkeep.vsphere.oldsnapshots import oldest_snapshots
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session, open_session

log = logging.getLogger(__name__)

_VMS_SAMPLED: Final = 20
_POINTS_SAMPLED: Final = 3
"""Points of each sampled VM whose manifests are read: the newest one, and others at random."""
_WITHOUT_POLICY: Final = ("unprotected", "snapshot-age")
"""Expectations of VMs that no policy has. For them counts the strictest wish of all policies of their vCenter."""


Proofs = Mapping[str, Mapping[ProofKind, VmProof]]
"""The last proofs of each VM, by the VM's key and by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A vCenter whose VMs are looked at, and the policies that may take them."""

    vcenter: VCenter
    policies: tuple[Policy, ...]


def terms_of(policy: Policy) -> PolicyTerms:
    """Return the demands of a policy."""
    return PolicyTerms(
        name=policy.name,
        max_age=_seconds(policy.max_age),
        proved_within=_seconds(policy.verification.proved_within),
        snapshots_within=int(policy.quality.snapshots_within.total_seconds()),
        forbids_skipped=policy.disks.skipped_is_failure,
    )


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else int(length.total_seconds())


def wishes_of(policies: Sequence[Policy]) -> Iterator[Wish]:
    """Yield the severities that policies give to expectations."""
    for policy in policies:
        for severity, ids in ((Severity.FAILURE, policy.quality.fail), (Severity.WARNING, policy.quality.warn)):
            for one in sorted(ids):
                yield Wish(expectation=one, policy=policy.name, severity=severity.value)
    for one in _WITHOUT_POLICY:
        if any(one in policy.quality.fail for policy in policies):
            yield Wish(expectation=one, policy="", severity=Severity.FAILURE.value)


def standings_in(inventory: Inventory, origins: Sequence[PointOrigin], proofs: Proofs) -> list[VmStanding]:
    """Return every VM of a vCenter as it stands now.

    :param origins: the newest good points, the oldest first.
    :param proofs: the last proofs of each VM.
    :raises VmKeepError: the vCenter cannot be asked.
    """
    with open_session(inventory.vcenter) as session:
        return _standings(session, inventory.policies, origins, proofs)


def _standings(
    session: Session, policies: Sequence[Policy], origins: Sequence[PointOrigin], proofs: Proofs
) -> list[VmStanding]:
    here = server_uuid(session)
    asked = answerable_policies(session, policies)
    known = known_vms(session, selectors_of(asked), sightings(origins, here))
    newest = newest_points([vm.record for vm in known], origins, here)
    snapshots = oldest_snapshots(session)
    takers = [(policy, taker(policy)) for policy in by_precedence(asked)]
    found = []
    for vm in known:
        moref = vm.record.moref
        point, snapshot = newest.get(moref), snapshots.get(moref)
        policy = next((each for each, takes in takers if takes(vm.facts)), None)
        found.append(
            VmStanding(
                vm=f"{session.host}/{moref}",
                name=vm.record.name,
                policy=policy.name if policy else "",
                asked=True,
                obstacle=obstacle(vm.record),
                ref=point.ref if point else None,
                newest=int(point.taken_at.timestamp()) if point else None,
                proved=_proved(proofs, point.vm_key, policy) if point and policy else None,
                snapshot=int(snapshot.created_at.timestamp()) if snapshot else None,
                snapshot_name=snapshot.name if snapshot else None,
            )
        )
    return found


def standings_by_points(
    check: QualityCheck, good: Iterable[PointOrigin], policies: Iterable[Policy], proofs: Proofs
) -> Iterator[VmStanding]:
    """Yield the VMs whose newest point names one of some policies, where no vCenter tells which VMs there are.

    :param good: the newest good points, the oldest first.
    """
    by_name = {policy.name: policy for policy in policies}
    newest = {point.vm_key: point for point in good}
    for vm_key, name, policy, _, _ in check.newest():
        if policy in by_name:
            point = newest.get(vm_key)
            yield VmStanding(
                vm=vm_key, name=name, policy=policy, asked=False,
                ref=point.ref if point else None, newest=int(point.taken_at.timestamp()) if point else None,
                proved=_proved(proofs, vm_key, by_name[policy]),
            )  # fmt: skip


def _proved(proofs: Proofs, vm_key: str, policy: Policy) -> int | None:
    """Return the time of a VM's last proof of a kind that its policy counts."""
    counting = policy.verification.counting
    times = [proof.at for kind, proof in proofs.get(vm_key, {}).items() if kind in counting]
    return int(max(times).timestamp()) if times else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Manifests and roots of maps as the repository holds them now."""

    points: list[SampledPoint]
    disks: list[SampledDisk]


def take_sample(repository: Repository, check: QualityCheck, refresh: Callable[[], object]) -> Sample:
    """Compare the names of all points of some VMs, and read some of their manifests and roots of maps.

    :param refresh: updates the catalog. It is called again if names differ, because points come and go.
    """
    newest = check.newest()
    chosen = random.sample(newest, min(_VMS_SAMPLED, len(newest)))
    points: list[SampledPoint] = []
    to_read: list[str] = []
    firsts = {ref for _, _, _, ref, _ in chosen}
    names_of = _names(repository, check, [vm_key for vm_key, *_ in chosen], refresh)
    for vm_key, name, policy, ref, _ in chosen:
        there, here = names_of[vm_key]
        gone = "the catalog has it, and the repository does not"
        points += [SampledPoint(ref=one, name=name, policy=policy, problem=gone) for one in sorted(here - there)]
        others = sorted(there - {ref})
        to_read += [
            *sorted(there - here),
            *({ref} & there),
            *random.sample(others, min(_POINTS_SAMPLED - 1, len(others))),
        ]
    disks: list[SampledDisk] = []
    names = {ref: (name, policy) for _, name, policy, ref, _ in chosen}
    for ref, found in repository.load_points(dict.fromkeys(to_read)):
        if isinstance(found, RestorePoint):
            points.append(_sampled(ref, found))
            disks += _sampled_disks(repository, ref, found) if ref in firsts else ()
        elif not isinstance(found, NotFoundError):  # one that is gone by now was removed meanwhile
            name, policy = names.get(ref, (ref.partition("/")[0], ""))
            points.append(SampledPoint(ref=ref, name=name, policy=policy, problem=str(found)))
    return Sample(points=points, disks=disks)


def _names(
    repository: Repository, check: QualityCheck, vm_keys: Sequence[str], refresh: Callable[[], object]
) -> dict[str, tuple[set[str], set[str]]]:
    """Return the names of the points of some VMs that the repository and the catalog have.

    The catalog is updated once if any differ, and once more if it has names by then that the repository lacks. It never
    has a point that cannot be read, and no update changes that.
    """

    def look(keys: Iterable[str]) -> dict[str, tuple[set[str], set[str]]]:
        return {key: (set(repository.point_refs(key)), check.refs_of(key)) for key in keys}

    found = look(vm_keys)
    if differing := [key for key, (there, here) in found.items() if there != here]:
        refresh()
        found |= look(differing)
    if outdated := [key for key, (there, here) in found.items() if here - there]:
        refresh()
        found |= look(outdated)
    return found


def _sampled(ref: str, point: RestorePoint) -> SampledPoint:
    images = point.images
    return SampledPoint(
        ref=ref,
        name=point.vm.name,
        policy=point.policy or "",
        at=int(point.taken_at.timestamp()),
        kind=point.kind.value,
        capacity=sum(image.disk.capacity for image in images),
        bytes_read=sum(image.bytes_read for image in images),
        bytes_stored=sum(image.bytes_stored for image in images),
        disks=len(point.disks),
    )


def _sampled_disks(repository: Repository, ref: str, point: RestorePoint) -> Iterator[SampledDisk]:
    for image in point.images:
        about: dict[str, Any] = {
            "ref": ref,
            "name": point.vm.name,
            "policy": point.policy or "",
            "label": image.disk.label,
        }
        try:
            shape = repository.open_map(image.root).shape
        except CorruptError as error:
            yield SampledDisk(**about, key=image.disk.key, root=image.root, problem=str(error))
        else:
            yield SampledDisk(
                **about, key=image.disk.key, root=image.root, block_size=shape.block_size,
                map_capacity=shape.capacity, map_blocks=shape.blocks,
            )  # fmt: skip


def ask_vcenters(
    inventories: Iterable[Inventory], origins: Sequence[PointOrigin], proofs: Proofs
) -> Iterator[tuple[Inventory, list[VmStanding] | VmKeepError]]:
    """Yield each vCenter with its VMs, or with the reason why it cannot be asked, which hides no other one."""
    for inventory in inventories:
        try:
            yield inventory, standings_in(inventory, origins, proofs)
        except VmKeepError as error:
            yield inventory, error
