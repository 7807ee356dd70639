"""No method of any kind of object ends in SystemError, MethodNotFound or InvalidRequest."""

from pyVmomi import vim, vmodl

from tests.integration.vmlab_soap.calling import call_with_anything
from vmlab.api import VERSIONS

BROKEN = (vmodl.fault.SystemError, vmodl.fault.MethodNotFound, vmodl.fault.InvalidRequest)

LASTING = {
    "Unregister", "UnregisterAndDestroy", "Logout", "Terminate", "Destroy", "DestroyView", "Remove", "Login",
    "CancelWaitForUpdates", "WaitForUpdates", "WaitForUpdatesEx",
}  # fmt: skip
"""Methods after which there is nothing left to ask, or that wait."""


def test_no_object_of_the_inventory_breaks_off_whatever_is_asked_of_it(content, vm_at, run):
    """In a call or in its task, with arguments that mean little. The lab is not the same afterwards."""
    vm, cluster = vm_at("Production/web01"), content.searchIndex.FindByInventoryPath("Lab/host/Cluster1")
    host = cluster.host[0]
    snapshot = run(vm.CreateSnapshot_Task("x", "", False, False))
    folder, pool = vm_at("Test"), cluster.resourcePool
    known = [vm, host, host.datastore[0], cluster, folder, pool, snapshot, host.network[0]]
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    objects = [
        snapshot, *known, view, vm.environmentBrowser, host.datastoreBrowser, content.searchIndex, content.viewManager,
        content.authorizationManager, content.virtualDiskManager, content.fileManager, content.sessionManager,
        content.propertyCollector, content.rootFolder.childEntity[0],
    ]  # fmt: skip
    broken, asked = {}, 0

    for ref in objects:
        for kind in type(ref).__mro__:
            for name, method in getattr(kind, "_methodInfo", {}).items():
                if method.version in VERSIONS and name not in LASTING:
                    asked += 1
                    fault = call_with_anything(ref, name, known)
                    if fault is not None and issubclass(fault, BROKEN):
                        broken[f"{kind.__name__}.{name}"] = fault

    assert asked > 200
    assert not broken
