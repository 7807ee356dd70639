"""Row of a whole VM of the simulated vSphere: its backup, and its restore to a new VM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest import mock

from bench.growth.stock import Counts
from vmkeep.blobs import Meter
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import run_backup, run_restore
from vmkeep.flows.restore_request import make_request
from vmkeep.model.site import Site, VCenter
from vmkeep.repository import create_repository, open_repository, point_id
from vmkeep.repository.notes.leases import Lease
from vmlab.testing import Lab, start_lab

_VM = "web01"


def whole_vm(folder: Path, points: int) -> Counts:
    """A VM is backed up once more, and restored to a new VM, while other points are there."""
    with start_lab(folder / "lab", data_disk_gib=0.125) as lab:
        create_repository(str(folder / "repository"))
        vcenter = VCenter(host=lab.host, port=lab.port, user=lab.user, password=lab.password, thumbprint=lab.thumbprint)
        site = Site(repository=str(folder / "repository"), vddk=str(lab.vddk), vcenter=vcenter)
        point = _backed_up(site, "first")
        _add_points(site, point, points)
        request = make_request(point=point, run="bench-restore", new_name="restored", power_on=False)
        return _asked(lab, "a backup", lambda: _backed_up(site, "next")) | _asked(
            lab,
            "a restore",
            lambda: run_restore(site, request, bars=lambda _: lambda _: None, announce=lambda _: None),
        )


def _backed_up(site: Site, run: str) -> str:
    request = BackupRequest(vm_selector=_VM, run=run)
    sealed, _ = run_backup(site, request, bars=lambda _: lambda _: None, announce=lambda _: None, verify=0)
    return sealed.point


def _asked(lab: Lab, what: str, step: Callable[[], object]) -> Counts:
    """Return the vCenter's calls, and the store's by the flow itself, without those of the processes that copy disks.

    The calls that wait for tasks, and the look after each, are left out, because they tell how long the machine took.
    """
    before = Counter(lab.state()["calls"])
    with mock.patch.object(Meter, "count", autospec=True) as counted, mock.patch.object(Lease, "_renew"):
        step()
    told = Counter(lab.state()["calls"]) - before
    waits = 2 * told["WaitForUpdatesEx"] + told["host.GET"]
    return {
        f"calls of the vCenter in {what}": told.total() - waits,
        f"calls of the store in {what}": counted.call_count,
    }


def _add_points(site: Site, point: str, number: int) -> None:
    """Seal points of other VMs that have the same disks."""
    with open_repository(site.repository) as repository:
        pattern = repository.load_point(point)
        for other in range(number):
            key = f"5029ab12-0000-4000-8000-{other:012d}"
            vm = replace(pattern.vm, name=f"vm{other:05}", key=key, instance_uuid=key)
            taken_at = pattern.taken_at - timedelta(hours=other + 1)
            repository.manifests.seal(
                replace(pattern, id=point_id("bench", key), run="bench", vm=vm, taken_at=taken_at)
            )
