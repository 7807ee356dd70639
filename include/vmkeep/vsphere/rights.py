"""Lists the rights that backups and restores need, in one table for the documented role and for every check.

A step names the vSphere methods that it calls. Their privileges come from pyVmomi's tables. Written down here are only
the privileges that those tables lack: they depend on the arguments (``ReconfigVM_Task``), or no method asks for them
(VDDK, ``/folder``). A test searches the code for methods that are called and stand in no step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.model.purpose import Purpose
from vmkeep.vsphere.api import privileges_of, vim

SYSTEM = ("System.Anonymous", "System.View", "System.Read")
"""Privileges that vSphere puts into every role."""


class On(StrEnum):
    """The kind of object on which vSphere checks a privilege."""

    ROOT = "vCenter (its root folder)"
    HOST = "host of the VM"
    VM = "VM"
    FOLDER = "folder of the new VM"
    POOL = "resource pool"
    HOME = "datastore of the VM's own files"
    DATASTORE = "each datastore of the VM"
    NETWORK = "each network of the VM"
    TARGET = "VM that gets disks"
    PROXY = "VM that is the proxy"
    BACKED_UP_HOST = "each host that is backed up"


class When(StrEnum):
    """A circumstance of some VMs or sites that needs more privileges."""

    ENCRYPTED = "the VM is encrypted"
    RAW_MAPPING = "a disk becomes a raw device mapping"
    HOTADD = "transport hotadd"
    OWN_SWAP = "the VM's swap file has a place of its own (else that is left to the new host)"
    VAPP = "the VM has vApp properties (else they are left out)"
    MANAGED = "an extension manages the VM (else it is not named as its manager)"
    NO_SWAP_OF_DEVICES = "the VM's LSI Logic controllers may not be replaced (else they may)"
    TEMPLATE = "the VM was a template"
    DRILL = "a drill, which removes the VM again"
    SUSPEND = "mode SUSPEND"
    GUEST = "commands run in the guest"
    POLICIES = "storage policies are to be kept with the point"
    NEW_POLICIES = "a new VM is to get storage policies (else they are named in the plan)"
    ATTRIBUTES = "a new VM is to get custom attributes (else they are named in the plan)"
    TAGS = "a new VM is to get tags (else they are named in the plan)"
    CHANGED_BLOCKS = "only the blocks that changed are to be written"
    UNDO = "a snapshot is kept to undo the restore"
    WARNING = "the VM's notes are to warn of a start after a restore that failed"
    WRITING_SNAPSHOT = "transport san or hotadd, which write only under a temporary snapshot"
    PICTURE = "the report of a recovery is to show the VM's console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An action of a run, with the privileges that it needs."""

    name: str
    calls: tuple[str, ...] = ()
    """WSDL names of the methods. Their privileges are added from pyVmomi's tables."""
    besides: Mapping[On, tuple[str, ...]] = field(default_factory=dict)
    """Privileges that are in none of these tables."""
    when: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A privilege on a kind of object."""

    on: On
    privilege: str
    step: str
    """Name of the first step that needs the privilege."""
    when: When | None = None
    """The circumstance in which the privilege is needed; ``None``: always."""


_CONFIG = "VirtualMachine.Config"
_PROVISIONING = "VirtualMachine.Provisioning"

LOOKING = Step(
    name="log in, look, wait",
    calls=(
        "CancelTask", "ContinueRetrievePropertiesEx", "CreateContainerView", "CreateFilter", "CreatePropertyCollector",
        "CurrentTime", "DestroyPropertyCollector", "DestroyView", "FindAllByDnsName", "FindAllByIp", "FindAllByUuid",
        "FindByInventoryPath", "FindByUuid", "FindExtension", "HasPrivilegeOnEntities", "Login", "Logout",
        "QueryConfigOptionDescriptor", "QueryConfigTarget", "QueryEvents", "QueryUnresolvedVmfsVolume",
        "RetrieveDiskPartitionInfo", "RetrievePropertiesEx", "RetrieveServiceContent", "WaitForUpdatesEx",
    ),
)  # fmt: skip
"""The steps of every run. The user who started a task may cancel it without any privilege."""

_NO_MIGRATION = Step(
    name="keep Storage vMotion away while disks are open (VDDK)",
    besides=dict.fromkeys((On.ROOT, On.HOST), ("Global.DisableMethods", "Global.EnableMethods")),
)
_ENCRYPTED = Step(name="open disks of an encrypted VM", besides={On.VM: ("Cryptographer.Access",)}, when=When.ENCRYPTED)
_HOTADD = Step(
    name="attach disks to the proxy",
    besides={
        On.PROXY: (
            "Datastore.AllocateSpace", f"{_CONFIG}.AddExistingDisk", f"{_CONFIG}.AddNewDisk", f"{_CONFIG}.RemoveDisk",
            f"{_CONFIG}.Resource", f"{_CONFIG}.Settings",
        )
    },
    when=When.HOTADD,
)  # fmt: skip
_WRITING_SNAPSHOT = Step(
    name="write under a temporary snapshot, put the VM back to it, and remove it",
    calls=("CreateSnapshot_Task", "RevertToSnapshot_Task", "RemoveSnapshot_Task", "ConsolidateVMDisks_Task"),
    when=When.WRITING_SNAPSHOT,
)
_READ = (f"{_PROVISIONING}.DiskRandomRead", f"{_PROVISIONING}.GetVmFiles")
_WRITING = Step(
    name="write disks, and read them back (VDDK)",
    besides={
        On.VM: (*_READ, f"{_PROVISIONING}.DiskRandomAccess", f"{_PROVISIONING}.PutVmFiles", f"{_CONFIG}.DiskLease")
    },
)
_POLICIES = Step(
    name="ask which storage policies VM and disks have", besides={On.ROOT: ("StorageProfile.View",)}, when=When.POLICIES
)
"""Without this right a backup succeeds, with a warning."""
_PICTURE = Step(
    name="take a picture of the console",
    calls=("CreateScreenshot_Task", "DeleteDatastoreFile_Task"),
    when=When.PICTURE,
)
"""Without this right a recovery succeeds, with a warning."""
_GUEST = Step(
    name="run commands in the guest",
    calls=(
        "CreateTemporaryFileInGuest", "DeleteFileInGuest", "InitiateFileTransferFromGuest", "ListProcessesInGuest",
        "StartProgramInGuest", "TerminateProcessInGuest", "ValidateCredentialsInGuest",
    ),
    when=When.GUEST,
)  # fmt: skip
_NVRAM = Step(name="write the NVRAM", besides={On.HOME: ("Datastore.FileManagement",)})

STEPS: Mapping[Purpose, tuple[Step, ...]] = {
    Purpose.BACKUP: (
        LOOKING,
        Step(
            name="switch change tracking on",
            calls=("ReconfigVM_Task",),
            besides={On.VM: (f"{_CONFIG}.ChangeTracking",)},
        ),
        Step(
            name="take the snapshot and remove it",
            calls=("CreateSnapshot_Task", "RemoveSnapshot_Task", "ConsolidateVMDisks_Task"),
        ),
        Step(name="ask for the changed areas", calls=("QueryChangedDiskAreas",)),
        Step(
            name="read disks (VDDK)",
            besides={On.VM: (*_READ, f"{_CONFIG}.DiskLease")},
        ),
        _NO_MIGRATION,
        Step(
            name="read the .vmx and the NVRAM",
            calls=("AcquireGenericServiceTicket",),
            besides={On.HOME: ("Datastore.Browse", "Datastore.FileManagement")},
        ),
        _POLICIES,
        _GUEST,
        Step(
            name="mark the VM, suspend it and resume it",
            calls=("ReconfigVM_Task", "SuspendVM_Task", "PowerOnVM_Task"),
            besides={On.VM: (f"{_CONFIG}.AdvancedConfig",)},
            when=When.SUSPEND,
        ),
        _ENCRYPTED,
        _HOTADD,
    ),
    Purpose.RESTORE_OVER: (
        LOOKING,
        Step(name="switch off, and on again", calls=("PowerOffVM_Task", "PowerOnVM_Task")),
        Step(
            name="mark the VM, switch change tracking off",
            calls=("ReconfigVM_Task",),
            besides={On.VM: (f"{_CONFIG}.AdvancedConfig", f"{_CONFIG}.ChangeTracking")},
        ),
        Step(
            name="ask for the changed areas, in a snapshot that is removed at once",
            calls=("CreateSnapshot_Task", "RemoveSnapshot_Task", "ConsolidateVMDisks_Task", "QueryChangedDiskAreas"),
            when=When.CHANGED_BLOCKS,
        ),
        Step(
            name="keep a snapshot, and go back to it",
            calls=(
                "CreateSnapshot_Task", "RevertToSnapshot_Task", "RemoveSnapshot_Task", "ConsolidateVMDisks_Task",
            ),
            when=When.UNDO,
        ),
        Step(
            name="warn in the VM's notes",
            calls=("ReconfigVM_Task",),
            besides={On.VM: (f"{_CONFIG}.Annotation",)},
            when=When.WARNING,
        ),
        _WRITING,
        _WRITING_SNAPSHOT,
        _NO_MIGRATION,
        _NVRAM,
        _ENCRYPTED,
        _HOTADD,
    ),
    Purpose.RESTORE_NEW: (
        LOOKING,
        Step(
            name="create the VM",
            calls=("CreateVM_Task",),
            besides={
                On.FOLDER: tuple(
                    f"{_CONFIG}.{part}"
                    for part in (
                        "AddNewDisk", "AddRemoveDevice", "AdvancedConfig", "Annotation", "CPUCount", "ChangeTracking",
                        "Memory", "MksControl", "Resource", "Settings",
                    )
                ),
                On.DATASTORE: ("Datastore.AllocateSpace",),
                On.NETWORK: ("Network.Assign",),
            },
        ),
        Step(name="place the swap file", besides={On.FOLDER: (f"{_CONFIG}.SwapPlacement",)}, when=When.OWN_SWAP),
        Step(name="set vApp properties", besides={On.FOLDER: ("VApp.ApplicationConfig",)}, when=When.VAPP),
        Step(
            name="name the extension that manages it", besides={On.FOLDER: (f"{_CONFIG}.ManagedBy",)}, when=When.MANAGED
        ),
        Step(
            name="forbid to replace its controllers",
            besides={On.FOLDER: (f"{_CONFIG}.EditDevice",)},
            when=When.NO_SWAP_OF_DEVICES,
        ),
        Step(
            name="encrypt the new VM with the old one's key",
            calls=("QueryCryptoKeyStatus",),
            besides={On.FOLDER: ("Cryptographer.EncryptNew", "Cryptographer.Access")},
            when=When.ENCRYPTED,
        ),
        Step(
            name="map a LUN", besides={On.FOLDER: (f"{_CONFIG}.RawDevice",)}, when=When.RAW_MAPPING
        ),
        Step(
            name="set the boot order, take the mark off",
            calls=("ReconfigVM_Task",),
            besides={On.VM: (f"{_CONFIG}.Settings", f"{_CONFIG}.AdvancedConfig")},
        ),
        _WRITING,
        _WRITING_SNAPSHOT,
        _NO_MIGRATION,
        Step(name="look for an ISO", besides={On.HOME: ("Datastore.Browse",)}),
        _NVRAM,
        Step(name="switch on", calls=("PowerOnVM_Task",)),
        Step(name="give it storage policies", besides={On.ROOT: ("StorageProfile.View",)}, when=When.NEW_POLICIES),
        Step(name="set custom attributes", calls=("SetField",), when=When.ATTRIBUTES),
        Step(
            name="attach tags",
            besides={On.ROOT: ("InventoryService.Tagging.AttachTag",)},
            when=When.TAGS,
        ),
        Step(name="make it a template", calls=("MarkAsTemplate",), when=When.TEMPLATE),
        Step(
            name="remove a VM that is half made",
            calls=("Destroy_Task",),
            besides={On.VM: ("VirtualMachine.Inventory.Delete",), On.FOLDER: ("VirtualMachine.Inventory.Delete",)},
        ),
        Step(name="switch the VM of a drill off, and remove it", calls=("PowerOffVM_Task",), when=When.DRILL),
        _PICTURE,
        _HOTADD,
    ),
    Purpose.ATTACH: (
        LOOKING,
        Step(
            name="create the VM that carries new disks",
            calls=("CreateVM_Task",),
            besides={
                On.FOLDER: tuple(
                    f"{_CONFIG}.{part}"
                    for part in (
                        "AddNewDisk", "AddRemoveDevice", "AdvancedConfig", "Annotation", "CPUCount", "ChangeTracking",
                        "Memory", "Settings",
                    )
                ),
                On.DATASTORE: ("Datastore.AllocateSpace",),
            },
        ),
        _WRITING,
        _NO_MIGRATION,
        Step(
            name="take disks off the carrier, or put them back",
            calls=("ReconfigVM_Task",),
            besides={On.VM: (f"{_CONFIG}.RemoveDisk", f"{_CONFIG}.AddExistingDisk")},
        ),
        Step(
            name="attach the disks",
            besides={
                On.TARGET: (f"{_CONFIG}.AddExistingDisk", f"{_CONFIG}.AddRemoveDevice", f"{_CONFIG}.AdvancedConfig")
            },
        ),
        Step(
            name="remove the carrier",
            calls=("Destroy_Task",),
            besides={On.VM: ("VirtualMachine.Inventory.Delete",), On.FOLDER: ("VirtualMachine.Inventory.Delete",)},
        ),
    ),
    Purpose.HOST_BACKUP: (
        LOOKING,
        Step(
            name="have the bundle made and fetch it",
            calls=("BackupFirmwareConfiguration", "AcquireGenericServiceTicket"),
        ),
    ),
    Purpose.GUEST_FILES: (
        LOOKING,
        Step(
            name="write files in the guest, and read them back",
            calls=(
                "DeleteFileInGuest", "InitiateFileTransferFromGuest", "InitiateFileTransferToGuest",
                "ListFilesInGuest", "MoveFileInGuest", "ValidateCredentialsInGuest",
            ),
        ),
    ),
}  # fmt: skip

_MAKE_THEIR_VM = (Purpose.RESTORE_NEW, Purpose.ATTACH)

_OWNERS = {
    vim.ManagedEntity: On.VM,
    vim.VirtualMachine: On.VM,
    vim.vm.Snapshot: On.VM,
    vim.Folder: On.FOLDER,
    vim.ResourcePool: On.POOL,
    vim.encryption.CryptoManagerKmip: On.ROOT,
    vim.host.FirmwareSystem: On.BACKED_UP_HOST,
}


def rights_of(purpose: Purpose) -> tuple[Right, ...]:
    """Return every right that a kind of run needs once, ordered by object and privilege.

    The rights on a VM that is not yet made are those on its folder.
    """
    found: dict[tuple[On, str, When | None], Right] = {}
    for step in STEPS[purpose]:
        for on, privilege in _needs(step):
            place = On.FOLDER if on is On.VM and purpose in _MAKE_THEIR_VM else on
            right = Right(on=place, privilege=privilege, step=step.name, when=step.when)
            found.setdefault((place, privilege, step.when), right)
    order = list(On)
    return tuple(sorted(found.values(), key=lambda right: (order.index(right.on), right.when or "", right.privilege)))


def needed(purpose: Purpose, when: Iterable[When] = ()) -> Mapping[On, tuple[str, ...]]:
    """Return the privileges to check before a run, by kind of object.

    :param when: the circumstances of the VM and the site.
    """
    met = {None, *when}
    found: dict[On, list[str]] = {}
    for right in rights_of(purpose):
        if right.when in met:
            found.setdefault(right.on, []).append(right.privilege)
    return {on: tuple(names) for on, names in found.items()}


def _needs(step: Step) -> Iterator[tuple[On, str]]:
    for call in step.calls:
        for kind, privilege in privileges_of(call):
            if privilege not in SYSTEM:
                yield _OWNERS[kind], privilege
    for on, names in step.besides.items():
        yield from ((on, name) for name in names)
