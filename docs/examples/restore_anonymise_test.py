"""
# Restore, anonymise, test

Makes a copy of a VM from its newest restore point in an isolated network, takes the personal data out of the copy,
tests it, and writes its disks as files for those who need realistic data.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or a schedule of yours |
| **Result** | the copy's disks as qcow2 files in the folder or bucket of `OUT` |
| **If it fails** | the copy is removed; nothing was exported, or the log of `export` says what |
| **Safe to re-run** | yes: each run makes a copy of its own, and the original is never touched |
| **Needs** | a network that is isolated, VMware Tools in the guest, and three connections (Admin > Connections) |

This is an example: copy the file into a DAG folder, and change the lines in capitals.
`SITE` names the connections to vSphere and to the repository, and `GUEST` one of type *VMware guest user*:
a user who may run both commands in the guest, and the password.

## What the tasks do

| task | |
|---|---|
| `recover` | restores the newest good point as a drill: a new name, new identities, all cards in the isolated network |
| `anonymise` | runs the command in the guest of the copy; the guest never needs a network for that |
| `test` | runs a second command, which fails if personal data is left or the application does not work |
| `backup` | backs the copy up as it is now, because an export is made of a restore point |
| `export` | writes that point as files |
| `clean_up` | removes the copy, whatever happened before |
| `report` | fails the run unless every task before ended well |

`anonymise` and `test` can meet only the VM that this run has made: the journal of the drill has to know it, and it has
to carry the mark of the drill. So no mistake in a name can lead them to the original.

The point of the copy stays in the repository under the copy's name, e.g. `drill-app01`, until its retention or
`vmkeep point delete` removes it.
To hand over a VM instead of files, let `clean_up` and `export` go, and take the setting `vmkeep.drill` off the copy.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from vmkeep_airflow.operators.recover_site import CleanUpDrillOperator, RecoverSiteOperator
from vmkeep_airflow.operators.report import ReportOperator
from vmkeep_airflow.operators.run_in_drill import RunInDrillOperator
from vmkeep_airflow.proxies import BACKUP_PROXY

PLAN = """
name: anonymise
drill:
  network: Isolated
  rename: drill-{name}
groups:
  - name: copies
    selection: name:app01
    power: on
    probes: {tools: true, within: 900}
"""
ANONYMISE = "/opt/test/anonymise"
TEST = "/opt/test/is-anonymous"
GUEST = "guest_default"
OUT = "/srv/exports/anonymous"
SITE = {"vsphere_conn_id": "vsphere_default", "repository_conn_id": "vmkeep_default"}


def backup_of(tested: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a backup of a copy."""
    return {"vm": f"moref:{tested['moref']}"}


def export_of(tested: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an export of the newest point of a copy."""
    return {"point": f"latest:{tested['vm']}", "format": "qcow2", "out": OUT, "overwrite": True}


with DAG(
    dag_id="restore_anonymise_test",
    dag_display_name="Restore, anonymise, test",
    description="Makes a copy of a VM without personal data, and exports its disks",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "example"],
    max_active_runs=1,
    default_args={"owner": "vmkeep", "retries": 0, "execution_timeout": timedelta(hours=2)},
) as dag:
    recovered = RecoverSiteOperator(
        task_id="recover", plan=PLAN, drill=True, keep=True, approved=["all"],
        queue=BACKUP_PROXY, pool=BACKUP_PROXY, retries=2, execution_timeout=timedelta(hours=24), **SITE,
    )  # fmt: skip
    anonymised = RunInDrillOperator.partial(
        task_id="anonymise", command=ANONYMISE, guest=GUEST, seconds=3600, **SITE
    ).expand(outcome=recovered.output)
    tested = RunInDrillOperator.partial(task_id="test", command=TEST, guest=GUEST, **SITE).expand(
        outcome=recovered.output
    )
    triggered = {"wait_for_completion": True, "poke_interval": 10, "execution_timeout": timedelta(hours=48)}
    backed_up = TriggerDagRunOperator.partial(task_id="backup", trigger_dag_id="vm_backup", **triggered).expand(
        conf=tested.output.map(backup_of)
    )
    exported = TriggerDagRunOperator.partial(task_id="export", trigger_dag_id="export_point", **triggered).expand(
        conf=tested.output.map(export_of)
    )
    cleaned = CleanUpDrillOperator(task_id="clean_up", drill=True, trigger_rule="all_done", retries=5, **SITE)
    reported = ReportOperator(task_id="report", results_of=["clean_up"], trigger_rule="all_done")

    recovered >> anonymised >> tested >> backed_up >> exported >> cleaned >> reported
