"""``vmkeep vm list``: the VMs of a vCenter with their state and, where a repository is given, their newest point."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.integration.flows import restoring
from tests.integration.flows.restoring import vcenter_of
from tests.patience import HANG
from vmkeep.flows.listing import list_vms
from vmkeep.flows.pointlist import list_origins
from vmkeep.repository import create_encrypted_repository, open_repository
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task

OLD_KEYS = [
    "moref", "name", "instance_uuid", "bios_uuid", "power_state", "ip_address", "template", "not_protectable",
    "managed_by",
]  # fmt: skip


def rows(text):
    """Name → cells, of a printed table."""
    lines = [line.split() for line in text.splitlines() if line.startswith(" vm-")]
    return {cells[1]: cells for cells in lines}


def test_the_list_is_sorted_and_tells_power_size_state_and_host(vmkeep):
    table = rows(vmkeep("vm", "list").stdout)

    assert list(table) == sorted(table, key=str.casefold)
    assert table["web01"][2] == "running"
    assert table["old01"][2] == "off"
    assert table["web01"][4] in ("KiB", "MiB", "GiB")
    assert "template" in table["debian-template"]
    assert any(cell.startswith("esx") for cell in table["web01"])


def test_the_newest_point_of_each_vm_is_told_where_a_repository_is_given(vmkeep, lab, kept):
    site, first = kept
    second = restoring.back_up(site, "web01").point
    assert second != first

    found = {vm["name"]: vm for vm in json.loads(vmkeep("vm", "list", "-r", site.repository, "--json").stdout)}

    assert found["web01"]["last_point"] == second
    assert found["old01"]["last_point"] is None
    printed = vmkeep("vm", "list", "-r", site.repository).stdout
    assert f"{found['web01']['last_point_at'][:16].replace('T', ' ')}" in printed
    assert "none" in rows(printed)["old01"]


def test_without_a_repository_no_column_claims_that_there_is_no_point(vmkeep):
    assert "last point" not in vmkeep("vm", "list").stdout


def test_the_document_for_scripts_keeps_the_keys_that_it_had(vmkeep):
    for listed in json.loads(vmkeep("vm", "list", "--json").stdout):
        assert list(listed)[: len(OLD_KEYS)] == OLD_KEYS


def test_a_repository_that_cannot_be_opened_costs_the_points_and_no_vm(vmkeep, tmp_path):
    create_encrypted_repository(str(tmp_path / "locked"), passphrase="not given here")

    for location in (str(tmp_path / "locked"), str(tmp_path / "missing")):
        done = vmkeep("vm", "list", "-r", location)
        assert "web01" in rows(done.stdout)
        assert "warning: the list goes without restore points: " in done.stderr


def test_a_point_of_another_vcenters_vm_of_the_same_id_is_not_taken_for_its_own(vmkeep, lab, kept):
    with open_repository(kept[0].repository) as repository:
        points = list_origins(repository, catalog="sqlite://")
    strangers = [replace(point, vcenter="another") for point in points]

    listed = {vm.name: vm for vm in list_vms(vcenter_of(lab), strangers).vms}

    assert listed["web01"].last_point is None


def test_hosts_and_clusters_are_named_as_people_typed_them(vmkeep, lab):
    with open_session(vcenter_of(lab)) as session:
        ((cluster, _),) = [
            (each, values)
            for each, values in read_all(session, vim.ClusterComputeResource, "name")
            if values["name"] == "Cluster1"
        ]
        run_task(session, lambda: cluster.Rename_Task("Rack 1%2f2"), what="rename", timeout=HANG, look=lambda: None)
        try:
            found = {vm["name"]: vm for vm in json.loads(vmkeep("vm", "list", "--json").stdout)}
            assert found["web01"]["cluster"] == "Rack 1/2"
            assert found["web01"]["host"]
        finally:
            run_task(session, lambda: cluster.Rename_Task("Cluster1"), what="rename", timeout=HANG, look=lambda: None)
