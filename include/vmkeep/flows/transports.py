"""Decides by which transport modes each disk of a VM can be read, before the VM gets a snapshot.

The request allows some modes, in an order. For each disk, this module leaves out those that cannot work here, and
keeps the reason. A disk for which no mode of the request is left stops the run, because another mode may be slower, or
may go through a network that the request avoids on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmkeep.errors import UnsupportedError
from vmkeep.flows.backup_values import DiskTransports, Preflight
from vmkeep.flows.connect import check_driver, open_vsphere
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.purpose import Purpose
from vmkeep.model.site import Site
from vmkeep.model.transport import TransportMode
from vmkeep.model.vmref import VmRef
from vmkeep.proxy import ProxyMachine, has_lun, read_machine
from vmkeep.transfer import choose_driver
from vmkeep.vsphere import inventory, rightscheck
from vmkeep.vsphere.inventory import VmDescription
from vmkeep.vsphere.reach import ProxyVm, Reach, Store, read_reach
from vmkeep.vsphere.rights import On, When
from vmkeep.vsphere.session import Session

_NEEDS_A_LOOK = frozenset({TransportMode.SAN, TransportMode.HOTADD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer whether one disk can be read by one transport mode."""

    disk: Disk
    mode: TransportMode
    why_not: str = ""
    """Empty: it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything that the verdicts on a VM's disks depend on."""

    vm: VmRef
    encrypted: bool
    reach: Reach
    machine: ProxyMachine
    lacking: tuple[str, ...] = ()
    """Privileges that HotAdd needs on the proxy's VM, and that the user has not."""
    offered: frozenset[str] = frozenset()
    """Modes that the driver's library has on this machine; empty: it cannot tell."""


def plan_transports(
    session: Session,
    vm: VmDescription,
    disks: Sequence[Disk],
    asked: Sequence[TransportMode],
    offered: Iterable[str],
) -> tuple[DiskTransports, ...]:
    """Return the modes to read each disk by. vSphere and this machine are asked only for a mode that needs a look.

    :param disks: all disks of the VM. A disk that is skipped gets no modes.
    :param offered: transport modes of the driver's library; none: it cannot tell.
    :raises UnsupportedError: no mode of the request can read a disk.
    """
    known = frozenset(offered)
    if not _NEEDS_A_LOOK & set(asked) or (known and not known & set(TransportMode)):
        return ()  # network modes work everywhere, and a driver with other modes knows nothing of these
    wanted = [disk for disk in disks if disk.skip is None]
    return settle(vm.ref, judge(look(session, vm, known), wanted, asked))


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportCheck:
    """The outcome of a check of one VM, without a backup."""

    vm: VmRef
    driver: str
    """The disk driver, and the reason for it."""
    proxy: str
    """The VM that this machine is, or the reason why none is known."""
    verdicts: tuple[Verdict, ...]


def check(site: Site, selector: str) -> TransportCheck:
    """Tell by which transport modes each disk of a VM can be read from this machine. Changes nothing.

    :param selector: selects one VM.
    """
    driver = check_driver(site)
    with open_vsphere(site) as session:
        vm = inventory.describe_vm(session, inventory.find_vm(session, selector).moref)
        around = look(session, vm, frozenset(driver.transports))
        disks = [disk for disk in vm.disks if disk.skip is None]
        machine, found = around.machine, around.reach.proxy
        return TransportCheck(
            vm=vm.ref,
            driver=f"{driver.launch.title}: {choose_driver(site).reason}",
            proxy=f"VM {found.name} ({found.moref})" if found else around.reach.why_no_proxy or machine.why_no_uuid,
            verdicts=judge(around, disks, tuple(TransportMode)),
        )


def look(session: Session, vm: VmDescription, offered: frozenset[str]) -> Surroundings:
    """Read all that the verdicts on a VM's disks depend on, from vSphere and from this machine."""
    machine = read_machine()
    reach = read_reach(session, vm.moref, machine.uuids)
    return Surroundings(
        vm=vm.ref,
        encrypted=vm.encrypted,
        reach=reach,
        machine=machine,
        lacking=_lacking(session, reach.proxy),
        offered=offered,
    )


def _lacking(session: Session, proxy: ProxyVm | None) -> tuple[str, ...]:
    if proxy is None:
        return ()
    return rightscheck.missing_when(session, Purpose.BACKUP, When.HOTADD, {On.PROXY: session.vm(proxy.moref)})


def judge(around: Surroundings, disks: Sequence[Disk], modes: Sequence[TransportMode]) -> tuple[Verdict, ...]:
    """Return a verdict for each disk and mode, in this order. Disks take the proxy's free slots one after the other."""
    slots = around.reach.proxy.free_slots if around.reach.proxy is not None else 0
    verdicts = []
    for disk in disks:
        for mode in modes:
            why_not = _why_not(around, disk, mode, slots)
            verdicts.append(Verdict(disk=disk, mode=mode, why_not=why_not))
            if mode is TransportMode.HOTADD and not why_not:
                slots -= 1
    return tuple(verdicts)


