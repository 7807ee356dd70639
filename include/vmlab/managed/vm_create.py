"""Making a VM from a ConfigSpec: CreateVM_Task and the demo inventory go this way."""

import contextlib
import shutil
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from vmlab.api import fill, vim, vmodl
from vmlab.managed import ds_paths, hardware
from vmlab.managed.device_changes import plan_changes
from vmlab.managed.devices import default_devices
from vmlab.managed.disk_files import carry_out
from vmlab.managed.full_config import complete, know_networks
from vmlab.managed.guests import guest_names, new_guest
from vmlab.managed.placement import place
from vmlab.managed.policies import assign_policies, check_policies
from vmlab.managed.registry import Call, task_method
from vmlab.managed.site import Site
from vmlab.managed.spec_rights import check_create
from vmlab.managed.vm_config import apply_simple_fields
from vmlab.managed.vm_rules import check_encryption, check_spec, encrypt
from vmlab.managed.vmx import write_nvram, write_vm_files


@task_method(vim.Folder, "CreateVM_Task", check=check_create)
def create_vm_task(call: Call, config: Any, pool: Any, host: Any) -> Any:
    """Make a VM in a folder; its files appear on the datastore."""
    check_no_vapp(pool)
    return create_vm(call.site, call.this, config, pool, place(call.site, config, pool, host))


def check_no_vapp(pool: Any) -> None:
    """Raise InvalidArgument for a folder's new VM that would be in a vApp: those are made with CreateChildVM_Task."""
    if isinstance(pool, vim.VirtualApp):
        raise vmodl.fault.InvalidArgument(
            invalidProperty="pool", msg=f"{pool._moId} is a vApp: a virtual machine of a folder cannot be made in it"
        )


def create_vm(site: Site, folder: Any, spec: Any, pool: Any, host: Any = None) -> Any:
    """Make a VM, powered off; returns its reference. Raises the faults of CreateVM_Task, leaving nothing behind."""
    name = _checked_name(site, folder, spec.name)
    check_spec(spec)
    check_policies(site, spec)
    home, vmx = _home(site, spec, name)
    host, version = _host_and_version(site, host, spec.version)
    config = new_config(spec, name, vmx)
    config.version = version
    encrypt(site, config, spec)
    made_folder = ds_paths.local(site, home)
    existed = made_folder.exists()
    made_folder.mkdir(parents=True, exist_ok=True)
    try:
        plan = plan_changes(default_devices(), list(spec.deviceChange), has_snapshots=False)
        carry_out(site, plan.actions, home, ds_paths.stem(vmx))
        config.hardware.device = plan.devices
        know_networks(site, config)
        check_encryption(site, config, plan)
        fill(config)
        ref = enter_vm(site, folder, config, pool, host)
        assign_policies(site, ref, spec, plan.keys)
        write_vm_files(site, config)
        write_nvram(site, config)
    except BaseException:
        if not existed:
            with contextlib.suppress(OSError):
                shutil.rmtree(made_folder)
        raise
    return ref


def enter_vm(
    site: Site,
    folder: Any,
    config: Any,
    pool: Any,
    host: Any,
    *,
    template: bool = False,
    moref: str | None = None,
) -> Any:
    """Enter a VM with finished files into the inventory."""
    world = site.world
    with world.transaction():
        world.entry(folder)
        check_free_name(site, folder, config.name)
        ref = vim.VirtualMachine(moref) if moref else world.new_ref(vim.VirtualMachine, "vm")
        world.add(
            ref,
            name=config.name,
            parent=folder,
            config=config,
            runtime=_new_runtime(host or placed_host(site)),
            guest=new_guest(config),
            resourcePool=None if template else pool,
        )
        site.add_companion(ref)
        adopt(site, folder, ref)
    return ref


def adopt(site: Site, folder: Any, child: Any) -> None:
    """List a child in its folder."""
    site.world.update(folder, childEntity=[*(site.world.get(folder, "childEntity") or []), child])


def abandon(site: Site, child: Any) -> None:
    """Take a child out of its folder's list."""
    folder = site.world.get(child, "parent")  # a VM in a vApp is in no folder
    if folder is not None and site.world.exists(folder):
        kept = [ref for ref in site.world.get(folder, "childEntity") or [] if ref != child]
        site.world.update(folder, childEntity=kept)


def placed_host(site: Site, among: list[Any] | None = None) -> Any:
    """The host with the fewest VMs: of those named, or of all."""
    hosts = among or site.world.all(vim.HostSystem)
    vms = [site.world.get(vm, "runtime").host for vm in site.world.all(vim.VirtualMachine)]
    return min(hosts, key=vms.count)


