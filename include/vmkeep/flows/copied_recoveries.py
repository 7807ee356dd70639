"""Brings the evidence of recoveries to the repository that has copies of the points: last proofs and ended runs.

After a disaster only the second repository may be left, and it has to tell which VMs were proved restorable.
Proofs that tell something about the source's stored bytes stay behind, because the target has bytes of its own.
A run that has not ended stays behind, because its process still writes to its journal.
"""

from __future__ import annotations

import logging

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.flows.recovery_journal import Journal
from vmkeep.model.proofs import ABOUT_CONTENT
from vmkeep.repository import Repository

log = logging.getLogger(__name__)


def bring_recoveries(source: Repository, target: Repository) -> None:
    """Bring the last proofs of VMs that are newer than the target's, and every run that has ended and is not there.

    A note that cannot be read stays behind with a warning.
    """
    for proofs in source.proofs.latest().values():
        for proof in proofs.values():
            if proof.kind in ABOUT_CONTENT:
                target.recoveries.store_proof(proof)
    for run in sorted({*source.recoveries.runs()} - {*target.recoveries.runs()}):
        try:
            if Journal(source, run).report() is not None:
                _bring_run(source, target, run)
        except (CorruptError, NotFoundError) as error:
            log.warning("recovery %s stays in %s: %s", run, source.location, error)


def _bring_run(source: Repository, target: Repository, run: str) -> None:
    """Bring the notes of a run, its order last, because a run without an order is none."""
    notes = {name: source.recoveries.load(run, name) for name in source.recoveries.names(run)}
    order = notes.pop("order")
    for name, data in notes.items():
        target.recoveries.store(run, name, data)
    target.recoveries.begin(run, order)
