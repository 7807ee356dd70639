"""A change that vSphere left out tears a volume group apart; the check finds that, and the next backup mends it."""

from __future__ import annotations

import base64

import pytest

from tests.integration.flows import restoring
from vmkeep.flows.lvm_checks import LvmRequest, check_lvm
from vmkeep.model.fullreason import FullReason
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import open_repository

VM = "app01"
KIB = 1 << 10
METADATA = {2000: ("iva", 1 << 20), 2001: ("ivb", 0)}
"""The disks of the VM's volume group: the image that they become, and where LVM's metadata begins on each."""


@pytest.fixture
def guest_changes_its_group(lab, guest_disks):
    """The guest commits a change of its volume group to both of its disks."""

    def change() -> None:
        for key, (image, start) in METADATA.items():
            with guest_disks.path(image).open("rb") as file:
                file.seek(start)
                content = base64.b64encode(file.read(64 * KIB)).decode()
            lab.write(VM, key, [{"offset": start, "data_b64": content}])

    return change


def check(site, **fields):
    with open_repository(site.repository) as repository:
        return check_lvm(repository, LvmRequest(selector=f"name:{VM}", **fields), by="somebody", run="check")


def test_a_torn_group_is_found_marked_and_healed_by_the_next_backup(lab, site, guest_changes_its_group):
    full = restoring.back_up(site, VM)
    assert check(site).document["summary"]["names"] == [], "the group of the guest is good"
    guest_changes_its_group()
    lab.fault(effect="change_left_out")
    torn = restoring.back_up(site, VM, audit=0)
    assert torn.kind == "incremental"

    report = check(site, mark=True, record=True)

    (checked,) = report.checks
    assert checked.point == torn.point
    assert [found.code.value for found in checked.failures] == ["seqno-differs"]
    assert f"the point before, {full.point}, has no such failure" in checked.failures[0].text
    assert "change tracking may have left out a write to" in checked.failures[0].text
    assert report.summary.marked == (torn.point,), "the full is good"
    healed = restoring.back_up(site, VM)
    with open_repository(site.repository) as repository:
        images = repository.load_point(healed.point).images
        results = [proof.result for proof in repository.proofs.of(torn.point) if proof.kind is ProofKind.LVM]
    assert {image.full_reason for image in images} == {FullReason.POINT_SUSPECT}
    assert results == [ProofResult.FAILED]
    assert check(site).document["summary"]["names"] == []
