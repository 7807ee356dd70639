"""Keeps the outcomes of checks as proofs with their points."""

from __future__ import annotations

import logging

from vmkeep.clock import now
from vmkeep.errors import VmKeepError
from vmkeep.flows.check_values import Checked
from vmkeep.model.proofs import PointProof
from vmkeep.repository import Repository

log = logging.getLogger(__name__)


def record(repository: Repository, ref: str, checked: Checked, *, by: str, run: str = "") -> PointProof:
    """Keep the outcome of a check with its point, with the time of now.

    :param ref: a full ref.
    :param by: the person, the policy or the DAG that asked for the check; empty: nobody is known.
    :param run: the run that did it; empty: a command did.
    :raises NotFoundError: the point is gone.
    :raises StoreError: the store took no note.
    """
    proof = PointProof(
        kind=checked.kind,
        result=checked.result,
        at=now(),
        run=run,
        by=by,
        text=checked.text,
        details=checked.details,
    )
    return repository.proofs.add(ref, proof, checked.files)


def try_to_record(repository: Repository, ref: str, checked: Checked, *, by: str, run: str = "") -> None:
    """Keep the outcome of a check, for a caller whose work counts in any case. If that fails, a warning says so."""
    try:
        record(repository, ref, checked, by=by, run=run)
    except VmKeepError as error:
        log.warning("%s: the outcome of the check is not kept with the point: %s", ref, error)
