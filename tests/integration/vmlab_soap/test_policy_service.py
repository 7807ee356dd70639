"""The lab's policy service: sessions by header, one right, and specs that name policies."""

import http.client

import pytest
from pyVmomi import SoapStubAdapter, pbm, vim, vmodl

from tests.integration.vmlab_soap.specs import vm_spec


@pytest.fixture
def service(connect, lab):
    """Make pyVmomi's client of the policy service in a session of a user."""
    stubs = []

    def open_one(user=None, *, path="/pbm/sdk", cookie=None):
        stub = connect(user)._stub
        context = {"vcSessionCookie": stub.cookie.split('"')[1] if cookie is None else cookie}
        made = SoapStubAdapter(
            host=lab.host, port=lab.port, path=path, version="pbm.version.version11",
            sslContext=stub.schemeArgs["context"], requestContext=context,
        )  # fmt: skip
        stubs.append(made)
        return pbm.ServiceInstance("ServiceInstance", made).RetrieveContent()

    yield open_one
    for stub in stubs:
        stub.DropConnections()


def ref(vm, key=None):
    kind = "virtualMachine" if key is None else "virtualDiskId"
    return pbm.ServerObjectRef(objectType=kind, key=vm._moId if key is None else f"{vm._moId}:{key}")


@pytest.mark.parametrize("path", ["/pbm", "/pbm/sdk"])
def test_it_tells_the_policies_of_a_vm_that_a_spec_gave_it(service, content, lab, run, path):
    gold = lab.post("inventory/add", {"kind": "storage policy", "name": "Gold"})["id"]
    pool = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
    folder = content.searchIndex.FindByInventoryPath("Lab/vm")
    profile = [vim.vm.DefinedProfileSpec(profileId=gold)]
    vm = run(folder.CreateVM_Task(vm_spec("with-policy", vmProfile=profile), pool))
    manager = service(path=path).profileManager

    (found,) = manager.QueryAssociatedProfiles([ref(vm)])
    (policy,) = manager.RetrieveContent(found.profileId)

    assert (policy.name, policy.profileId.uniqueId) == ("Gold", gold)
    run(vm.Destroy_Task())


def test_a_policy_that_is_not_there_is_refused(content, run):
    pool = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
    folder = content.searchIndex.FindByInventoryPath("Lab/vm")
    profile = [vim.vm.DefinedProfileSpec(profileId="no-such")]

    with pytest.raises(vmodl.fault.InvalidArgument):
        run(folder.CreateVM_Task(vm_spec("no-policy", vmProfile=profile), pool))
    assert content.searchIndex.FindByInventoryPath("Lab/vm/no-policy") is None


def test_a_session_is_known_by_the_header_alone(service, vm_at):
    with pytest.raises(vim.fault.NotAuthenticated):
        service(cookie="00000000-none").profileManager.QueryAssociatedProfiles([ref(vm_at("old01"))])


def test_it_asks_for_the_right_to_view_policies(service, vm_at):
    with pytest.raises(vim.fault.NoPermission):
        service("readonly@vsphere.local").profileManager.QueryAssociatedProfiles([ref(vm_at("old01"))])
    assert service("backup@vsphere.local").profileManager.QueryAssociatedProfiles([ref(vm_at("old01"))])


def test_other_methods_answer_not_supported(service):
    with pytest.raises((vmodl.fault.NotSupported, http.client.HTTPException)):
        service().profileManager.FetchResourceType()
