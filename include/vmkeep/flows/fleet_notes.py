"""Notes in the catalog the facts that the pages of the web view show and no manifest holds: marks, proofs and VMs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

from vmkeep.catalog import Catalog, NotedMark, NotedProof, NotedVm, VmStanding
from vmkeep.flows.failed_checks import ListedProofs
from vmkeep.model.proofs import PICTURE, ProofResult
from vmkeep.repository import Marks, Repository


def note_fleet(
    cache: Catalog,
    repository: Repository,
    vms: Iterable[VmStanding],
    *,
    unasked: Collection[str],
    at: datetime,
    proofs: ListedProofs | None = None,
) -> None:
    """Note the marks and proofs of a repository's points, and its VMs. It reads proofs of VMs with malware only.

    :param vms: the VMs that policies or vCenters tell of.
    :param unasked: hosts of the vCenters that gave no answer. The VMs that they told of before stay noted.
    :param at: the time of this look.
    :param proofs: the proofs; ``None``: list them.
    """
    cache.overview().note(
        repository.id,
        location=repository.location,
        at=at,
        marks=list(_marks(repository.marks.all(), at)),
        proofs=list(noted_proofs(proofs or ListedProofs(repository))),
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


def noted_proofs(listed: ListedProofs) -> Iterator[NotedProof]:
    """Yield the newest proof of each kind of each point; a failure stays until a check of its kind passes.

    A point with malware, or in doubt, has failed, also if the newest scan passed, because a find may count still.
    """
    failed = listed.failed()
    for (ref, kind), name in listed.newest.items():
        result = ProofResult.FAILED if kind in failed.get(ref, ()) else name.result
        yield NotedProof(
            ref=ref,
            kind=kind.value,
            result=result.value,
            at=int(name.at.timestamp()),
            has_picture=PICTURE in name.files,
        )


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
