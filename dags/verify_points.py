"""
# Verify restore points

Checks restore points of your choice, in parallel on the proxies, and keeps the outcome of each check with its point.
No VM is asked, and nothing of it changes.

| | |
|---|---|
| **Started by** | *Trigger* in this UI, or the REST API; `verify_points_NAME` does it after the backups of a policy |
| **Result** | a proof for each point, kept with it: `vmkeep point show`, `vmkeep vm proved` |
| **If it fails** | a point did not pass, or could not be checked; the task `verify` of its VM says why |
| **Safe to re-run** | yes: a retry does only checks that are not done yet; a cleared run does all of them anew |
| **Needs** | a connection of type *vmkeep repository* (Admin > Connections); QEMU on the proxies for boots |

## What the tasks do

| task | |
|---|---|
| `choose` | finds the points: those that are named, or the newest one of each VM that fits the selector |
| `verify` | checks one point on a proxy, and keeps the outcome of each check with it |
| `close_run` | fails the run unless every point passed or was undecided |

docs/operations/proofs.md tells what each level proves.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from vmkeep_airflow.operators.choose_points import ChoosePointsOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.verify_point import VerifyPointOperator
from vmkeep_airflow.params import PROXY, REPOSITORY, give_params, optional_lines, optional_text
from vmkeep_airflow.proxies import BACKUP_PROXY

LEVELS = ("written", "all", "file-systems", "boot")

PARAMS = {
    "points": optional_lines(
        title="Restore points",
        description="One of these two fields is needed, and not both. One per line: its ref, the beginning of its id, "
        "or latest: with a VM's name, e.g. latest:app01.",
    ),
    "selector": optional_text(
        title="Or VMs",
        description="Instead of points, a selector: the newest point of each VM that fits is verified. E.g. name:db* "
        "and not folder:Test. name:* verifies that of each VM.",
    ),
    "levels": Param(
        ["all"],
        type="array",
        items={"type": "string", "enum": list(LEVELS)},
        examples=list(LEVELS),
        minItems=1,
        title="Checks",
        description="written: 5% of the blocks are read; all: every block; file-systems: partitions, LVM and the heads "
        "of file systems; boot: the point starts in QEMU, without a network.",
    ),
    "boot_seconds": Param(
        600,
        type="integer",
        minimum=10,
        maximum=86400,
        title="Seconds for a boot",
        description="The longest wait for a sign that the system is up.",
    ),
    "boot_signs": Param(
        ["login", "screen"],
        type="array",
        items={"type": "string", "minLength": 1},
        minItems=1,
        title="Signs",
        description="What a boot has to show: login, screen (a picture that stands still), or a text.",
    ),
    "proxy": PROXY,
    "repository": REPOSITORY,
}

with DAG(
    dag_id="verify_points",
    dag_display_name="Verify restore points",
    description="Checks restore points of your choice, and keeps the outcome of each check with its point",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["vmkeep", "proof"],
    max_active_runs=16,
    default_args={"owner": "vmkeep", "retries": 2, "retry_exponential_backoff": 2.0},
) as dag:
    chosen = ChoosePointsOperator(
        task_id="choose",
        request={name: dag.param(name) for name in PARAMS if name not in {"proxy", "repository"}},
        execution_timeout=timedelta(minutes=30),
        repository_conn_id="{{ params.repository }}",
    )
    verified = VerifyPointOperator.partial(
        task_id="verify",
        map_index_template="{{ task.job['name'] }}",
        pool=BACKUP_PROXY,
        queue=BACKUP_PROXY,
        execution_timeout=timedelta(hours=48),
        repository_conn_id="{{ params.repository }}",
    ).expand(job=chosen.output)
    closed = CloseRunOperator(
        task_id="close_run", result_task_id="choose", retries=0, execution_timeout=timedelta(minutes=30)
    ).as_teardown(on_failure_fail_dagrun=True)

    chosen >> verified >> closed

    give_params(dag, PARAMS)
