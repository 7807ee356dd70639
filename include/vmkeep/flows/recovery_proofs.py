"""Reads the proofs that VMs can be restored. A VM that was never started is not proved."""

from __future__ import annotations

from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.repository import Repository


def load_proofs(repository: Repository) -> dict[str, VmProof]:
    """Return the last proof by a recovery or a drill of each VM, by the VM's key.

    One that cannot be read counts as none.
    """
    latest = repository.proofs.latest()
    return {key: proofs[ProofKind.RESTORE] for key, proofs in latest.items() if ProofKind.RESTORE in proofs}
