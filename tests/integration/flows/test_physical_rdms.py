"""A physical RDM's content: read from its LUN on the proxy where the request asks, and named by its consistency."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import replace
from functools import partial

import pytest

from tests.integration.flows.restoring import back_up, devices, hands, new_run, power, restore_whole
from vmkeep.errors import NotFoundError, StaleError, UsageError
from vmkeep.flows import backup, lun_reads, restore
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.restore_request import OnConflict, make_request
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model import lun
from vmkeep.model.lun import LunConsistency
from vmkeep.model.point import BackupKind, BackupMode
from vmkeep.model.rdm import RdmReplacement
from vmkeep.proxy import require_lun
from vmkeep.repository import open_repository
from vmkeep.transfer import drivers
from vmkeep.vsphere import inventory, rdms

VM, RDM, AT = "app01", "Hard disk 4", "scsi1:0"
LUN_SIZE = 64 << 20

DRIVER = """
import stat
from pathlib import Path
from vmkeep.proxy.lundriver import LunDriver

HERE = LunDriver(root=Path({root!r}), is_device=stat.S_ISREG)
"""


@pytest.fixture
def proxy(lab, tmp_path, monkeypatch):
    """A proxy that sees the lab's LUNs under their names, as files: a driver of this proxy takes the place of `lun`."""
    root, info = tmp_path / "proxy", tmp_path / "luns_here-1.dist-info"
    for folder in (root / "dev/disk/by-id", root / "sys/dev/block/0:0/device", info):
        folder.mkdir(parents=True)
    (tmp_path / "luns_here.py").write_text(DRIVER.format(root=str(root)))
    (info / "METADATA").write_text("Name: luns-here\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vmkeep.disk_drivers]\nlun_here = luns_here:HERE\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lun, "DRIVER", "lun_here")
    monkeypatch.setattr(lun_reads, "require_lun", partial(require_lun, root=root, is_device=stat.S_ISREG))
    drivers._places.cache_clear()

    def sees(name, file):
        (root / "dev/disk/by-id" / f"wwn-0x{name.removeprefix('naa.')}").symlink_to(file)
        (root / "sys/dev/block/0:0/device/wwid").write_text(f"{name}\n")

    yield sees
    drivers._places.cache_clear()


@pytest.fixture
def mapped(lab):
    """The name of the LUN that app01's RDM maps, and the file with its content, which is new."""
    file = lab.folder / "luns/lun0.img"
    with file.open("r+b") as opened:
        opened.write(os.urandom(3 << 20))
    with hands(lab) as session:
        vm = inventory.describe_vm(session, inventory.find_vm(session, VM).moref)
        (name,) = rdms.lun_names(session, vm.moref, vm.disks).values()
    return name, file


def image_of(site, ref):
    with open_repository(site.repository) as repository:
        point = repository.load_point(ref)
    return point, next(image for image in point.images if image.disk.address == AT)


def digest(file):
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def test_a_running_vms_lun_is_read_on_request_and_named_as_of_many_instants(site, bench, proxy, mapped, vmkeep):
    name, file = mapped
    proxy(name, file)

    done = back_up(site, VM, read_luns=(AT,), include=(AT,))

    point, image = image_of(site, done.point)
    assert (image.lun.name, image.lun.of, image.lun.consistency) == (name, name, LunConsistency.LIVE)
    assert (image.kind, image.transport, image.access.driver) == (BackupKind.FULL, "lun", "lun_here")
    assert image.disk.skip is None
    assert bench.stored(done.point)[image.disk.key] == digest(file)
    assert f"{AT} from {name}, consistency live" in vmkeep("point", "show", done.point, "-r", site.repository).output
    assert [f"{RDM} ({AT}) was read from LUN {name} while" in warning for warning in point.warnings].count(True) == 1


def test_the_arrays_snapshot_of_a_lun_is_read_in_its_place_and_is_of_one_instant(site, bench, proxy, mapped, tmp_path):
    name, file = mapped
    snapshot, other = tmp_path / "snapshot", "naa.6000c2900000000000000000000000ff"
    snapshot.write_bytes(os.urandom(1 << 20))
    os.truncate(snapshot, file.stat().st_size)
    proxy(other, snapshot)
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho '{json.dumps({'luns': {name: other}})}' > \"$VMKEEP_ANSWER\"\n")
    hook.chmod(0o755)

    done = back_up(replace(site, array_hook=str(hook)), VM, read_luns=("label:*",), include=(AT,))

    point, image = image_of(site, done.point)
    assert (image.lun.name, image.lun.of, image.lun.consistency) == (other, name, LunConsistency.CRASH)
    assert bench.stored(done.point)[image.disk.key] == digest(snapshot)
    assert not [warning for warning in point.warnings if "LUN" in warning]


