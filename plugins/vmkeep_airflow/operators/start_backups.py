"""Starts the backups of a window."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from vmkeep.clock import now
from vmkeep.errors import CancelledError, Recovery, UnsupportedError
from vmkeep.model.job import to_plain
from vmkeep.policy import Due, Policy
from vmkeep_airflow.causes import BACKUP, causes_of
from vmkeep_airflow.dagruns import DagRunId, clears_of, result_of_run, start_dag_run, state_of
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.limitwatch import KEY as LIMITS
from vmkeep_airflow.limitwatch import LimitWatch
from vmkeep_airflow.xcoms import handed

if TYPE_CHECKING:
    from vmkeep.flows.windows import WindowPlan
    from vmkeep.model.limits import Usage
    from vmkeep_airflow.windowruns import Failure

_TASKS = ("preflight", "snapshot", "plan_disks", "copy_disk", "catalog", "remove_snapshot", "verify")
"""The tasks of a backup that leave the cause of their failure."""
_PAUSE_SECONDS = 5.0
"""Time between two looks at the runs."""


class StartBackupsOperator(BaseOperator):
    """Start one run of ``vm_backup`` for each VM of a window, and wait for them.

    As many run at the same time as the policy allows. None starts once the window has closed. The task ends when all
    have ended, or a day later, or when the next window opens. It may be tried again at any time, because a run's id
    names the VM and the window. A backup that failed is started once more if that can heal it. If somebody clears this
    task, all backups that failed are started again.

    While it waits, the XCom ``limits`` shows who uses each limit of the repository, and who waits for it.

    :param policy: the policy.
    :param plan: the ``WindowPlan``, from ``plan``. Templated.
    :returns: the outcome of each VM's backup, as dicts.
    """

    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, policy: Policy, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.policy = policy
        self.plan = plan
        self._stopped = threading.Event()

    @leaving_reason
    def execute(self, context: Context) -> Any:
        """Start and follow the runs."""
        from vmkeep.flows.windows import WindowPlan

        plan = handed(self.plan, WindowPlan, by="plan")
        if plan.due in (Due.SUPERSEDED, Due.MISSED):
            return {"outcomes": []}
        return self._run(plan, context)

    def on_kill(self) -> None:
        """Stop at the next look; runs that have started go on."""
        self._stopped.set()

    def _run(self, plan: WindowPlan, context: Context) -> dict[str, Any]:
        from vmkeep_airflow.windowruns import WindowRuns, give_up_at

        ti: Any = context["ti"]
        if ti.get_dag(BACKUP).is_paused:
            raise UnsupportedError(f"the DAG {BACKUP} is paused, so that no backup would begin: switch it on")
        clears = clears_of(context)
        window = WindowRuns(self.policy, plan, _AirflowRuns(ti), log=self.log.info, clears=clears)
        if ti.try_number > 1 or clears:
            window.recover()
        watch = LimitWatch(
            partial(_usages, self.policy.repository),
            push=partial(ti.xcom_push, LIMITS),
            log=self.log.info,
            begun=now(),
        )
        while not window.step(now()) and now() < give_up_at(plan):
            self.log.info("%s", window)
            watch.look(now())
            if self._stopped.wait(_PAUSE_SECONDS):
                raise CancelledError("the task was told to stop; backups that it started go on")
        return {"outcomes": to_plain(window.outcomes())}


def _usages(repository_conn_id: str) -> list[Usage]:
    from vmkeep.flows.repositories import open_site_repository
    from vmkeep_airflow.site import repository_site

    with open_site_repository(repository_site(repository_conn_id)) as repository:
        return repository.usages()


class _AirflowRuns:
    """The runs of ``vm_backup`` in this Airflow."""

    def __init__(self, ti: Any) -> None:
        self._ti = ti

    def start(self, run_id: str, conf: dict[str, Any], note: str) -> str | None:
        return start_dag_run(DagRunId(dag_id=BACKUP, run_id=run_id), conf=conf, note=note)

    def state(self, run_id: str) -> str | None:
        return state_of(self._ti, DagRunId(dag_id=BACKUP, run_id=run_id))

    def failure(self, run_id: str) -> Failure | None:
        from vmkeep_airflow.windowruns import Failure

        causes = causes_of(self._ti, DagRunId(dag_id=BACKUP, run_id=run_id), _TASKS)
        if not causes:
            return None
        heals = all(cause.recovery is not Recovery.STOP for cause in causes)
        return Failure(why="; ".join(cause.why for cause in causes), heals=heals)

    def lies(self, run_id: str) -> int:
        sealed = result_of_run(self._ti, DagRunId(dag_id=BACKUP, run_id=run_id), "catalog")
        return int(sealed.get("lies") or 0)
