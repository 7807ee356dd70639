"""ConfigSpec pieces the lab's tests use."""

from pyVmomi import vim

Device = vim.vm.device
Disk = Device.VirtualDisk
MIB_KB = 1024


def added(device, operation=None):
    return Device.VirtualDeviceSpec(operation="add", fileOperation=operation, device=device)


def flat(file_name="", mode="persistent", thin=True):
    return Disk.FlatVer2BackingInfo(fileName=file_name, diskMode=mode, thinProvisioned=thin)


def new_disk(controller, unit=None, mib=8, key=-100, **backing):
    disk = Disk(key=key, controllerKey=controller, unitNumber=unit, capacityInKB=mib * MIB_KB, backing=flat(**backing))
    return added(disk, "create")


def vm_spec(name, *changes, datastore="datastore1", **fields):
    files = vim.vm.FileInfo(vmPathName=f"[{datastore}]")
    return vim.vm.ConfigSpec(
        name=name,
        files=files,
        guestId="otherLinux64Guest",
        numCPUs=1,
        memoryMB=64,
        deviceChange=list(changes),
        **fields,
    )


def disks_of(vm):
    return [device for device in vm.config.hardware.device if isinstance(device, Disk)]
