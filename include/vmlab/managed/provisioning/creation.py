"""Makes a VM from a ConfigSpec, for CreateVM_Task and for the demo inventory."""

import contextlib
import shutil
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from vmlab.api import fill, vim, vmodl
from vmlab.managed import ds_paths
from vmlab.managed.hosts import check_host_version, hosts_that_run, newest_version_on, version_key
from vmlab.managed.machine import apply_simple_fields, default_devices, guest_names, new_guest, plan_changes
from vmlab.managed.provisioning.card_addresses import give_free_addresses
from vmlab.managed.provisioning.placement import place
from vmlab.managed.provisioning.spec_rights import check_create
from vmlab.managed.provisioning.spec_rules import check_config, check_encryption, check_spec, encrypt
from vmlab.managed.site import Call, Site, task_method
from vmlab.managed.storage import assign_policies, carry_out, check_holders, check_policies
from vmlab.managed.vcenter import add_companions
from vmlab.managed.vms import complete, know_networks, write_nvram, write_vm_files
from vmlab.managed.world import adopt, check_free_name, inventory_name


@task_method(vim.Folder, "CreateVM_Task", check=check_create)
def create_vm_task(call: Call, config: Any, pool: Any, host: Any) -> Any:
    """Make a VM in a folder; its files appear on the datastore."""
    check_no_vapp(pool)
    return create_vm(call.site, call.this, config, pool, place(call.site, config, pool, host))


def check_no_vapp(pool: Any) -> None:
    """Raise InvalidArgument for a new VM whose pool is a vApp, because only CreateChildVM_Task makes one there."""
    if isinstance(pool, vim.VirtualApp):
        raise vmodl.fault.InvalidArgument(
            invalidProperty="pool", msg=f"{pool._moId} is a vApp: a virtual machine of a folder cannot be made in it"
        )


def create_vm(site: Site, folder: Any, spec: Any, pool: Any, host: Any = None) -> Any:
    """Make a VM, powered off; returns its reference. Raises the faults of CreateVM_Task, leaving nothing behind."""
    name = _checked_name(site, folder, spec.name)
    check_spec(site, spec)
    check_policies(site, spec)
    home, vmx = _home(site, spec, name)
    check_holders(site, spec)
    host, version = _host_and_version(site, host, spec.version)
    config = new_config(site, spec, name, vmx)
    config.version = version
    encrypt(site, config, spec)
    made_folder = ds_paths.local(site, home)
    existed = made_folder.exists()
    made_folder.mkdir(parents=True, exist_ok=True)
    try:
        _check_directories(site, spec)
        plan = plan_changes(default_devices(), list(spec.deviceChange), has_snapshots=False)
        carry_out(site, plan.actions, home, ds_paths.stem(vmx))
        config.hardware.device = plan.devices
        know_networks(site, config)
        give_free_addresses(site, config)
        check_encryption(site, config, plan)
        check_config(config)
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


def _check_directories(site: Site, spec: Any) -> None:
    """Raise FileNotFound for a directory of a new VM that does not exist, because nothing makes one."""
    for name in ("logDirectory", "suspendDirectory", "snapshotDirectory"):
        path = getattr(spec.files, name)
        if path and not ds_paths.local(site, path).is_dir():
            raise vim.fault.FileNotFound(file=path, msg=f"File {path} was not found")


def _new_ref(site: Site) -> Any:
    """Return an unused reference: `vm-1001`, or the bare number of a host without vCenter."""
    if site.product.is_vcenter:
        return site.world.new_ref(vim.VirtualMachine, "vm")
    return vim.VirtualMachine(str(site.world.next_number()))


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
        check_free_name(site.world, folder, config.name)
        ref = vim.VirtualMachine(moref) if moref else _new_ref(site)
        world.add(
            ref,
            name=config.name,
            parent=folder,
            config=config,
            runtime=_new_runtime(host or placed_host(site), encrypted=config.keyId is not None),
            guest=new_guest(config),
            resourcePool=None if template else pool,
        )
        add_companions(site, ref)
        adopt(site.world, folder, ref)
    return ref


def placed_host(site: Site, among: list[Any] | None = None) -> Any:
    """Return the host with the fewest VMs, among some hosts or all."""
    hosts = among or site.world.all(vim.HostSystem)
    vms = [site.world.get(vm, "runtime").host for vm in site.world.all(vim.VirtualMachine)]
    return min(hosts, key=vms.count)


def _host_and_version(site: Site, host: Any, version: str | None) -> tuple[Any, str]:
    """Return the host of a new VM and its hardware version. Raises VirtualHardwareVersionNotSupported.

    Without a version in the spec, it is the newest of the host. Without a host, it is one that runs the version.
    """
    with site.world.lock:
        if host is None:
            host = placed_host(site, hosts_that_run(site, version) if version else None)
        version = version or version_key(newest_version_on(site, host))
        check_host_version(site, host, version)
    return host, version


def _checked_name(site: Site, folder: Any, name: str | None) -> str:
    if not name or len(name) > 80:
        raise vim.fault.InvalidName(name=name or "", msg="The name of a virtual machine has 1 to 80 characters.")
    with site.world.lock:
        check_free_name(site.world, folder, inventory_name(name))
    return inventory_name(name)


def _home(site: Site, spec: Any, name: str) -> tuple[str, str]:
    """Return the folder and .vmx path of a new VM: as the spec asks, or a free folder named after the VM."""
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
    """Return a file name for a VM's name: characters that a file system or datastore path cannot have are escaped."""
    return (
        quote(name, safe=" ()+,=@!~%&'#;{}^" + "".join(chr(c) for c in range(0xA0, 0x2100)))
        if "/" in name or "[" in name
        else name
    )


def new_config(site: Site, spec: Any, name: str, vmx: str) -> Any:
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
        version=spec.version or version_key(site.product.release.hardware),
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


def _new_runtime(host: Any, *, encrypted: bool) -> Any:
    return fill(
        vim.vm.RuntimeInfo(
            host=host,
            cryptoState="unlocked" if encrypted else None,
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
