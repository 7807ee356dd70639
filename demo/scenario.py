"""The steps of the demo, through Airflow's REST API; each result is compared with the lab's own disks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.api import AirflowApi
from demo.lab import LabControl
from demo.progress import ProgressLine, describe
from demo.report import Row, backup_rows, restore_rows

VM = "app01"
NEW_VM = "app01-restored"
ROOT, GROUP, RDM, DATA = 2000, 2001, 2016, 16000
"""Device keys of its disks: two of a volume group, the physical-mode RDM, and one of data."""
MIB = 1 << 20
RUN_SECONDS = 600.0
WINDOW = "backup_window_example"
LOOK = "data_quality"


class DemoFailedError(RuntimeError):
    """A run failed, or bytes differ."""


@dataclass
class Scenario:
    """The actors, and what they have done so far."""

    api: AirflowApi
    lab: LabControl
    line: ProgressLine
    check: Callable[[], None]
    """Raises when a component has died."""
    rows: list[Row] = field(default_factory=list)

    def play(self, before: Mapping[int, str]) -> None:
        """Play it all.

        :param before: the hashes of the VM's disks as they are now.
        :raises DemoFailedError: a run did not end as it has to, or a disk is not what it was.
        """
        first = self.back_up("full backup")
        self.compare_point(first, kinds={"full"})
        self.lab.write(VM, DATA, [(64 * MIB, 24 * MIB), (400 * MIB, 8 * MIB + 512), (900 * MIB + 4096, 1536)])
        self.lab.write(VM, ROOT, [(3 * MIB, 100_352)])
        changed = self.lab.hashes(VM)
        self.line.say("the guest wrote some 32 MiB to two disks")
        second = self.back_up("incremental backup")
        self.compare_point(second, kinds={"incremental"})
        self.lab.write(VM, DATA, [(0, 48 * MIB)])
        self.lab.write(VM, GROUP, [(0, 16 * MIB)])
        self.line.say("the guest wrote garbage over two disks")
        self.expect(self.lab.hashes(VM) != changed, "the garbage is on the disks")

        self.restore("restore over", point=first["point"], vm=VM, on_conflict="overwrite")
        self.same_disks(VM, before, "the first point")
        self.restore("restore to new VM", point=second["point"], new_name=NEW_VM)
        self.same_disks(NEW_VM, changed, "the second point", placeholder=True)
        self.open_window()

    def back_up(self, name: str) -> dict[str, Any]:
        """Run ``vm_backup`` and return its ``Sealed``."""
        run, seconds = self._run("vm_backup", name, vm=VM)
        sealed: dict[str, Any] = self.api.xcom("vm_backup", run, "catalog")
        copies = self._mapped("vm_backup", run, "copy_disk")
        self.rows += backup_rows(name, seconds=seconds, copies=copies, sealed=sealed)
        skipped = [disk for disk in self.api.xcom("vm_backup", run, "preflight")["disks"] if disk["skip"]]
        self.expect([disk["skip"] for disk in skipped] == ["physical-rdm"], "the physical RDM, and only it, is skipped")
        self.expect(sealed["disks_skipped"] == 1, "the restore point records the skipped disk")
        self.line.say(
            f"{name}: {sealed['point']}, {sealed['consistency']}; {skipped[0]['label']} skipped (physical RDM)"
        )
        return sealed

    def compare_point(self, sealed: Mapping[str, Any], *, kinds: set[str]) -> None:
        """Check that the backup was of the kind it had to be."""
        self.expect({sealed["kind"]} == kinds, f"it was {', '.join(kinds)}")
        self.expect(sealed["disks_copied"] == 3, "three disks were copied")
        self.expect(not self.lab.snapshots(VM), "no snapshot is left")

    def restore(self, name: str, **params: object) -> dict[str, Any]:
        """Run ``vm_restore`` and return its ``Restored``."""
        run, seconds = self._run("vm_restore", name, **params)
        restored: dict[str, Any] = self.api.xcom("vm_restore", run, "finish")
        self.rows += restore_rows(name, seconds=seconds, writes=self._mapped("vm_restore", run, "write_disk"))
        return restored

    def open_window(self) -> None:
        """Run the window of the policy that comes with vmkeep."""
        self.api.call("PATCH", f"/api/v2/dags/{WINDOW}", {"is_paused": False})
        run, seconds = self._run(WINDOW, "window of a policy")
        self.rows.append(Row(run="window of a policy", task="whole run", seconds=seconds))
        report = self.api.xcom(WINDOW, run, "report")
        self.expect(report["done"] == ["web01"], "the VM of the policy is backed up")
        self.expect(VM in report["unprotected"], "the VM that no policy takes is named")
        unprotected = len(report["unprotected"])
        self.line.say(f"policy {report['policy']}: web01 is backed up; no policy takes {unprotected} other VMs")

    def look_at_fleet(self) -> None:
        """Start the daily look by which the pages know all VMs and repositories. Nobody waits for it."""
        self.api.call("PATCH", f"/api/v2/dags/{LOOK}", {"is_paused": False})
        self.api.trigger(LOOK)

    def same_disks(self, vm: str, wanted: Mapping[int, str], what: str, *, placeholder: bool = False) -> None:
        """Compare every disk of a VM with what it was; in a new VM an empty placeholder stands in for the RDM."""
        found = self.lab.hashes(vm)
        self.expect(found.keys() == wanted.keys(), f"{vm} has its {len(wanted)} disks at the same addresses")
        for key in wanted:
            if placeholder and key == RDM:
                self.expect(found[key] == self.lab.zeros(vm, key), f"{vm} has an empty placeholder for the RDM")
            else:
                self.expect(found[key] == wanted[key], f"every byte of disk {key} of {vm} is as in {what}")
        self.expect(not self.lab.snapshots(vm), f"no snapshot is left on {vm}")
        self.line.say(f"{vm}: all {len(wanted)} disks are as in {what}, byte for byte")

    def expect(self, holds: bool, what: str) -> None:
        """Stop the demo where something is not as it has to be."""
        if not holds:
            raise DemoFailedError(f"this does not hold: {what}")

    def _run(self, dag_id: str, name: str, **params: object) -> tuple[str, float]:
        began = time.monotonic()
        run = self.api.trigger(dag_id, **params)

        def tick(tasks: list[dict[str, Any]]) -> None:
            self.check()
            self.line.show(f"{name}: {describe(tasks)}")

        state = self.api.wait(dag_id, run, seconds=RUN_SECONDS, tick=tick)
        if state != "success":
            raise DemoFailedError(f"{name}: run {run} of {dag_id} {state}\n{self._why(dag_id, run)}")
        return run, time.monotonic() - began

    def _why(self, dag_id: str, run: str) -> str:
        failed = [task for task in self.api.tasks(dag_id, run) if task["state"] == "failed"]
        return "\n".join(f"  {task['task_id']}: {_error(self.api.log(dag_id, task))}" for task in failed)

    def _mapped(self, dag_id: str, run: str, task_id: str) -> list[dict[str, Any]]:
        count = sum(task["task_id"] == task_id for task in self.api.tasks(dag_id, run))
        return [self.api.xcom(dag_id, run, task_id, map_index=index) for index in range(count)]


def _error(log: str) -> str:
    """Return the first error of a task's log, else its end."""
    lines = log.splitlines()
    errors = [line.strip() for line in lines if line.startswith("  ")]
    return errors[0] if errors else "\n    ".join(["", *lines[-8:]])
