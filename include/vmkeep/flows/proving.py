"""Keeps the outcomes of checks as proofs with their points."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from vmkeep.blobs import Bytes
from vmkeep.clock import now
from vmkeep.errors import NotFoundError, VmKeepError
from vmkeep.flows.check_values import Checked
from vmkeep.model.proofs import PointProof, ProofResult
from vmkeep.repository import Repository

log = logging.getLogger(__name__)


def keep(repository: Repository, ref: str, proof: PointProof, files: Mapping[str, Bytes] | None = None) -> PointProof:
    """Keep a proof with its point, and return it with all fields. A failure is returned even if it cannot be kept.

    Its text then says so, because a store that is full or read-only must not hide what a check has found.

    :param ref: a full ref.
    :param files: see :meth:`~vmkeep.repository.PointProofs.add`.
    :raises NotFoundError: the point is gone.
    :raises VmKeepError: the proof tells of no failure, and cannot be kept. The message tells its outcome, too.
    """
    try:
        return repository.proofs.add(ref, proof, files)
    except NotFoundError:
        raise
    except VmKeepError as error:
        unkept = f"this is not kept with the point: {error}"
        if proof.result is ProofResult.FAILED:
            log.warning("%s: %s", ref, unkept)
            return replace(proof, point=ref, text=f"{proof.text}; {unkept}")
        error.args = (f"{ref}: {proof.kind} {proof.result}: {proof.text}; {unkept}",)
        raise


def record(repository: Repository, ref: str, checked: Checked, *, by: str, run: str = "") -> PointProof:
    """Keep the outcome of a check with its point, with the time of now.

    :param ref: a full ref.
    :param by: the person, the policy or the DAG that asked for the check; empty: nobody is known.
    :param run: the run that did it; empty: a command did.
    :raises VmKeepError: as :func:`keep` raises it.
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
    return keep(repository, ref, proof, checked.files)


def try_to_record(repository: Repository, ref: str, checked: Checked, *, by: str, run: str = "") -> None:
    """Keep the outcome of a check, for a caller whose work counts in any case. If that fails, a warning says so."""
    try:
        record(repository, ref, checked, by=by, run=run)
    except VmKeepError as error:
        log.warning("%s: the outcome of the check is not kept with the point: %s", ref, error)
