"""Answers of the managers whose work the lab does not do: empty lists, a licence, an extension, the users."""

from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.site import Call, Kind, Site, computed, method

NOTHING_THERE: dict[Any, tuple[str, ...]] = {
    vim.PerformanceManager: ("QueryPerf", "QueryAvailablePerfMetric"),
    vim.alarm.AlarmManager: ("GetAlarm", "GetAlarmState"),
    vim.scheduler.ScheduledTaskManager: ("RetrieveEntityScheduledTask", "RetrieveObjectScheduledTask"),
    vim.DiagnosticManager: ("QueryDescriptions",),
    vim.IpPoolManager: ("QueryIpPools",),
    vim.IoFilterManager: ("QueryIoFilterInfo",),
    vim.HealthUpdateManager: ("QueryProviderList",),
    vim.ServiceManager: ("QueryServiceList",),
    vim.ExtensionManager: ("QueryManagedBy",),
    vim.vslm.vcenter.VStorageObjectManager: ("ListVStorageObject", "ListVStorageObjectsAttachedToTag"),
    vim.encryption.CryptoManagerKmip: ("ListKmipServers", "ListKeys"),
    vim.profile.ProfileManager: ("FindAssociatedProfile",),
    vim.ClusterComputeResource: ("FindRulesForVm",),
    vim.host.StorageSystem: ("QueryUnresolvedVmfsVolume",),
    vim.host.ImageConfigManager: ("fetchSoftwarePackages",),
    vim.host.KernelModuleSystem: ("QueryModules",),
    vim.host.IscsiManager: ("QueryBoundVnics",),
    vim.host.HostAccessManager: (
        "QueryLockdownExceptions",
        "QuerySystemUsers",
        "RetrieveHostAccessControlEntries",
    ),
    vim.host.CertificateManager: ("ListCACertificates", "ListCACertificateRevocationLists"),
}
"""The methods that only read and whose answer here is an empty list, by the manager's type."""


def _answer_nothing(kind: Any, name: str) -> None:
    method(kind, name)(lambda _call, **_: [])


for _kind, _methods in NOTHING_THERE.items():
    for _name in _methods:
        _answer_nothing(_kind, _name)


@method(vim.PerformanceManager, "QueryPerfProviderSummary")
def query_perf_provider_summary(call: Call, entity: Any) -> Any:
    """Say that statistics come every 20 seconds. There are no counters."""
    call.world.entry(entity)
    return vim.PerformanceManager.ProviderSummary(
        entity=entity, currentSupported=True, summarySupported=True, refreshRate=20
    )


@method(vim.PerformanceManager, "QueryPerfCounter")
def query_perf_counter(call: Call, counterId: list[int]) -> list[Any]:
    """Refuse, because no counter has any of these ids."""
    raise vmodl.fault.InvalidArgument(invalidProperty="counterId", msg=f"no performance counter {counterId[0]}")


@method(vim.vslm.vcenter.VStorageObjectManager, "RetrieveVStorageObject")
def retrieve_v_storage_object(call: Call, id: Any, datastore: Any, diskInfoFlags: Any) -> Any:
    """Refuse, because no virtual storage object has that id."""
    raise vim.fault.NotFound(msg=f"no virtual storage object {id.id}")


_EXTENSIONS = {
    "com.vmware.vim.sms": "VMware vSphere Storage Monitoring Service",
    "com.vmware.vim.eam": "vSphere ESX Agent Manager",
}
"""The extensions that every vCenter brings."""


@computed(vim.ExtensionManager, "extensionList")
def extension_list(site: Site, _: Any) -> list[Any]:
    """The extensions that every vCenter brings."""
    return [
        vim.Extension(
            key=key,
            description=vim.Description(label=label, summary=label),
            company="VMware, Inc.",
            version="8.0",
            lastHeartbeatTime=site.started,
        )
        for key, label in _EXTENSIONS.items()
    ]


@method(vim.ExtensionManager, "FindExtension")
def find_extension(call: Call, extensionKey: str) -> Any:
    """Find an extension by its key, or nothing."""
    return next((one for one in extension_list(call.site, None) if one.key == extensionKey), None)


def knows_extension(site: Site, key: str) -> bool:
    """Return whether an extension is registered."""
    return any(one.key == key for one in extension_list(site, None))


@computed(vim.LicenseManager, "licenses")
def licenses(site: Site, _: Any) -> list[Any]:
    """The licence of a server that is being tried out, or the free one of a host."""
    free = site.product.kind is Kind.FREE_ESXI
    return [
        vim.LicenseManager.LicenseInfo(
            licenseKey="00000-00000-00000-00000-00000", editionKey="esxBasic" if free else "eval",
            name="VMware vSphere 8 Hypervisor" if free else "Evaluation Mode", total=0,
            costUnit="", labels=[],
        )
    ]  # fmt: skip


@computed(vim.LicenseManager, "licensedEdition")
def licensed_edition(_site: Site, _: Any) -> str:
    """The edition of that licence."""
    return "eval"


@method(vim.LicenseAssignmentManager, "QueryAssignedLicenses")
def query_assigned_licenses(call: Call, entityId: str | None) -> list[Any]:
    """The one licence, given to the vCenter itself."""
    mine = call.site.instance_uuid
    assigned = vim.LicenseAssignmentManager.LicenseAssignment(
        entityId=mine, entityDisplayName="localhost", assignedLicense=licenses(call.site, None)[0]
    )
    return [assigned] if entityId in (None, mine) else []


@computed(vim.UserDirectory, "domainList")
def domain_list(_site: Site, _: Any) -> list[str]:
    """The domain of all users."""
    return ["VSPHERE.LOCAL"]


@method(vim.UserDirectory, "RetrieveUserGroups")
def retrieve_user_groups(
    call: Call, searchStr: str, exactMatch: bool, findUsers: bool, findGroups: bool, **_: Any
) -> list[Any]:
    """Users by name or part of it; there are no groups."""
    names = [name.partition("@")[0] for name in call.site.access.grants()] if findUsers else []
    wanted = searchStr.lower()
    found = [name for name in names if name == wanted or (not exactMatch and wanted in name)]
    return [vim.UserSearchResult(principal=name, fullName=name, group=False) for name in found]