def _host_and_version(site: Site, host: Any, version: str | None) -> tuple[Any, str]:
    """Where a new VM goes, and its hardware version: one that the host runs. Raises VirtualHardwareVersionNotSupported.

    A version that nobody asks for is the newest of the host. A host that nobody asks for is one that runs the version.
    """
    with site.world.lock:
        if host is None:
            host = placed_host(site, hardware.hosts_that_run(site, version) if version else None)
        version = version or hardware.key_of(hardware.newest_on(site, host))
        hardware.check_host(site, host, version)
    return host, version


def inventory_name(name: str) -> str:
    """A name as the inventory keeps it: slash, backslash and percent are escaped."""
    if "%2f" in name.lower() or "%5c" in name.lower() or "%25" in name:
        return name
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


def check_free_name(site: Site, folder: Any, name: str, *, besides: Any = None) -> None:
    """Raise the DuplicateName fault where a folder has a child of that name already."""
    for child in site.world.get(folder, "childEntity") or []:
        if child != besides and str(site.world.get(child, "name")) == name:
            raise vim.fault.DuplicateName(name=name, object=child, msg=f"The name '{name}' already exists.")


def _checked_name(site: Site, folder: Any, name: str | None) -> str:
    if not name or len(name) > 80:
        raise vim.fault.InvalidName(name=name or "", msg="The name of a virtual machine has 1 to 80 characters.")
    with site.world.lock:
        check_free_name(site, folder, inventory_name(name))
    return inventory_name(name)


def _home(site: Site, spec: Any, name: str) -> tuple[str, str]:
    """The folder and .vmx path of a new VM: as asked, or a free folder named after it."""
    if spec.files is None or not spec.files.vmPathName:
        raise vmodl.fault.InvalidArgument(
            invalidProperty="configSpec.files.vmPathName", msg="files.vmPathName must name a datastore"
        )
    datastore, rest = ds_paths.parse(spec.files.vmPathName)
    ds_paths.local(site, f"[{datastore}]")
    if rest.endswith(".vmx"):
        path = f"[{datastore}] {rest}"
        if ds_paths.local(site, path).exists():
            raise vim.fault.FileAlreadyExists(file=path, msg=f"The file {path} already exists")
        return ds_paths.folder_of(path), path
    stem = file_stem(name)
    folder, number = rest or stem, 0
    while ds_paths.local(site, f"[{datastore}] {folder}/{stem}.vmx").exists() or (
        not rest and ds_paths.local(site, f"[{datastore}] {folder}").exists()
    ):
        number += 1
        folder = f"{rest or stem}_{number}"
    return f"[{datastore}] {folder}", f"[{datastore}] {folder}/{stem}.vmx"


def file_stem(name: str) -> str:
    """A file name for a VM's name: what file systems and datastore paths cannot bear is escaped."""
    return (
        quote(name, safe=" ()+,=@!~%&'#;{}^" + "".join(chr(c) for c in range(0xA0, 0x2100)))
        if "/" in name or "[" in name
        else name
    )


def new_config(spec: Any, name: str, vmx: str) -> Any:
    """The configuration of a new VM before its devices."""
    now = datetime.now(UTC)
    guest_id = spec.guestId or "otherGuest64"
    full, _ = guest_names(guest_id)
    config = vim.vm.ConfigInfo(
        changeVersion=now.isoformat(),
        modified=now,
        createDate=now,
        name=name,
        guestFullName=full,
        guestId=guest_id,
        alternateGuestName="",
        version=spec.version or hardware.key_of(hardware.NEWEST),
        uuid=spec.uuid or str(uuid.uuid4()),
        instanceUuid=spec.instanceUuid or str(uuid.uuid4()),
        template=False,
        annotation="",
        changeTrackingEnabled=False,
        firmware=spec.firmware or "bios",
        files=vim.vm.FileInfo(
            vmPathName=vmx,
            snapshotDirectory=ds_paths.folder_of(vmx),
            suspendDirectory=ds_paths.folder_of(vmx),
            logDirectory=ds_paths.folder_of(vmx),
        ),
        hardware=vim.vm.VirtualHardware(numCPU=1, numCoresPerSocket=1, memoryMB=128),
    )
    complete(config)
    apply_simple_fields(config, spec)
    return config


def _new_runtime(host: Any) -> Any:
    return fill(
        vim.vm.RuntimeInfo(
            host=host,
            connectionState="connected",
            powerState="poweredOff",
            toolsInstallerMounted=False,
            consolidationNeeded=False,
            faultToleranceState="notConfigured",
            paused=False,
            snapshotInBackground=False,
            recordReplayState="inactive",
        )
    )