def settle(vm: VmRef, verdicts: Sequence[Verdict]) -> tuple[DiskTransports, ...]:
    """Return the possible modes of each disk, with the reasons against the others.

    :raises UnsupportedError: a disk has none.
    """
    settled, hopeless = [], []
    for disk in dict.fromkeys(verdict.disk for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.disk == disk]
        modes = tuple(verdict.mode for verdict in own if not verdict.why_not)
        why = "; ".join(f"not {verdict.mode}: {verdict.why_not}" for verdict in own if verdict.why_not)
        settled.append(DiskTransports(key=disk.key, modes=modes, why=why))
        if not modes:
            hopeless.append(f"{disk.label} ({disk.address}): {why}")
    if hopeless:
        raise UnsupportedError(
            f"VM {vm.name}: the request allows no transport mode that can read every disk; {'; '.join(hopeless)}. "
            "Cure that, or allow nbdssl as well"
        )
    return tuple(settled)


def transports_of(pre: Preflight, key: int) -> DiskTransports:
    """Return the modes to read a disk by: those that were found, or else those of the request."""
    asked = DiskTransports(key=key, modes=pre.request.transports)
    return next((one for one in pre.transports if one.key == key), asked)


def warnings_of(settled: Iterable[DiskTransports], disks: Sequence[Disk]) -> tuple[str, ...]:
    """Return a warning for each reason why disks are not read by a mode that the request prefers."""
    labels = {disk.key: f"{disk.label} ({disk.address})" for disk in disks}
    reasons: dict[str, list[str]] = {}
    for one in settled:
        if one.why:
            reasons.setdefault(one.why, []).append(labels[one.key])
    return tuple(f"{', '.join(of)}: {why}" for why, of in reasons.items())


def _why_not(around: Surroundings, disk: Disk, mode: TransportMode, free_slots: int) -> str:
    if around.offered and mode not in around.offered:
        return f"the library has it not on this machine (it has {', '.join(sorted(around.offered))})"
    if mode is TransportMode.SAN:
        return _why_not_san(around, disk)
    if mode is TransportMode.HOTADD:
        return _why_not_hotadd(around, disk, free_slots)
    return ""


def _why_not_san(around: Surroundings, disk: Disk) -> str:
    if (what := _encrypted(around, disk)) is not None:
        return f"{what} is encrypted, and only a host decrypts it"
    if disk.backing.startswith("RawDiskMapping"):
        return "the disk maps a LUN and lies on no datastore"
    for store in around.reach.stores_of(disk):
        if store.kind != "VMFS":
            return f"datastore {store.name} is {store.kind or 'of an unknown type'}, not VMFS"
        if not store.luns:
            return f"the LUNs of datastore {store.name} are not known"
        if missing := [lun for lun in store.luns if not has_lun(around.machine.disks, lun)]:
            return f"the proxy sees no readable LUN {', '.join(missing)} of datastore {store.name} in /dev/disk/by-id"
    return ""


def _why_not_hotadd(around: Surroundings, disk: Disk, free_slots: int) -> str:
    reach, proxy = around.reach, around.reach.proxy
    if disk.controller is not ControllerKind.SCSI:
        return f"the disk is on a controller of kind {disk.controller}, and HotAdd takes only SCSI disks"
    if not around.machine.uuids:
        return f"it is not known which VM the proxy is: {around.machine.why_no_uuid}"
    if proxy is None:
        return reach.why_no_proxy
    if proxy.moref == around.vm.moref:
        return "the VM is the proxy itself"
    if proxy.datacenter != reach.datacenter:
        return f"the proxy's VM {proxy.name} is in another datacenter"
    if around.machine.why_lvm is not None:
        return around.machine.why_lvm
    if around.lacking:
        return f"the user lacks privileges on the proxy's VM {proxy.name}: {', '.join(around.lacking)}"
    if (what := _encrypted(around, disk)) is not None and not proxy.encrypted:
        return f"{what} is encrypted, and the proxy's VM {proxy.name} is not"
    for store in reach.stores_of(disk):
        if (why := _why_not_mounted(proxy, store)) != "":
            return why
    if free_slots < 1:
        return f"the SCSI controllers of the proxy's VM {proxy.name} have no free slot left"
    return ""


def _encrypted(around: Surroundings, disk: Disk) -> str | None:
    """Return the object whose encryption binds a disk, in words; ``None``: neither the VM nor the disk is encrypted."""
    if around.encrypted:
        return "the VM"
    return "the disk" if disk.key_id is not None else None


def _why_not_mounted(proxy: ProxyVm, store: Store) -> str:
    if store.moref not in proxy.mounted:
        return f"the host of the proxy's VM {proxy.name} does not mount datastore {store.name}"
    if store.kind == "vsan" and not proxy.on_vsan:
        return f"datastore {store.name} is vSAN, and the proxy's VM {proxy.name} is on no vSAN datastore"
    return ""
