"""
# Remove leftover snapshots

A worker that dies while it takes a snapshot cannot remove it again. This finds the snapshots that vmkeep took and that
no living run needs, on every VM of a vCenter, and removes them.

| | |
|---|---|
| **Started by** | its schedule, every 30 minutes, once it is switched on; or *Trigger* |
| **If it fails** | vCenter or the repository did not answer, or a snapshot could not be removed: see the log |
| **Safe to re-run** | yes |
| **Needs** | a connection of type *VMware vSphere* and one of type *vmkeep repository* (Admin > Connections) |

## How it knows

Every snapshot carries the key of its run. The repository knows which DAG run that is, and Airflow whether it has ended:
then, and only then, `sweep` removes the snapshot. A run that this Airflow does not know (of the command line, say) is
left alone as long as its copies show signs of life, and for a time after that.
Other snapshots are never touched.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.operators.sweep_snapshots import SweepSnapshotsOperator
from vmkeep_airflow.params import REPOSITORY, VSPHERE

PARAMS = {
    "given_up_after_hours": Param(
        48,
        type="number",
        minimum=1,
        title="Give up after (hours)",
        description="Age at which a silent snapshot of a run that this Airflow does not know is removed.",
    ),
    "vsphere": VSPHERE,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="snapshot_sweep",
    dag_display_name="Remove leftover snapshots",
    description="Removes vmkeep's snapshots that no living run needs",
    doc_md=__doc__,
    schedule="*/30 * * * *",
    catchup=False,
    is_paused_upon_creation=True,
    params=PARAMS,
    tags=["vmkeep", "maintenance"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 2, "execution_timeout": timedelta(hours=5)},
) as dag:
    SweepSnapshotsOperator(
        task_id="sweep",
        given_up_after_hours=dag.param("given_up_after_hours"),
        vsphere_conn_id="{{ params.vsphere }}",
        repository_conn_id="{{ params.repository }}",
    )
