"""A point, the places of a vCenter and plans, as the restore wizard shows them."""

from __future__ import annotations

from typing import Any

from tests.unit.web.fleets import HOSTILE, NOW, taken
from vmkeep.catalog import open_catalog
from vmkeep.flows.choices import Folder, Host, Machine, Net, Places, Pool, Store
from vmkeep.flows.fleet import ListedPoint, load_vm
from vmkeep.flows.restore_request import make_request
from vmkeep.flows.restore_values import DiskMatch, RestorePlan
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import RestorePoint, VmIdentity
from vmkeep.model.portable import PortableCard, PortableMachine

MACHINE = PortableMachine(
    name="web01", cpus=1, memory_mib=512,
    cards=(
        PortableCard(label="Network adapter 1", model="vmxnet3", mac=None, network="VM Network"),
        PortableCard(label="Network adapter 2", model="vmxnet3", mac=None, network=HOSTILE),
    ),
)  # fmt: skip


def about(name: str) -> dict[str, Any]:
    return {"choose": name, "name": name, "id": f"id-{name}", "path": f"/DC/{name}", "datacenter": "DC"}


PLACES = Places(
    folders=(Folder(**about("/DC/vm/Test")), Folder(**about(HOSTILE))),
    pools=(Pool(**about("/DC/host/C1/Resources"), of="C1", root=True),),
    datastores=(
        Store(**about("ds1"), kind="VMFS", capacity=1 << 40, free=1 << 39, accessible=True, maintenance=None, hosts=()),
        Store(**about("ds2"), kind="NFS", capacity=None, free=None, accessible=False, maintenance=None, hosts=()),
    ),
    networks=(Net(**about("Quarantine"), kind="standard", switch=None, hosts=()),),
    hosts=(Host(**about("esx1"), cluster="C1", state="connected", version="8.0.3", build="1"),),
)  # fmt: skip
VMS = (
    Machine(**about("web01"), runs=True),
    Machine(**{**about(HOSTILE), "choose": "moref:vm-7"}, runs=False),
)
PLACE = SettledPlace(
    folder="group-v1", folder_path="/DC/vm/Test", pool="resgroup-1", pool_path="/DC/host/C1/Resources", host="host-1",
    host_name="esx1", datastore="ds1", disks=(("scsi0:0", "ds1"),), networks=(("Network adapter 1", "Quarantine"),),
)  # fmt: skip


def listed(url: str, point: RestorePoint) -> ListedPoint:
    """Return a point as a catalog lists it."""
    found = load_vm([url], point.vm.key, (), NOW).points
    return next(each for each in found if each.id == point.id)


def listed_web01(folder: Any) -> ListedPoint:
    """Return a point of web01, out of a catalog of its own."""
    from tests.unit.catalog.test_catalog import Manifests

    point = taken("web01", 5, 10, key="key-web01")
    url = f"sqlite:///{folder}/catalog.db"
    with open_catalog(url) as catalog:
        catalog.refresh(Manifests(point))
    return listed(url, point)


def planned(*, over: bool = False, **changed: Any) -> RestorePlan:
    """Return a plan of a restore to a new VM, or over the VM."""
    point = taken("web01", 5, 10, key="key-web01")
    disk = point.images[0].disk
    request = make_request(
        point=point.ref, run="run-1", dry_run=True, **({"on_conflict": "overwrite"} if over else {"new_name": "new01"})
    )
    given: dict[str, Any] = {
        "request": request, "point": point.ref, "vm": point.vm, "vcenter": "vc-uuid",
        "target": VmIdentity(name="web01", key="key-web01", moref="vm-1") if over else None,
        "target_disks": (disk,) if over else (), "target_name": "web01" if over else "new01",
        "place": None if over else PLACE,
        "matches": (DiskMatch(disk=disk, target_key=disk.key if over else None, written=True),),
    }  # fmt: skip
    return RestorePlan(**(given | changed))
