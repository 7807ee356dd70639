"""Scans a restore point for malware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.errors import VmKeepError
from vmkeep.policy import MalwareScan
from vmkeep_airflow.dagruns import own_dag_run
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import RepositoryOperator
from vmkeep_airflow.progress import describe_share

if TYPE_CHECKING:
    from vmkeep.flows.stopping import Stop


class ScanPointOperator(RepositoryOperator):
    """Scan the files of a point by the scanners of this proxy, and keep the outcome with the point.

    The task fails if malware is found, or if a part of the point cannot be scanned. Safe to retry: a retry scans again.

    :param scan: point and VM, as ``ChooseScansOperator`` gives them. Templated.
    :param rule: ``changed`` or ``all``. Templated.
    :returns: point, VM, scope, result, and the numbers of files that were scanned, left out, and found.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*RepositoryOperator.template_fields, "scan", "rule")

    def __init__(self, *, scan: Any, rule: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scan = scan
        self.rule = rule
        self._stop: Stop | None = None

    def step(self, context: Context) -> Any:
        """Scan the point, and follow the progress of each volume."""
        from vmkeep.flows.malware import ScanWish, open_point_scanner, require_clean
        from vmkeep.flows.repositories import open_site_repository
        from vmkeep.flows.stopping import Stop
        from vmkeep_airflow.scanners import own_scanners

        self._stop = Stop()
        owner = own_dag_run(context["ti"])
        with (
            open_site_repository(self.site()) as repository,
            open_point_scanner(
                repository,
                own_scanners(),
                check=self._stop.check,
                by=f"DAG {owner.dag_id}",
                run=owner.run_key(context["ti"].try_number),
            ) as scanner,
        ):
            scanned = scanner.scan(
                self.scan["point"],
                ScanWish(changed=MalwareScan(self.rule) is MalwareScan.CHANGED),
                on_progress=lambda volume: self.lines(volume, describe_share, in_bytes=False),
            )
        self.warn(scanned.warnings)
        for facts in scanned.scanners:
            self.log.info("%s", facts.line)
        for found in scanned.findings:
            self.log.error("%s:%s: %s (%s)", found.volume, found.path, found.signature, found.scanner)
        for left in scanned.unscanned:
            self.log.warning("not scanned: %s:%s: %s", left.volume, left.path, left.why)
        self.log.info("%s: %s", scanned.point, scanned.line)
        result = {
            "point": scanned.point,
            "vm": scanned.vm,
            "scope": str(scanned.scope),
            "since": scanned.since,
            "result": str(scanned.result),
            "files": scanned.files,
            "not_scanned": scanned.left,
            "found": scanned.found,
            "checks": [{"kind": "malware", "result": str(scanned.result), "text": scanned.line}],
            "duration_seconds": round(scanned.seconds, 3),
        }
        try:
            require_clean((scanned,))
        except VmKeepError:
            # Pushed by hand, because Airflow keeps no result of a task that raises.
            context["ti"].xcom_push(key="return_value", value=result)
            raise
        return result

    def on_kill(self) -> None:
        """Stop the scan. Nothing is kept of it."""
        if self._stop is not None:
            self._stop.ask()
