"""Helpers of the tests of backups and restores: a whole one, one step by step, and hands that change the world."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.patience import HANG
from vmkeep.flows import backup, restore
from vmkeep.flows.backup_values import BackupRequest, Sealed
from vmkeep.flows.complete_runs import run_backup, run_restore
from vmkeep.flows.restore_request import OnConflict, RestoreRequest, make_request
from vmkeep.flows.restore_values import Restored
from vmkeep.flows.sweep import Finding, Kind, SweepWishes, run_sweep
from vmkeep.images import export_image
from vmkeep.model.job import WriteJob
from vmkeep.model.site import Site, VCenter
from vmkeep.repository import open_repository
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import Session, open_session
from vmkeep.vsphere.tasks import run_task
from vmlab.testing import Lab


def vcenter_of(lab: Lab) -> VCenter:
    return VCenter(host=lab.host, port=lab.port, user=lab.user, password=lab.password, thumbprint=lab.thumbprint)


def site_of(lab: Lab, repository: object) -> Site:
    """The site that joins a lab and a repository."""
    return Site(repository=str(repository), vcenter=vcenter_of(lab), vddk=str(lab.vddk))


def silent(_name: str) -> Callable[[object], None]:
    return lambda _event: None


def new_run() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def back_up(site: Site, vm: str, **options) -> Sealed:
    """Back up one VM in one call, as the command line does."""
    request = BackupRequest(vm_selector=vm, run=new_run(), **options)
    return run_backup(site, request, bars=silent, announce=lambda _line: None)[0]


def restore_whole(
    site: Site, point: str, *, announce: Callable[[str], None] = lambda _line: None, **options
) -> Restored:
    """Restore one VM in one call, as the command line does."""
    request = make_request(point=point, run=new_run(), **options)
    return run_restore(site, request, bars=silent, announce=announce)


def stored(repository: str, ref: str, folder: Path) -> dict[int, str]:
    """SHA-256 of every disk of a restore point, by device key."""
    found = {}
    with open_repository(repository) as opened:
        point = opened.load_point(ref)
        for index, disk in enumerate(image.disk for image in point.images):
            out = folder / f"{point.id}-{disk.key}.raw"
            export_image(opened, point, index, out, overwrite=True, on_progress=lambda _: None)
            with out.open("rb") as file:
                found[disk.key] = hashlib.file_digest(file, "sha256").hexdigest()
            out.unlink()
    return found


def write(site: Site, job):
    """Write one disk."""
    with restore.write_disk(site, job, on_progress=lambda _: None) as running:
        return running.wait()


def swept(site: Site, kind: Kind | None = None, **wishes) -> list[Finding]:
    """The findings of one sweep of the site: all, or those of a kind."""
    report = run_sweep(site, SweepWishes(**wishes))
    return [found for found in report.findings if kind in (None, found.kind)]


@contextmanager
def hands(lab: Lab) -> Iterator[Session]:
    """A session of somebody else."""
    with open_session(vcenter_of(lab)) as session:
        yield session


def reconfigure(lab: Lab, vm: str, spec) -> None:
    """Let somebody else change a VM."""
    with hands(lab) as session:
        managed = session.vm(inventory.find_vm(session, vm).moref)
        run_task(session, lambda: managed.ReconfigVM_Task(spec), what="test", timeout=HANG, look=lambda: None)


def power(lab: Lab, vm: str, *, on: bool) -> None:
    """Let somebody else switch a VM."""
    with hands(lab) as session:
        managed = session.vm(inventory.find_vm(session, vm).moref)
        start = (lambda: managed.PowerOnVM_Task(None)) if on else managed.PowerOffVM_Task
        run_task(session, start, what="test", timeout=HANG, look=lambda: None)


def names(lab: Lab) -> list[str]:
    return [vm["name"] for vm in lab.state()["vms"]]


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
    plan: Any = None
    target: Any = None
    jobs: tuple[WriteJob, ...] = ()
    writes: list[Any] = field(default_factory=list)

    @classmethod
    def over(cls, site: Site, point: str, **options) -> Restoring:
        return cls(
            site,
            make_request(point=point, run=new_run(), owner="a test", on_conflict=OnConflict.OVERWRITE, **options),
        ).planned()

    @classmethod
    def new(cls, site: Site, point: str, name: str, **options) -> Restoring:
        return cls(site, make_request(point=point, run=new_run(), owner="a test", new_name=name, **options)).planned()

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


def hold_still(site: Site, vm: str) -> tuple[Any, Any]:
    """Begin a backup and stop after its snapshot."""
    request = BackupRequest(vm_selector=vm, run=new_run())
    pre = backup.preflight(site, request)
    return pre, backup.take_snapshot(site, pre)
