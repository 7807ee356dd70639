"""The privileges of a vCenter by name: those of the API's tables, and those that a vCenter lists beyond them."""

_BY_GROUP = {
    "Alarm": "Acknowledge Create Delete DisableActions Edit SetStatus ToggleEnableOnEntity",
    "Authorization": "ModifyPermissions ModifyPrivileges ModifyRoles ReassignRolePermissions",
    "AutoDeploy.Host": "AssociateMachine",
    "AutoDeploy.Profile": "Create Edit",
    "AutoDeploy.Rule": "Create Delete Edit",
    "AutoDeploy.RuleSet": "Activate Edit",
    "Certificate": "Manage",
    "ContentLibrary": (
        "AddLibraryItem CreateLocalLibrary CreateSubscribedLibrary DeleteLibraryItem DeleteLocalLibrary "
        "DeleteSubscribedLibrary DownloadSession EvictLibraryItem EvictSubscribedLibrary GetConfiguration "
        "ImportStorage ProbeSubscription ReadStorage SyncLibrary SyncLibraryItem TypeIntrospection "
        "UpdateConfiguration UpdateLibrary UpdateLibraryItem UpdateLocalLibrary UpdateSession "
        "UpdateSubscribedLibrary"
    ),
    "Cryptographer": (
        "Access AddDisk Clone Decrypt Encrypt EncryptNew ManageEncryptionPolicy ManageKeyServers ManageKeys "
        "Migrate ReadKeyServersInfo Recrypt RegisterHost RegisterVM"
    ),
    "DVPortgroup": "Create Delete Modify PolicyOp ScopeOp",
    "DVSwitch": "Create Delete HostOp Modify Move PolicyOp PortConfig PortSetting ResourceManagement Vspan",
    "Datacenter": "Create Delete IpPoolConfig IpPoolQueryAllocations IpPoolReleaseIp Move Reconfigure Rename",
    "Datastore": (
        "AllocateSpace Browse Config Delete DeleteFile FileManagement Move Rename UpdateVirtualMachineFiles "
        "UpdateVirtualMachineMetadata"
    ),
    "DirectPathProfileManager": "Manage",
    "EAM": "Config Modify View",
    "Extension": "Register Unregister Update",
    "ExternalStatsProvider": "Register Unregister Update",
    "Folder": "Create Delete Move Rename",
    "Global": (
        "CancelTask CapacityPlanning Diagnostics DisableMethods EnableMethods GlobalTag Health Licenses "
        "LogEvent ManageCustomFields Proxy ScriptAction ServiceManagers SetCustomField Settings SystemTag "
        "VCServer"
    ),
    "HealthUpdateProvider": "Register Unregister Update",
    "Host.Cim": "CimInteraction",
    "Host.Config": (
        "AdvancedConfig AuthenticationStore AutoStart Connection DateTime Firmware HyperThreading Image "
        "Maintenance Memory NetService Network Nvdimm Patch PciPassthru Power ProductLocker Quarantine "
        "Resources Settings Snmp Storage SystemManagement"
    ),
    "Host.Hbr": "HbrManagement",
    "Host.Inventory": (
        "AddHostToCluster AddStandaloneHost CreateCluster DeleteCluster EditCluster MoveCluster MoveHost "
        "RemoveHostFromCluster RenameCluster"
    ),
    "Host.Local": "CreateVM DeleteVM InstallAgent ManageUserGroups ReconfigVM",
    "InventoryService.Tagging": (
        "AttachTag CreateCategory CreateTag DeleteCategory DeleteTag EditCategory EditTag "
        "ModifyUsedByForCategory ModifyUsedByForTag"
    ),
    "Network": "Assign Config Delete Move",
    "Performance": "ModifyIntervals",
    "Profile": "Clear Create Delete Edit Export View",
    "Resource": (
        "ApplyRecommendation AssignVAppToPool AssignVMToPool ColdMigrate CreatePool DeletePool EditPool "
        "HotMigrate MovePool QueryVMotion RenamePool"
    ),
    "ScheduledTask": "Create Delete Edit Run",
    "Sessions": "GlobalMessage ImpersonateUser TerminateSession ValidateSession",
    "StoragePod": "Config",
    "StorageProfile": "Update View",
    "StorageViews": "ConfigureService View",
    "System": "Anonymous Read View",
    "Task": "Create Update",
    "TenantManager": "Query Update",
    "TransferService": "Manage Monitor",
    "VApp": (
        "ApplicationConfig AssignResourcePool AssignVApp AssignVM Clone Create Delete Export "
        "ExtractOvfEnvironment Import InstanceConfig ManagedByConfig Move PowerOff PowerOn Rename "
        "ResourceConfig Suspend Unregister"
    ),
    "VRMPolicy": "Query Update",
    "VirtualMachine.Config": (
        "AddExistingDisk AddNewDisk AddRemoveDevice AdvancedConfig Annotation CPUCount ChangeTracking "
        "DiskExtend DiskLease EditDevice HostUSBDevice ManagedBy Memory MksControl QueryFTCompatibility "
        "QueryUnownedFiles RawDevice ReloadFromPath RemoveDisk Rename ResetGuestInfo Resource Settings "
        "SwapPlacement ToggleForkParent Unlock UpgradeVirtualHardware"
    ),
    "VirtualMachine.GuestOperations": "Execute Modify ModifyAliases Query QueryAliases",
    "VirtualMachine.Hbr": "ConfigureReplication MonitorReplication ReplicaManagement",
    "VirtualMachine.Interact": (
        "AnswerQuestion Backup ConsoleInteract CreateScreenshot CreateSecondary DefragmentAllDisks "
        "DeviceConnection DisableSecondary DnD EnableSecondary GuestControl MakePrimary Pause PowerOff "
        "PowerOn PutUsbScanCodes Record Replay Reset SESparseMaintenance SetCDMedia SetFloppyMedia Suspend "
        "TerminateFaultTolerantVM ToolsInstall TurnOffFaultTolerance"
    ),
    "VirtualMachine.Inventory": "Create CreateFromExisting Delete Move Register Unregister",
    "VirtualMachine.Namespace": "Event EventNotify Management ModifyContent Query ReadContent",
    "VirtualMachine.Provisioning": (
        "Clone CloneTemplate CreateTemplateFromVM Customize DeployTemplate DiskRandomAccess DiskRandomRead "
        "FileRandomAccess GetVmFiles MarkAsTemplate MarkAsVM ModifyCustSpecs PromoteDisks PutVmFiles "
        "ReadCustSpecs"
    ),
    "VirtualMachine.State": "CreateSnapshot RemoveSnapshot RenameSnapshot RevertToSnapshot",
    "vService": "CreateDependency DestroyDependency ReconfigureDependency UpdateDependency",
}

PRIVILEGES: frozenset[str] = frozenset(
    f"{group}.{name}" for group, names in _BY_GROUP.items() for name in names.split()
)
"""In full, e.g. `VirtualMachine.State.CreateSnapshot`."""
_OF_A_VCENTER = ("ContentLibrary.", "InventoryService.", "StorageProfile.")
OF_A_HOST: frozenset[str] = frozenset(name for name in PRIVILEGES if not name.startswith(_OF_A_VCENTER))
"""Those of an ESXi host, which has none for services that only a vCenter runs."""
