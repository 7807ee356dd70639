"""
# Back up the configurations of ESXi hosts

Has each host make the bundle of its configuration, and keeps it as a restore point of its own kind.
With it a host that died is set up again under the same build of ESXi, with its network, storage and certificates.
No VM is touched.

| | |
|---|---|
| **Started by** | its schedule, every day at 04:00, once it is switched on; or *Trigger* |
| **Result** | the points, and each host that was not backed up with its reason: log and XCom of `report` |
| **If it fails** | see the log of `back_up_hosts`: hosts that are disconnected, in lockdown or without a right |
| **Safe to re-run** | yes: a retry takes only the hosts that the run has not yet backed up |
| **Needs** | connections of types *VMware vSphere* and *vmkeep repository*; the right `Host.Config.Firmware` |

## What the tasks do

| task | |
|---|---|
| `back_up_hosts` | fetches the bundle of every host, checks it and seals it; a host that fails stops no other |
| `report` | shows in one table what was done, and fails the run if a host was not backed up |

`vmkeep host list` lists the points with the build that each belongs to, and `vmkeep host export` writes one to a file.
docs/operations/esxi-hosts.md tells how a host is restored from it.
The repository's retention rule counts the points of each host for themselves.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from vmkeep_airflow.operators.back_up_hosts import BackUpHostsOperator
from vmkeep_airflow.operators.report import ReportOperator
from vmkeep_airflow.params import PROXY, REPOSITORY, VSPHERE, give_params, optional_lines
from vmkeep_airflow.proxies import BACKUP_PROXY

PARAMS = {
    "hosts": optional_lines(
        title="Hosts", description="Names of the hosts, one in each line. Empty: all hosts that the user may see."
    ),
    "proxy": PROXY,
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="host_config_backup",
    dag_display_name="Back up the configurations of ESXi hosts",
    description="Keeps the configuration of each ESXi host as a restore point",
    doc_md=__doc__,
    schedule="0 4 * * *",
    catchup=False,
    is_paused_upon_creation=True,
    tags=["vmkeep", "backup"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 2, "retry_exponential_backoff": 2.0},
) as dag:
    backed_up = BackUpHostsOperator(
        task_id="back_up_hosts",
        queue=BACKUP_PROXY,  # because a proxy reaches the hosts
        hosts=dag.param("hosts"),
        vsphere_conn_id="{{ params.vsphere }}",
        repository_conn_id="{{ params.repository }}",
        execution_timeout=timedelta(hours=6),
    )
    reported = ReportOperator(
        task_id="report",
        results_of=["back_up_hosts"],
        trigger_rule="all_done",  # it shows the good results of a run that fails, too
        retries=0,
        execution_timeout=timedelta(minutes=5),
    )

    backed_up >> reported

    give_params(dag, PARAMS)
