"""``python -m demo``: start a lab and an Airflow, play the scenario, print the table, stay until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo.airflow_home import ROOT, AirflowHome
from demo.airflow_processes import AirflowProcesses
from demo.api import AirflowApi
from demo.instance import DemoRunsError, Instance
from demo.lab import Lab
from demo.processes import STOPPING, ComponentDiedError
from demo.progress import ProgressLine
from demo.report import print_table
from demo.scenario import VM, DemoFailedError, Scenario

_EPILOG = (
    "Variables AIRFLOW__VMKEEP__…, AIRFLOW__METRICS__… and AIRFLOW__SMTP__… are passed on to Airflow, "
    "e.g. AIRFLOW__VMKEEP__SECOND_PERSON=True make demo. All others of Airflow's are not."
)
FOLDER = ROOT / "var" / "demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, or stop one that runs; return the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__, epilog=_EPILOG)
    parser.add_argument("--once", action="store_true", help="stop by itself; exit code 1 if anything differs")
    parser.add_argument("--keep", action="store_true", help="keep var/demo/ (repository, lab, logs) at the end")
    parser.add_argument("--dir", type=Path, default=FOLDER, help="folder to work in; emptied first")
    parser.add_argument("--stop", action="store_true", help="stop a demo that was left running")
    options = parser.parse_args(arguments)
    folder: Path = options.dir.resolve()
    instance = Instance(folder.with_name(f"{folder.name}.pid"))
    if options.stop:
        print("demo stopped" if instance.stop() else "no demo is running")
        return 0
    for number in STOPPING:
        signal.signal(number, _leave)
    try:
        with instance.claimed():
            return _run(folder, once=options.once, keep=options.keep)
    except DemoRunsError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # it came while the end of the demo was being told
        return 130


def _leave(_number: int, _frame: FrameType | None) -> None:
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)  # nothing may interrupt the clearing up
    raise KeyboardInterrupt


def _run(folder: Path, *, once: bool, keep: bool) -> int:
    line = ProgressLine()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outcome = 130
    try:
        with ExitStack() as stack:
            check, address, scenario = _play(stack, line, folder)
            outcome = 0
            if not once:
                scenario.look_at_fleet()
                line.say("DAG data_quality looks at the fleet now, for the pages Fleet, Policies and Repositories")
                line.say("a policy that you put into include/policies becomes a DAG within 90 s")
                line.say(f"look around at {address}; Ctrl-C or 'make demo-stop' ends it")
                line.say("with the same password, 'second' is a second person who may answer, and 'viewer' only looks")
                _stay(check)
    except KeyboardInterrupt:
        line.say("stopped")
    except (ComponentDiedError, DemoFailedError, TimeoutError, RuntimeError) as error:
        outcome = 1
        line.say(f"FAILED: {error}")
        line.say(f"logs: {folder}")
    if outcome != 1 and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _stay(check: Callable[[], None]) -> None:
    while True:
        check()
        time.sleep(1)


def _play(stack: ExitStack, line: ProgressLine, folder: Path) -> tuple[Callable[[], None], str, Scenario]:
    """Start everything, play the scenario; return what tells whether everything still runs, and where Airflow is."""
    line.show("starting the lab and Airflow")
    lab = Lab(folder / "lab", options=["--data-disk-gib", "1"], env=os.environ)
    stack.callback(lab.stop)
    lab.start()
    home = AirflowHome(folder / "airflow")
    home.pass_on(os.environ)
    home.set("dag_processor", "min_file_process_interval", 60)  # so that a visitor can try policies of their own
    home.prepare()
    airflow = AirflowProcesses(home)
    stack.callback(airflow.stop)
    airflow.start()

    def check() -> None:
        lab.component.check()
        airflow.check()

    repository = folder / "repository"
    _create_repository(repository)
    line.show("waiting for the lab")
    vsphere = lab.wait_ready().connection()
    line.show("waiting for Airflow")
    check()
    control = lab.control()
    before = control.hashes(VM)  # takes seconds that Airflow needs to start anyway
    airflow.wait_ready()
    api = AirflowApi(home.url, user=home.user, password=home.password)
    api.connect("vsphere_default", vsphere)
    catalog = f"sqlite:///{folder / 'catalog.db'}"
    api.connect("vmkeep_default", {"conn_type": "vmkeep", "host": str(repository), "extra": {"catalog": catalog}})
    while not (api.knows("vm_backup") and api.knows("vm_restore")):
        check()
        time.sleep(0.2)
    address = f"{home.url}, user {home.user}, password {home.password}"
    line.say(f"Airflow is at {address}")
    scenario = Scenario(api=api, lab=control, line=line, check=check)
    try:
        scenario.play(before)
    finally:
        if scenario.rows:
            line.say("")
            print_table(scenario.rows, Console(width=None if sys.stdout.isatty() else 110))
    line.say("everything is as it has to be")
    return check, address, scenario


def _create_repository(folder: Path) -> None:
    from vmkeep.flows import repositories

    repositories.create(str(folder), block_size=1 << 18, compression="zstd")


if __name__ == "__main__":
    sys.exit(main())
