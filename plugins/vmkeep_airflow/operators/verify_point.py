"""Checks one restore point, and keeps the outcomes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.errors import VerificationError, VmKeepError
from vmkeep.model.job import from_plain
from vmkeep.model.proofs import ProofResult
from vmkeep.model.wording import counted
from vmkeep_airflow.dagruns import clears_of, own_dag_run
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import RepositoryOperator

if TYPE_CHECKING:
    from vmkeep.flows.policy_checks import CheckJob
    from vmkeep.flows.stopping import Stop
    from vmkeep.model.proofs import PointProof


class VerifyPointOperator(RepositoryOperator):
    """Do the checks of a point one after the other, the cheapest first. Each outcome becomes a proof of the point.

    Then keep the names of its files, if the job says so.

    Safe to retry: a check whose outcome this run has kept is not done again. A check that fails ends the task without a
    retry, after all other checks of the point were done.

    :param job: a ``CheckJob`` as a dict. Templated.
    :returns: the point, the VM, kind, result and text of each check, and the number of ``files`` whose names are kept.
    :raises AirflowFailException: a check failed.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*RepositoryOperator.template_fields, "job")

    def __init__(self, *, job: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self._stop: Stop | None = None

    def step(self, context: Context) -> Any:
        """Check the point, and log each outcome."""
        from vmkeep.flows.policy_checks import CheckJob, do_checks, index_files_of
        from vmkeep.flows.repositories import open_site_repository
        from vmkeep.flows.stopping import Stop

        job = from_plain(CheckJob, self.job)
        own = own_dag_run(context["ti"])
        self._stop = Stop()
        proofs: list[PointProof] = []
        files = None
        try:
            with open_site_repository(self.site()) as repository:
                for proof in do_checks(
                    repository,
                    job,
                    by=f"DAG {own.dag_id}",
                    run=own.run_key(clears_of(context)),
                    bars=self.lines,
                    tell=self._tell,
                    check=self._stop.check,
                ):
                    self._log(proof)
                    proofs.append(proof)
                if job.file_index:
                    files, left = index_files_of(repository, job, tell=lambda line: self._tell(line, True))
                    self.warn(left)
                    self.log.info("names of %s kept with the point", counted(files, "file"))
            self._require_passed(job, proofs)
        except VmKeepError:
            # Pushed by hand, because Airflow keeps no result of a task that raises. A check that cannot be done must
            # not hide one that failed before it.
            if any(proof.result is ProofResult.FAILED for proof in proofs):
                context["ti"].xcom_push(key="return_value", value=_result(job, proofs, files))
            raise
        return _result(job, proofs, files)

    def _require_passed(self, job: CheckJob, proofs: list[PointProof]) -> None:
        """Return if no check failed.

        :raises VerificationError: one did.
        """
        failed = [proof for proof in proofs if proof.result is ProofResult.FAILED]
        if failed:
            told = "; ".join(f"{proof.kind}: {proof.text}" for proof in failed)
            raise VerificationError(f"{job.name}, restore point {job.point}, did not pass: {told}")

    def on_kill(self) -> None:
        """Stop the check. It leaves no proof."""
        if self._stop is not None:
            self._stop.ask()

    def _tell(self, line: str, warning: bool) -> None:
        if warning:
            self.log.warning("%s", line)

    def _log(self, proof: PointProof) -> None:
        log = self.log.info if proof.passed else self.log.warning
        log("%s %s: %s", proof.kind, proof.result, proof.text)


def _result(job: CheckJob, proofs: list[PointProof], files: int | None) -> dict[str, Any]:
    return {
        "point": job.point,
        "vm": job.name,
        "checks": [{"kind": proof.kind, "result": proof.result, "text": proof.text} for proof in proofs],
        "files": files,
    }
