"""Lists all VMs that have points, with the last proof of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from vmkeep.clock import now
from vmkeep.flows.clean_vms import last_clean_of_all
from vmkeep.flows.pointlist import list_points
from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.repository import Repository

STARTED = (ProofKind.RESTORE, ProofKind.BOOT)
"""The kinds that show a VM which starts, the strongest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedVm:
    """A VM of the repository, and its last proof of each kind."""

    vm_key: str
    vm_name: str
    newest_point: str
    newest_at: datetime
    proofs: Mapping[ProofKind, VmProof]
    ages: Mapping[ProofKind, float]
    """Seconds since each of them."""

    @property
    def since_start(self) -> float | None:
        """Seconds since it was last shown that the VM starts; ``None``: it never was."""
        return min((self.ages[kind] for kind in STARTED if kind in self.ages), default=None)


def list_proved(repository: Repository, *, catalog: str) -> tuple[ProvedVm, ...]:
    """Return every VM that has points: those that were never shown to start first, then the longest ago.

    Its proof of kind malware is the scan of its last clean point, which is there only as long as no find counts in it.

    :param catalog: the SQLAlchemy URL of the catalog. If it cannot be used, the whole repository is read.
    """
    newest = {entry.vm_key: entry for entry in list_points(repository, catalog=catalog).entries}
    latest = last_proofs(repository, {key: entry.vm_name for key, entry in newest.items()})
    at = now()
    found = []
    for key, entry in newest.items():
        proofs = latest[key]
        ages = {kind: max(0.0, (at - proof.at).total_seconds()) for kind, proof in proofs.items()}
        found.append(
            ProvedVm(
                vm_key=key,
                vm_name=entry.vm_name,
                newest_point=entry.ref,
                newest_at=entry.taken_at,
                proofs=proofs,
                ages=ages,
            )
        )
    return tuple(sorted(found, key=_order))


def last_proofs(repository: Repository, names: Mapping[str, str]) -> dict[str, dict[ProofKind, VmProof]]:
    """Return the last proof of each kind that passed of each VM; of kind malware, the scan of its last clean point.

    A VM keeps no note of its last scan, because a later find takes back the word of an older one.

    :param names: the VMs that are asked for: the name of each by its key.
    """
    latest = repository.proofs.latest()
    clean = last_clean_of_all(repository, names)
    found: dict[str, dict[ProofKind, VmProof]] = {}
    for key, name in names.items():
        noted = latest.get(key, {})
        proofs: dict[ProofKind, VmProof] = {kind: noted[kind] for kind in noted if kind is not ProofKind.MALWARE}
        if (state := clean[key].clean) is not None and state.scanned_at is not None and state.taken_at is not None:
            proofs[ProofKind.MALWARE] = VmProof(
                vm_key=key,
                vm_name=name,
                point=state.point,
                taken_at=state.taken_at,
                at=state.scanned_at,
                run="",
                kind=ProofKind.MALWARE,
            )
        found[key] = proofs
    return found


def _order(vm: ProvedVm) -> tuple[bool, float, str, str]:
    since = vm.since_start
    return since is not None, -(since or 0), vm.vm_name, vm.vm_key