def test_a_vm_that_is_off_has_a_lun_of_one_instant_which_a_new_vm_gets_as_an_ordinary_disk(
    site, bench, lab, proxy, mapped
):
    name, file = mapped
    proxy(name, file)
    power(lab, VM, on=False)
    try:
        ref = back_up(site, VM, read_luns=(AT,), include=(AT,), mode=BackupMode.ASIS).point
    finally:
        power(lab, VM, on=True)

    _, image = image_of(site, ref)
    assert image.lun.consistency is LunConsistency.CRASH
    restore_whole(site, ref, new_name="app02", physical_rdm=RdmReplacement.DISK, power_on=False)
    keys = [device.key for device in devices(lab, "app02") if getattr(device, "capacityInBytes", 0) == LUN_SIZE]
    assert digest(file) in bench.disks("app02", *keys).values()
    lines = {}
    for choice in (RdmReplacement.PLACEHOLDER, RdmReplacement.OMIT):
        request = make_request(point=ref, run=new_run(), new_name="app03", physical_rdm=choice)
        plan = restore.plan_restore(site, request)
        lines[choice] = next(line for line in plan_lines(plan) if line.startswith(RDM))
    assert "is not written" in lines[RdmReplacement.PLACEHOLDER]
    assert "--rdm 'scsi1:0=disk'" in lines[RdmReplacement.PLACEHOLDER]
    assert "is not made" in lines[RdmReplacement.OMIT]
    over = make_request(point=ref, run=new_run(), on_conflict=OnConflict.OVERWRITE)
    rdm = next(match for match in restore.plan_restore(site, over).matches if match.disk.address == AT)
    assert (rdm.written, "no restore writes to a LUN" in rdm.note) == (False, True)


def test_a_lun_that_was_replaced_since_the_preflight_is_not_read(site, lab, proxy, mapped):
    proxy(*mapped)
    pre = backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run(), read_luns=(AT,)))
    before = tuple(replace(disk, lun_uuid="of-another-lun") if disk.address == AT else disk for disk in pre.disks)

    with hands(lab) as session:
        lun_reads.require_same(session, pre)
        with pytest.raises(StaleError, match=f"{RDM} does not map the LUN"):
            lun_reads.require_same(session, replace(pre, disks=before))


def test_nothing_is_read_from_a_lun_unless_the_request_asks(site):
    pre = backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run()))

    assert [disk.why_skipped for disk in pre.disks if disk.address == AT] == [
        "physical-mode RDM: vSphere cannot snapshot it"
    ]


@pytest.mark.parametrize(
    ("disk", "error", "told"),
    [
        ("scsi0:0", UsageError, r"no physical RDM 'scsi0:0' .*; the VM has scsi1:0"),
        (AT, NotFoundError, "this proxy does not see LUN naa"),
    ],
)
def test_a_lun_that_cannot_be_read_fails_the_backup_before_anything_is_touched(site, bench, proxy, disk, error, told):
    with pytest.raises(error, match=told):
        backup.preflight(site, BackupRequest(vm_selector=VM, run=new_run(), read_luns=(disk,)))

    assert bench.snapshots(VM) == []
