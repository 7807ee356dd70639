"""Every fault of the API can be planned, and arrives as itself with all that its type requires."""

from io import BytesIO

import pytest
from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl

from tests.integration.vmlab_soap.tables import wrong_fields
from vmlab.api import VERSIONS, fault_named
from vmlab.api.values import NEWEST
from vmlab.soap import fault_envelope


def faults():
    """The faults of the version that the lab speaks, without those of vCenter's other services."""
    return sorted(
        name
        for name, (_, _, _, version, _) in VmomiSupport._dataDefMap.items()
        if version in VERSIONS and issubclass(VmomiSupport.GetVmodlType(name), vmodl.MethodFault)
    )


def received(envelope):
    """The fault in a SOAP document, as pyVmomi's client reads it."""
    return SoapAdapter.SoapResponseDeserializer(None).Deserialize(BytesIO(envelope), vmodl.MethodFault)


def test_every_fault_arrives_as_itself_with_all_that_it_requires():
    names = faults()

    whole = [received(fault_envelope(fault_named(name, "planned"), NEWEST)) for name in names]

    assert [type(fault).__name__ for fault in whole] == names
    assert {fault.msg for fault in whole} == {"planned"}
    assert [place for fault in whole for place in wrong_fields(fault, type(fault).__name__)] == []


@pytest.mark.parametrize("name", [
    "TaskInProgress", "VirtualHardwareVersionNotSupported", "ManagedObjectNotFound", "DuplicateName", "InvalidVmState",
    "StorageVMotionNotSupported",
])  # fmt: skip
def test_a_planned_fault_with_references_comes_from_the_call_and_from_the_task(content, vm_at, run, lab, name):
    lab.fault(method="CurrentTime", fault=name)
    with pytest.raises(vmodl.MethodFault) as called:
        content.rootFolder._stub.InvokeMethod(
            vim.ServiceInstance("ServiceInstance"), vim.ServiceInstance.CurrentTime.info, ()
        )
    lab.fault(method="CreateSnapshot_Task", fault=name)
    with pytest.raises(vmodl.MethodFault) as in_task:
        run(vm_at("Production/web01").CreateSnapshot_Task("s", "", False, False))

    assert called.value._wsdlName == in_task.value._wsdlName == name
    assert not list(wrong_fields(called.value, "fault"))
    assert not list(wrong_fields(in_task.value, "fault"))
