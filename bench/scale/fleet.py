"""Makes many small VMs in the lab, by the calls that any client of a vCenter would use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.measure import MIB, say
from demo.lab import LabAddress, LabControl
from vmkeep.model.site import VCenter
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session, open_session
from vmkeep.vsphere.tasks import run_task

PREFIX = "scale-"
"""The names of these VMs begin so, and no others."""
_AT_ONCE = 4
_SECONDS = 300.0
_Device = vim.vm.device


def vcenter_of(address: LabAddress) -> VCenter:
    """Return the login to the lab."""
    return VCenter(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        thumbprint=address.thumbprint,
    )


def make_fleet(address: LabAddress, count: int, *, disk_mib: int, data_mib: int) -> None:
    """Make running VMs with one disk each, in turn on each host and datastore, which is where backups meet.

    :param data_mib: data that each disk has; every disk has its own. Without data the VMs stay off.
    """
    control = LabControl(address)
    with open_session(vcenter_of(address)) as session, ThreadPoolExecutor(_AT_ONCE) as threads:
        place = _Place(session)

        def make(number: int) -> None:
            name = f"{PREFIX}{number:05}"
            vm = place.make(name, number, disk_mib=disk_mib)
            if data_mib:
                place.switch_on(vm)
                control.write(name, 2000, [(MIB * 2 * at, MIB) for at in range(data_mib)])
            if (number + 1) % 100 == 0:
                say(f"{number + 1} of {count} VMs are there")

        list(threads.map(make, range(count)))


class _Place:
    """The hosts, datastores and folder of the lab's cluster."""

    def __init__(self, session: Session) -> None:
        self._session = session
        find = session.content.searchIndex.FindByInventoryPath
        cluster = find("Lab/host/Cluster1")
        about = read(session, cluster, "host", "datastore", "resourcePool")
        self._hosts, self._pool = about["host"], about["resourcePool"]
        self._stores = [read(session, store, "name")["name"] for store in about["datastore"]]
        self._folder = find("Lab/vm/Production")

    def make(self, name: str, number: int, *, disk_mib: int) -> Any:
        store = self._stores[number // len(self._hosts) % len(self._stores)]
        host = self._hosts[number % len(self._hosts)]
        change = _Device.VirtualDeviceSpec
        backing = _Device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"[{store}]", diskMode="persistent", thinProvisioned=True
        )
        disk = _Device.VirtualDisk(
            key=-2, controllerKey=-1, unitNumber=0, capacityInKB=disk_mib * 1024, backing=backing
        )
        controller = _Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")
        spec = vim.vm.ConfigSpec(
            name=name, guestId="otherLinux64Guest", memoryMB=64, numCPUs=1,
            files=vim.vm.FileInfo(vmPathName=f"[{store}]"),
            deviceChange=[
                change(operation="add", device=controller),
                change(operation="add", fileOperation="create", device=disk),
            ],
        )  # fmt: skip
        return self._run(f"make VM {name}", lambda: self._folder.CreateVM_Task(spec, self._pool, host))

    def switch_on(self, vm: Any) -> None:
        self._run(f"switch VM {moref_of(vm)} on", lambda: vm.PowerOnVM_Task(None))

    def _run(self, what: str, start: Any) -> Any:
        return run_task(self._session, start, what=what, timeout=_SECONDS, look=lambda: None)
