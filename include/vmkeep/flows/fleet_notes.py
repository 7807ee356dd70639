"""Notes in the catalog the facts that the pages of the web view show and no manifest holds: marks, proofs and VMs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from vmkeep.catalog import Catalog, NotedMark, NotedProof, NotedVm, VmStanding
from vmkeep.flows.clean_points import ScanStates
from vmkeep.model.proofs import PICTURE, ProofKind, ProofResult
from vmkeep.repository import Marks, Repository
from vmkeep.repository.points import blob_of_ref


def note_fleet(
    cache: Catalog, repository: Repository, vms: Iterable[VmStanding], *, unasked: Collection[str], at: datetime
) -> None:
    """Note the marks and proofs of a repository's points, and its VMs. It lists the proofs and reads none.

    :param vms: the VMs that policies or vCenters tell of.
    :param unasked: hosts of the vCenters that gave no answer. The VMs that they told of before stay noted.
    :param at: the time of this look.
    """
    cache.overview().note(
        repository.id,
        location=repository.location,
        at=at,
        marks=list(_marks(repository.marks.all(), at)),
        proofs=list(noted_proofs(repository)),
        vms=[_vm(each) for each in vms],
        unasked=unasked,
    )


def _marks(found: Mapping[str, Marks], at: datetime) -> Iterator[NotedMark]:
    for ref, marks in found.items():
        if marks.damage is not None:
            yield NotedMark(ref=ref, kind="damaged", reason=marks.damage.reason)
        if marks.suspicion is not None:
            yield NotedMark(ref=ref, kind="suspect", reason=marks.suspicion.reason)
        if (pin := marks.pin) is not None and pin.holds(at):
            until = int(pin.until.timestamp()) if pin.until else None
            yield NotedMark(ref=ref, kind="pinned", reason=pin.reason, until=until)


def noted_proofs(repository: Repository) -> Iterator[NotedProof]:
    """Yield the newest proof of each kind of each point.

    A point with malware, or in doubt, has failed, also if the newest scan passed, because a find may count still.
    """
    refs = {blob_of_ref(ref): ref for ref in repository.point_refs()}
    pictured = set(repository.proofs.with_file(PICTURE))
    newest: dict[tuple[str, ProofKind], NotedProof] = {}
    for name in repository.proofs.names():
        if (ref := refs.get(name.manifest)) is None:
            continue
        at = int(name.at.timestamp())
        known = newest.get((ref, name.kind))
        if known is None or known.at <= at:
            newest[(ref, name.kind)] = NotedProof(
                ref=ref, kind=name.kind.value, result=name.result.value, at=at, has_picture=name.blob in pictured
            )
    scanned = [ref for ref, kind in newest if kind is ProofKind.MALWARE]
    for ref in ScanStates(repository).doubts(scanned):
        key = (ref, ProofKind.MALWARE)
        newest[key] = replace(newest[key], result=ProofResult.FAILED.value)
    yield from newest.values()


def _vm(standing: VmStanding) -> NotedVm:
    return NotedVm(
        vm=standing.vm,
        name=standing.name,
        policy=standing.policy,
        asked=standing.asked,
        obstacle=standing.obstacle,
        ref=standing.ref,
        proved=standing.proved,
    )
