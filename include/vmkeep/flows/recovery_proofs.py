"""Reads the proofs that VMs can be restored. A VM that was never started is not proved."""

from __future__ import annotations

import logging

from vmkeep.errors import CorruptError
from vmkeep.model.job import from_json
from vmkeep.recovery import Proof
from vmkeep.repository import Repository

log = logging.getLogger(__name__)


def load_proofs(repository: Repository) -> dict[str, Proof]:
    """Return the last proof of each VM, by the VM's key. One that cannot be read counts as none."""
    found = {}
    for text in repository.recoveries.proofs():
        try:
            if isinstance(text, CorruptError):
                raise text
            proof = from_json(Proof, text)
        except (CorruptError, ValueError) as error:
            log.warning("a proof that a VM can be restored cannot be read, and counts as none: %s", error)
        else:
            if proof.started:
                found[proof.vm_key] = proof
    return found
