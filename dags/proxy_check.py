"""
# Examine the proxies

Examines each backup proxy from its own machine, as `vmkeep doctor` does there.
Ports, VDDK and LVM are those of a machine, so that no other one can tell whether a proxy can copy disks.

| | |
|---|---|
| **Started by** | *Trigger*: after an installation, an upgrade, or a change of network or certificate |
| **Result** | each check with its finding and what to do about it, in the log of `examine_…`; the numbers in `report` |
| **If it fails** | a proxy has a fault: its log says what to do. A task that stays queued has no worker |
| **Safe to re-run** | yes: nothing is changed in a vCenter, and a probe in the repository is removed again |
| **Needs** | connections of types *VMware vSphere* and *vmkeep repository* |

## What the tasks do

| task | |
|---|---|
| `examine_backup_proxy` | certificate, log-in, rights by name, ports of every host, repository, VDDK, LVM |
| `report` | shows the numbers of all proxies in one table, and fails the run if one has a fault |

Each further proxy of Airflow's setting `[vmkeep] proxies` has a task of its own, called like its queue.
"""

from __future__ import annotations

import re
from datetime import timedelta

from airflow.sdk import DAG

from vmkeep_airflow.operators.examine_proxy import ExamineProxyOperator
from vmkeep_airflow.operators.report import ReportOperator
from vmkeep_airflow.params import REPOSITORY, VSPHERE, give_params
from vmkeep_airflow.proxies import proxies

PARAMS = {"vsphere": VSPHERE, "repository": REPOSITORY}

with DAG(
    dag_id="proxy_check",
    dag_display_name="Examine the proxies",
    description="Examines each backup proxy from its own machine, and says what to do",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=False,
    tags=["vmkeep", "installation"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 0},
) as dag:
    examined = [
        ExamineProxyOperator(
            task_id=f"examine_{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}",
            queue=name,
            vsphere_conn_id="{{ params.vsphere }}",
            repository_conn_id="{{ params.repository }}",
            execution_timeout=timedelta(minutes=15),
        )
        for name in proxies()
    ]
    examined >> ReportOperator(
        task_id="report",
        results_of=[task.task_id for task in examined],
        trigger_rule="all_done",  # it shows the good proxies of a run that fails, too
        execution_timeout=timedelta(minutes=5),
    )

    give_params(dag, PARAMS)
