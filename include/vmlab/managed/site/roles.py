"""Roles: named sets of privileges, those that every vCenter has and one for backup programs."""

from dataclasses import dataclass

SYSTEM = ("System.Anonymous", "System.View", "System.Read")

ADMIN_ROLE, READ_ONLY_ROLE, NO_ACCESS_ROLE, BACKUP_ROLE = -1, -2, -5, 1101

BACKUP_PRIVILEGES = (
    "Cryptographer.Access",
    "Cryptographer.EncryptNew",
    "Cryptographer.ManageKeys",
    "Datastore.AllocateSpace",
    "Datastore.Browse",
    "Datastore.FileManagement",
    "Global.DisableMethods",
    "Global.EnableMethods",
    "Global.Licenses",
    "Global.SetCustomField",
    "Host.Config.Firmware",
    "InventoryService.Tagging.AttachTag",
    "Network.Assign",
    "Resource.AssignVMToPool",
    "Sessions.ValidateSession",
    "StorageProfile.View",
    "VApp.ApplicationConfig",
    "VirtualMachine.Config.AddExistingDisk",
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.Annotation",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.ChangeTracking",
    "VirtualMachine.Config.DiskExtend",
    "VirtualMachine.Config.DiskLease",
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Config.ManagedBy",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.MksControl",
    "VirtualMachine.Config.RawDevice",
    "VirtualMachine.Config.RemoveDisk",
    "VirtualMachine.Config.Rename",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.Config.Settings",
    "VirtualMachine.Config.SwapPlacement",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
    "VirtualMachine.Interact.CreateScreenshot",
    "VirtualMachine.Interact.DeviceConnection",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.Suspend",
    "VirtualMachine.Inventory.Create",
    "VirtualMachine.Inventory.Delete",
    "VirtualMachine.Inventory.Register",
    "VirtualMachine.Inventory.Unregister",
    "VirtualMachine.Provisioning.DiskRandomAccess",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.Provisioning.MarkAsTemplate",
    "VirtualMachine.Provisioning.PutVmFiles",
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
    "VirtualMachine.State.RevertToSnapshot",
)
"""The privileges that backup products ask for, and those that restoring to a new VM needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A named set of privileges. `None` means all of them."""

    role_id: int
    name: str
    label: str
    privileges: tuple[str, ...] | None

    def holds(self, privilege: str) -> bool:
        """Return whether the role holds a privilege."""
        return self.privileges is None or privilege in SYSTEM[:1] or privilege in self.privileges


BUILT_IN = (
    Role(role_id=ADMIN_ROLE, name="Admin", label="Administrator", privileges=None),
    Role(role_id=READ_ONLY_ROLE, name="ReadOnly", label="Read-only", privileges=SYSTEM),
    Role(role_id=NO_ACCESS_ROLE, name="NoAccess", label="No access", privileges=()),
    Role(role_id=BACKUP_ROLE, name="Backup", label="Backup", privileges=(*SYSTEM, *BACKUP_PRIVILEGES)),
)


def is_system(privilege: str | None) -> bool:
    """Return whether a privilege needs no session."""
    return privilege == SYSTEM[0]
