"""Puts a VM of the matrix into the lab, backs it up, destroys it, restores it, and compares the two."""

from __future__ import annotations

import re
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fidelity.comparing import DEVICE, differences, flatten
from tests.fidelity.dimensions import ISO, OPAQUE, PORT_GROUP, draft_of
from tests.fidelity.drafts import MIB, Draft
from tests.fidelity.exceptions import EXCEPTIONS, Case
from tests.integration.flows import restoring
from tests.labs import start_lab
from vmkeep.flows import restore
from vmkeep.flows.new_vm_warnings import about_chains
from vmkeep.flows.restore_request import make_request
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model.point import BackupMode
from vmkeep.model.rdm import RdmReplacement
from vmkeep.model.site import Site
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import create, inventory, machines
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.configspec import SpecOptions
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.luns import list_luns
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import wait_task
from vmlab.disks import DiskStore
from vmlab.testing import Lab

Numbered = list[tuple[int, Mapping[str, str]]]
"""Rows of the matrix, each with its number."""
PATIENCE = 120
CARD = DEVICE.VirtualEthernetCard


@dataclass
class Outcome:
    """The result of one row."""

    row: Mapping[str, str]
    properties: int
    """Properties that were compared."""
    unexpected: list[str] = field(default_factory=list)
    """Differences that no exception covers, and exceptions that the plan did not name."""
    used: Counter[str] = field(default_factory=Counter)
    """Names of the exceptions that were met, and how many properties each explained."""
    disks: int = 0
    """Disks whose bytes were compared."""
    bytes_compared: int = 0


