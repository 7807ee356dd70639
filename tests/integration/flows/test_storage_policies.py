"""Storage policies of a VM and its disks are kept with a point by id and name, and a restore says of which it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.flows.restoring import back_up, devices, reconfigure
from vmkeep.model.job import from_json
from vmkeep.model.references import ATTACHMENT, NamedPolicy, References
from vmkeep.repository import open_repository
from vmkeep.vsphere.api import vim


@pytest.fixture(scope="module")
def policies(lab) -> dict[str, str]:
    """Two policies that web01 and its disk have: ids by name."""
    made = {
        name: str(lab.post("inventory/add", {"kind": "storage policy", "name": name})["id"])
        for name in ("Gold [vSAN]", "Silver = 2")
    }
    home, disk = made.values()
    device = next(device for device in devices(lab, "web01") if device.key == 2000)
    change = vim.vm.device.VirtualDeviceSpec(
        operation="edit", device=device, profile=[vim.vm.DefinedProfileSpec(profileId=disk)]
    )
    spec = vim.vm.ConfigSpec(vmProfile=[vim.vm.DefinedProfileSpec(profileId=home)], deviceChange=[change])
    reconfigure(lab, "web01", spec)
    return made


def kept_of(site, point) -> tuple[NamedPolicy, ...]:
    with open_repository(site.repository) as repository:
        found = repository.load_point(point)
        if ATTACHMENT not in found.attachments:
            return ()
        return from_json(References, repository.load_attachment(found, ATTACHMENT)).policies


@pytest.mark.parametrize("user", ["administrator@vsphere.local", "backup@vsphere.local"])
def test_the_policies_of_vm_and_disks_are_kept_by_id_and_name(policies, site, user):
    limited = replace(site, vcenter=replace(site.vcenter, user=user))

    sealed = back_up(limited, "web01")

    home, disk = policies.items()
    assert sealed.warnings == ()
    assert kept_of(site, sealed.point) == (
        NamedPolicy(id=home[1], name=home[0], disk=None),
        NamedPolicy(id=disk[1], name=disk[0], disk=2000),
    )


def test_a_vm_without_policies_keeps_none(site):
    assert kept_of(site, back_up(site, "old01").point) == ()


@pytest.mark.parametrize(
    "failure",
    [
        {"method": "PbmRetrieveServiceContent", "status": 404},
        {"method": "PbmRetrieveServiceContent", "status": 503},
        {"method": "PbmQueryAssociatedProfiles", "drop": True},
        {"method": "PbmQueryAssociatedProfiles", "fault": "NoPermission"},
        {"method": "PbmQueryAssociatedProfiles", "fault": "SystemError"},
        {"method": "PbmRetrieveContent", "fault": "NotAuthenticated"},
    ],
    ids=lambda failure: "-".join(map(str, failure.values())),
)
def test_a_policy_service_that_fails_is_a_warning_in_the_point_and_fails_no_backup(lab, policies, site, failure):
    lab.fault(**failure)
    try:
        sealed = back_up(site, "web01")
    finally:
        lab.clear()

    assert any("storage policies are not in the restore point" in line for line in sealed.warnings)
    assert kept_of(site, sealed.point) == ()
