"""An error names each VM as people know it, and the name costs nothing where the server would not tell it."""

from __future__ import annotations

import pytest

from vmkeep.errors import ConflictError, UnreachableError, VmKeepError
from vmkeep.flows.connect import open_vsphere
from vmkeep.model.site import Site
from vmkeep.vsphere import inventory, vmnames
from vmkeep.vsphere.vmnames import vms_named


def told(session, error: VmKeepError) -> str:
    with pytest.raises(type(error)) as caught, vms_named(session):
        raise error
    assert caught.value is error, "class and attributes stay"
    return str(error)


def test_a_vm_that_an_error_names_by_its_id_gets_its_name(session):
    web, app = (inventory.find_moref(session, name) for name in ("web01", "app01"))
    assert told(session, ConflictError(f"take {web} off VM {web}, not off VM {app}: no")) == (
        f"take {web} off VM web01 ({web}), not off VM app01 ({app}): no"
    )
    for plain in (f"VM {web} (vm-1) is a VM of that name", f"VM {web}-copy is gone", "VM vm-99999999 is gone", "no VM"):
        assert told(session, ConflictError(plain)) == plain


def test_a_vm_of_an_esxi_whose_ids_are_numbers_gets_its_name_and_a_count_of_vms_is_none(session, monkeypatch):
    monkeypatch.setattr(vmnames, "_name", lambda _session, moref: {"12": "web01"}.get(moref, ""))
    assert told(session, ConflictError("VM 12 is busy")) == "VM web01 (12) is busy"
    assert told(session, ConflictError("VM 12 of 20, VM 12 (x)")) == "VM 12 of 20, VM 12 (x)"


def test_nobody_asks_a_server_that_gives_no_answer(session, lab):
    before = sum(lab.site.faults.calls.values())
    assert told(session, UnreachableError("VM vm-1: no answer")) == "VM vm-1: no answer"
    assert told(session, ConflictError("the certificate of the VM")) == "the certificate of the VM"
    assert sum(lab.site.faults.calls.values()) == before


def test_a_step_that_fails_names_its_vm(session):
    moref = inventory.find_moref(session, "web01")
    site = Site(vcenter=session.login, repository="")
    with pytest.raises(ConflictError, match=rf"^VM web01 \({moref}\) is busy$"), open_vsphere(site):
        raise ConflictError(f"VM {moref} is busy")
