"""Helpers of the tests of restores: one restore, step by step, and the hands that change the world in between."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vmkeep.flows import backup, restore
from vmkeep.flows.values import BackupRequest, OnConflict, RestoreRequest
from vmkeep.flows.whole import run_backup
from vmkeep.model.site import Site
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import Session, open_session
from vmkeep.vsphere.tasks import run_task
from vmlab.testing import Lab


def silent(_name):
    return lambda _event: None


def new_run() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def back_up(site: Site, vm: str) -> str:
    """Back up one VM; return its point."""
    request = BackupRequest(vm=vm, run=new_run())
    return run_backup(site, request, bars=silent, announce=lambda _line: None)[0].point


def write(site: Site, job):
    """Write one disk."""
    with restore.write_disk(site, job, on_progress=lambda _: None) as running:
        return running.wait()


@contextmanager
def hands(lab: Lab) -> Iterator[Session]:
    """A session of somebody else."""
    from vmkeep.model.site import VCenter

    vcenter = VCenter(host=lab.host, port=lab.port, user=lab.user, password=lab.password, thumbprint=lab.thumbprint)
    with open_session(vcenter) as session:
        yield session


def reconfigure(lab: Lab, vm: str, spec) -> None:
    """Let somebody else change a VM."""
    with hands(lab) as session:
        managed = session.vm(inventory.find_vm(session, vm).moref)
        run_task(session, lambda: managed.ReconfigVM_Task(spec), what="test", timeout=60)


def power(lab: Lab, vm: str, *, on: bool) -> None:
    """Let somebody else switch a VM."""
    with hands(lab) as session:
        managed = session.vm(inventory.find_vm(session, vm).moref)
        start = (lambda: managed.PowerOnVM_Task(None)) if on else managed.PowerOffVM_Task
        run_task(session, start, what="test", timeout=60)


def rename(lab: Lab, vm: str, name: str) -> None:
    reconfigure(lab, vm, vim.vm.ConfigSpec(name=name))


def devices(lab: Lab, vm: str):
    with hands(lab) as session:
        return session.vm(inventory.find_vm(session, vm).moref).config.hardware.device


def swap_disk(lab: Lab, vm: str, key: int = 2000) -> None:
    """Put another disk of the same size at the place of one."""
    old = next(device for device in devices(lab, vm) if device.key == key)
    spec = vim.vm.device.VirtualDeviceSpec
    reconfigure(lab, vm, vim.vm.ConfigSpec(deviceChange=[spec(operation="remove", device=old)]))
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    new = vim.vm.device.VirtualDisk(
        key=-1, controllerKey=old.controllerKey, unitNumber=old.unitNumber, capacityInKB=old.capacityInKB,
        capacityInBytes=old.capacityInBytes, backing=backing,
    )  # fmt: skip
    reconfigure(lab, vm, vim.vm.ConfigSpec(deviceChange=[spec(operation="add", fileOperation="create", device=new)]))


@dataclass
class Restoring:
    """One restore, step by step, as Airflow's tasks do it."""

    site: Site
    request: RestoreRequest
    plan: object = None
    target: object = None
    jobs: tuple = ()
    writes: list = field(default_factory=list)

    @classmethod
    def over(cls, site: Site, point: str, **options) -> Restoring:
        return cls(
            site,
            RestoreRequest(point=point, run=new_run(), owner="a test", on_conflict=OnConflict.OVERWRITE, **options),
        ).planned()

    @classmethod
    def new(cls, site: Site, point: str, name: str, **options) -> Restoring:
        return cls(site, RestoreRequest(point=point, run=new_run(), owner="a test", new_name=name, **options)).planned()

    def planned(self) -> Restoring:
        self.plan = restore.plan_restore(self.site, self.request)
        return self

    def prepared(self) -> Restoring:
        self.target = restore.prepare_target(self.site, self.plan)
        return self

    def written(self) -> Restoring:
        self.jobs = restore.write_jobs(self.site, self.plan, self.target)
        self.writes = [write(self.site, job) for job in self.jobs]
        return self

    def finish(self):
        return restore.finish_restore(self.site, self.plan, self.target, self.writes)

    def clean_up(self) -> int:
        return restore.clean_up(self.site, self.request.run)


def hold_still(site: Site, vm: str) -> tuple:
    """Begin a backup and stop after its snapshot."""
    request = BackupRequest(vm=vm, run=new_run())
    pre = backup.preflight(site, request)
    return pre, backup.take_snapshot(site, pre)
