"""Brings the evidence of recoveries to the repository that has copies of the points: proofs, and runs that have ended.

After a disaster only the second repository may be left, and it has to tell which VMs were proved restorable.
A run that has not ended stays behind, because its process still writes to its journal.
"""

from __future__ import annotations

import logging

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.flows.recovery_journal import Journal
from vmkeep.flows.recovery_proofs import load_proofs
from vmkeep.model.job import to_json
from vmkeep.repository import Repository

log = logging.getLogger(__name__)


def bring_recoveries(source: Repository, target: Repository) -> None:
    """Bring every proof that is newer than the target's, and every run that has ended and is not there.

    A note that cannot be read stays behind with a warning.
    """
    there = load_proofs(target)
    for key, proof in load_proofs(source).items():
        if key not in there or there[key].at < proof.at:
            target.recoveries.store_proof(key, to_json(proof))
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
