"""CPU seconds that one backup run costs Airflow when nothing has changed on the VM, by who spends them.

    python -m bench.airflow_run [--runs N] [--encrypt | --empty]

Starts the simulated vSphere and the demo's Airflow, backs one VM up N times, one run after the other, and reads what
each component and all of its children, ended ones included, have used. What an idle Airflow uses in the same time is
measured first and taken off. ``--empty`` runs nine tasks that do nothing instead: the part that is Airflow's own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import psutil

from bench.scale.processes import of_children, own
from demo.airflow_home import AirflowHome
from demo.airflow_processes import AirflowProcesses, running_airflow
from demo.api import FINAL, AirflowApi
from demo.lab import Lab
from vmkeep.repository import create_encrypted_repository, create_repository

VM = "web01"
EMPTY = """
from airflow.sdk import DAG, BaseOperator, chain

class Nothing(BaseOperator):
    def execute(self, context):
        return {}

with DAG(dag_id="vm_backup", schedule=None, is_paused_upon_creation=False, params={"vm": ""}):
    chain(*(Nothing(task_id=f"task_{number}") for number in range(9)))
"""
"""A DAG with as many tasks as the backup of a VM with one disk."""
IDLE_SECONDS = 20.0
ASK_SECONDS = 3.0
"""Asking costs the API server CPU seconds, too."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--encrypt", action="store_true", help="an encrypted repository, opened by a passphrase")
    parser.add_argument("--empty", action="store_true", help="tasks that do nothing, in place of a backup")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # because a site keeps compiled modules
    with tempfile.TemporaryDirectory(prefix="vmkeep-bench-") as folder:
        if options.empty:
            measure_empty(Path(folder), runs=options.runs)
            return
        measure(Path(folder), runs=options.runs, passphrase="correct horse" if options.encrypt else None)


def measure(folder: Path, *, runs: int, passphrase: str | None) -> None:
    """Start everything in a folder, measure, print, and stop everything."""
    lab = Lab(folder / "lab", options=["--data-disk-gib", "0.25"], env=os.environ)
    lab.start()
    try:
        make_repository(str(folder / "repo"), passphrase)
        connections: dict[str, dict[str, object]] = {
            "vsphere_default": lab.wait_ready().connection(),
            "vmkeep_default": {"conn_type": "vmkeep", "host": str(folder / "repo"), "password": passphrase},
        }
        home = AirflowHome(folder / "airflow", connections=connections)
        home.prepare()
        with running_airflow(home) as airflow:
            airflow.wait_ready()
            report(airflow, runs=runs)
    finally:
        lab.stop()


def measure_empty(folder: Path, *, runs: int) -> None:
    """Measure tasks that do nothing."""
    (folder / "dags").mkdir()
    (folder / "dags" / "vm_backup.py").write_text(EMPTY)
    home = AirflowHome(folder / "airflow")
    home.set("core", "dags_folder", folder / "dags")
    home.prepare()
    with running_airflow(home) as airflow:
        airflow.wait_ready()
        report(airflow, runs=runs)


def make_repository(location: str, passphrase: str | None) -> None:
    """Make a repository, an encrypted one where there is a passphrase."""
    if passphrase is None:
        create_repository(location)
    else:
        create_encrypted_repository(location, passphrase=passphrase)


def report(airflow: AirflowProcesses, *, runs: int) -> None:
    """Run backups and print a table."""
    api = AirflowApi(airflow.home.url, user=airflow.home.user, password=airflow.home.password)
    while not api.knows("vm_backup"):
        time.sleep(0.5)
    for _ in range(2):  # the first is a full backup, and both fill caches
        back_up(api)
    before = used(airflow)
    time.sleep(IDLE_SECONDS)
    idle = {name: (cpu - before[name]) / IDLE_SECONDS for name, cpu in used(airflow).items()}
    before, began = used(airflow), time.monotonic()
    for _ in range(runs):
        back_up(api)
    seconds = time.monotonic() - began
    total = 0.0
    for name, cpu in used(airflow).items():
        spent = (cpu - before[name] - idle[name] * seconds) / runs
        total += spent
        print(f"{name:<16} {spent:6.2f} CPU s per run (idle: {idle[name]:.3f} per second)")
    print(f"{'all':<16} {total:6.2f} CPU s per run, which took {seconds / runs:.1f} s")


def back_up(api: AirflowApi) -> None:
    """Back the VM up."""
    run = api.trigger("vm_backup", vm=VM)
    while (state := api.state("vm_backup", run)) not in FINAL:
        time.sleep(ASK_SECONDS)
    assert state == "success", [(task["task_id"], task["state"]) for task in api.tasks("vm_backup", run)]


def used(airflow: AirflowProcesses) -> dict[str, float]:
    """Return the CPU seconds of each component so far; those of tasks, which the scheduler starts, apart from it."""
    spent: dict[str, float] = {}
    for name, component in airflow.components.items():
        process = psutil.Process(component.pid)
        children = of_children(process)
        if name == "scheduler":
            spent["tasks"] = children
            children = 0.0
        spent[name] = own(process) + children
    return spent


if __name__ == "__main__":
    main()