class World:
    """A lab with what the VMs of the matrix need, and a session of somebody with all rights."""

    def __init__(self, lab: Lab, site: Site, session: Session) -> None:
        self.lab = lab
        self.site = site
        self.session = session
        switch = lab.post("inventory/add", {"kind": "switch", "name": "fidelity switch"})["moref"]
        self.port_group = lab.post("inventory/add", {"kind": "port group", "name": PORT_GROUP, "switch": switch})[
            "moref"
        ]
        self.switch_uuid = session.managed(vim.DistributedVirtualSwitch, switch).uuid
        self.opaque = "fidelity-opaque-id"
        lab.post("inventory/add", {"kind": "opaque network", "name": OPAQUE, "id": self.opaque})
        iso = lab.files(ISO)
        iso.parent.mkdir(parents=True, exist_ok=True)
        iso.write_bytes(b"an image")
        manager, provider = session.content.cryptoManager, vim.encryption.KeyProviderId(id="fidelity")
        manager.RegisterKmsCluster(provider)
        self.crypto = vim.encryption.CryptoSpecEncrypt(cryptoKeyId=manager.GenerateKey(provider).keyId)
        index = session.content.searchIndex
        self._files = DiskStore(lab.folder / "datastores")
        self._folder = index.FindByInventoryPath("Lab/vm/Test")
        self._pool = index.FindByInventoryPath("Lab/host/Cluster1/Resources")

    def wait(self, task: Any) -> Any:
        """Return the result of a task."""
        return wait_task(self.session, task, what="make a VM of the matrix", timeout=PATIENCE)

    def free_luns(self) -> list[Any]:
        """Return the LUNs that no VM has."""
        host = self.session.content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").host[0]
        return [lun for lun in list_luns(self.session, host._moId) if not lun.used_by]

    def make(self, draft: Draft) -> Any:
        """Make the VM of a draft, with something on its disks, in the power state that it asks for."""
        self._clear()
        for device in draft.devices:
            self._fill_network(device.backing)
        vm = self.wait(self._folder.CreateVM_Task(draft.finished(self.free_luns(), self.crypto), self._pool))
        gone = [device for device in vm.config.hardware.device if device.key in draft.removed_cards]
        changes = [DEVICE.VirtualDeviceSpec(operation="remove", device=device) for device in gone]
        order = list(_boot_order(draft.boot_order, vm.config.hardware.device))
        if changes or order:
            options = vim.vm.BootOptions(bootOrder=order) if order else None
            self.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=changes, bootOptions=options)))
        self._write(vm)
        for number in range(draft.snapshots):
            self.wait(vm.CreateSnapshot_Task(f"snapshot {number}", "", False, False))
            self._write(vm, after=number + 1)
        if draft.power != "off":
            self.wait(vm.PowerOnVM_Task(None))
        if draft.power == "suspended":
            self.wait(vm.SuspendVM_Task())
        if draft.template:
            vm.MarkAsTemplate()
        return vm

    def _clear(self) -> None:
        """Remove the VM of a row that failed."""
        for vm in self._folder.childEntity:
            if "fidelity-" in vm.name:
                self.remove(vm)

    def remove(self, vm: Any) -> None:
        """Destroy a VM with its disks."""
        if vm.runtime.powerState == "suspended":
            self.wait(vm.PowerOnVM_Task(None))
        if vm.runtime.powerState == "poweredOn":
            self.wait(vm.PowerOffVM_Task())
        self.wait(vm.Destroy_Task())

    def hashes(self, vm: Any) -> dict[str, str]:
        """Return the digest of each disk, by its address."""
        return {disk.address: self.lab.hash(vm._moId, disk.key) for disk in disks_of(vm.config.hardware.device)}

    def _fill_network(self, backing: Any) -> None:
        if isinstance(backing, CARD.DistributedVirtualPortBackingInfo):
            backing.port = vim.dvs.PortConnection(portgroupKey=self.port_group, switchUuid=self.switch_uuid)
        if isinstance(backing, CARD.OpaqueNetworkBackingInfo):
            backing.opaqueNetworkId, backing.opaqueNetworkType = self.opaque, "nsx.LogicalSwitch"

    def _write(self, vm: Any, after: int = 0) -> None:
        for number, disk in enumerate(disks_of(vm.config.hardware.device)):
            if not disk.physical_rdm and (not after or disk.skip is None):
                pieces = [(65536 * after, 65536), (MIB // 2 - 4096 * number, 4096), (MIB - 65536, 65536)]
                writes = [(at, bytes([1 + (number * 7 + at + after) % 250]) * size) for at, size in pieces]
                with self._files.open(disk.file_name, writable=True) as file:
                    for at, data in writes:
                        file.write(at, data)


@contextmanager
def open_world(lab: Lab, site: Site) -> Iterator[World]:
    """Prepare a lab for the matrix."""
    with restoring.hands(lab) as session:
        yield World(lab, site, session)


def run_part(rows: Numbered, *, whole: int) -> list[Outcome]:
    """Run some rows in a lab of their own. A row that fails counts as lost.

    :param whole: rows from this number on are made again without a backup.
    """
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, start_lab(Path(folder) / "lab", data_disk_gib=0.03125) as lab:
        create_repository(str(Path(folder) / "repository"))
        with open_world(lab, restoring.site_of(lab, Path(folder) / "repository")) as world:
            for number, row in rows:
                try:
                    outcomes.append((run_row if number < whole else make_again)(world, number, row))
                except Exception:  # noqa: BLE001 - the other rows are told all the same
                    outcomes.append(Outcome(row=row, properties=0, unexpected=[traceback.format_exc()]))
                print(f"{number:4}  {len(outcomes[-1].unexpected)} lost", file=sys.stderr, flush=True)
    return outcomes


def run_row(world: World, number: int, row: Mapping[str, str]) -> Outcome:
    """Carry out one row of the matrix by whole runs, and leave nothing behind."""
    draft = draft_of(f"fidelity-{number}", row)
    old = world.make(draft)
    before, state, digests = old.config, old.runtime.powerState, world.hashes(old)
    mode = BackupMode.ASIS if draft.as_is else BackupMode.SNAPSHOT_EXCL_MEM
    point = restoring.back_up(world.site, f"moref:{old._moId}", mode=mode).point
    copied = _copied(world.site, point)
    world.remove(old)
    wishes = {"new_name": draft.name, **_wishes(world, draft, before)}
    request = make_request(point=point, run=restoring.new_run(), owner="fidelity", dry_run=True, **wishes)
    plan = restore.plan_restore(world.site, request)
    done = restoring.restore_whole(world.site, point, **wishes)
    new = world.session.vm(done.vm.moref)
    after, state_after = new.config, new.runtime.powerState
    case = Case(
        row=row,
        draft=draft,
        before=before,
        copied=copied,
        off_now=state != "poweredOff" and state_after == "poweredOff",
    )
    outcome = judge(case, after, (*plan.warnings, *plan_lines(plan)))
    if state_after != state and not case.has("state", "suspended"):
        outcome.unexpected.append(f"the VM is {state_after}, and was {state}")
    _compare_bytes(outcome, case, digests, world.hashes(new))
    world.remove(new)
    return outcome


def make_again(world: World, number: int, row: Mapping[str, str]) -> Outcome:
    """Make the VM of one row again from its configuration alone, as the middle part of a restore does.

    The bytes of the disks are not copied, so that this takes a tenth of the time.
    """
    draft, session = draft_of(f"fidelity-{number}", row), world.session
    old = world.make(draft)
    before, described = old.config, inventory.describe_vm(session, old._moId)
    xml = inventory.config_xml(session, old._moId)
    world.remove(old)
    copied = {disk.address: disk.capacity for disk in described.disks if disk.skip is None or draft.as_is}
    case = Case(row=row, draft=draft, before=before, copied=copied, off_now=draft.power != "off")
    wishes = make_request(point="", run="", **_wishes(world, draft, before)).new_vm
    luns = {disk.key: lun.partition("=")[2] for disk in described.disks if disk.physical_rdm for lun in wishes.luns}
    options = SpecOptions(
        name=draft.name,
        new_identity=not wishes.keep_identity,
        keep_addresses=wishes.keeps_addresses,
        version=wishes.hardware_version,
        physical_rdm=wishes.physical_rdm,
        luns=luns,
        copied={disk.key for disk in described.disks if disk.address in copied},
    )
    place = create.resolve_place(session, described.identity, create.PlaceRequest(), draft.name)
    _, built = create.choose_host(session, xml, place, options)
    new = session.vm(create.create_vm(session, xml, place, options))
    if built.template:
        machines.mark_as_template(session, new._moId)
    outcome = judge(case, new.config, (*place.notes, *built.notes, *about_chains(described.disks)))
    world.remove(new)
    return outcome


def judge(case: Case, after: Any, told: tuple[str, ...]) -> Outcome:
    """Tell which differences are named exceptions, and whether the plan named those that a person has to know."""
    outcome = Outcome(row=case.row, properties=len(flatten(case.before)))
    if _generation(case.before) & _generation(after):
        outcome.unexpected.append("the generation id is the old one")
    for path, was, became in differences(case.before, after):
        exception = next((each for each in EXCEPTIONS if each.covers(case, path, was, became)), None)
        if exception is None:
            outcome.unexpected.append(f"{path}: {was!r} became {became!r}")
            continue
        outcome.used[exception.name] += 1
        if exception.told and not any(re.search(exception.told, line) for line in told):
            outcome.unexpected.append(f"{path}: the plan does not say that {was!r} becomes {became!r}")
    return outcome


def _compare_bytes(outcome: Outcome, case: Case, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    for address, digest in before.items():
        if address in case.copied and address in after:
            outcome.disks += 1
            outcome.bytes_compared += case.copied[address]
            if after[address] != digest:
                outcome.unexpected.append(f"disk {address}: other bytes")


def _copied(site: Site, ref: str) -> dict[str, int]:
    """Return the capacity of each disk that a point holds, by address."""
    with open_repository(site.repository) as repository:
        return {image.disk.address: image.disk.capacity for image in repository.load_point(ref).images}


def _wishes(world: World, draft: Draft, before: Any) -> dict[str, Any]:
    wishes = dict(draft.restore)
    if wishes.get("physical_rdm") == RdmReplacement.LUN:
        (disk,) = (disk for disk in disks_of(before.hardware.device) if disk.physical_rdm)
        wishes["luns"] = (f"{disk.address}={world.free_luns()[0].device_name}",)
    return wishes


def _generation(config: Any) -> set[str]:
    return {str(item.value) for item in config.extraConfig if item.key.lower().startswith("vm.genid")}


def _boot_order(words: tuple[str, ...], devices: Any) -> Iterator[Any]:
    kinds = vim.vm.BootOptions
    disks = sorted(disk.key for disk in devices if isinstance(disk, DEVICE.VirtualDisk))
    nets = sorted(card.key for card in devices if isinstance(card, CARD))
    for word in words:
        match word:
            case "disk":
                yield kinds.BootableDiskDevice(deviceKey=disks[0])
            case "last disk":
                yield kinds.BootableDiskDevice(deviceKey=disks[-1])
            case "card":
                yield kinds.BootableEthernetDevice(deviceKey=nets[-1])
            case "cd":
                yield kinds.BootableCdromDevice()
            case "floppy":
                yield kinds.BootableFloppyDevice()
