"""Backups and restores at vCenter 7, 8 and 9, and at an ESXi host without vCenter.

vCenter 8 is the server of all other tests, and vCenter 9 that of ``test_kinds_of_vms``. The features that a host lacks
are told before anything is made. A host with the free licence says that this is the reason why it refuses.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.flows.restoring import (
    Restoring,
    back_up,
    hands,
    new_run,
    restore_whole,
    silent,
    site_of,
    stored,
)
from tests.labs import start_lab
from vmkeep.clock import now
from vmkeep.errors import Recovery, UnsupportedError, VmKeepError
from vmkeep.flows import listing, policies, windows
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import run_backup
from vmkeep.flows.doctor import State, examine, vcenter_subject
from vmkeep.flows.host_configs import HostBackupRequest, back_up_hosts
from vmkeep.flows.role_setup import RoleRequest, set_up_role
from vmkeep.model.guest import GuestCommands, GuestLogin
from vmkeep.model.point import BackupMode
from vmkeep.policy import read_file
from vmkeep.repository import create_repository, open_repository
from vmkeep.selection import parse_selector
from vmkeep.vsphere.choosing import choose_vms

DISK = 2000


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    location = str(tmp_path_factory.mktemp("servers") / "repository")
    create_repository(location)
    return location


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """An ESXi host without vCenter."""
    with start_lab(tmp_path_factory.mktemp("host") / "lab", data_disk_gib=0.03125, server="esxi") as started:
        yield started


@pytest.fixture
def free(host):
    """The host has the free licence."""
    host.settings(free_licence=True)
    yield
    host.settings(free_licence=False)


def write(lab, seed):
    lab.write("web01", DISK, [{"offset": 1 << 20, "length": 65536, "seed": seed}])


def policy(folder, name, selection):
    path = folder / f"{name}.yaml"
    window = '{start: "22:00", end: "06:00", time_zone: Europe/Berlin}'
    path.write_text(f"name: {name}\nselection: {selection}\nwindow: {window}\n")
    return read_file(path).policy


def load(repository, ref):
    with open_repository(repository) as opened:
        return opened.load_point(ref)


def test_vms_of_a_vcenter_7_are_backed_up_and_its_template_becomes_a_vm_of_a_host(repository, tmp_path, host):
    with start_lab(tmp_path / "lab", data_disk_gib=0.03125, release="7.0.0") as lab:
        site = site_of(lab, repository)
        with hands(lab) as session:
            assert (session.version, session.api_version) == ("7.0.0", "vim.version.v7_0")
        sealed, template = back_up(site, "web01"), back_up(site, "debian-template")

        assert stored(repository, sealed.point, tmp_path) == {DISK: lab.hash("web01", DISK)}
        assert (lab.vm("web01")["snapshots"], sealed.warnings) == ([], ())
    there = Restoring.new(site_of(host, repository), template.point, "from a template").plan
    assert (there.template, there.power_on) == (False, False)
    assert [warning for warning in there.warnings if "knows no templates" in warning]


def test_a_vm_of_a_host_without_vcenter_is_backed_up_in_increments_and_restored(host, repository):
    site = site_of(host, repository)
    host.post("guest/user", {"vm": "web01", "user": "backup", "password": "pw"})
    for program in ("/opt/freeze", "/opt/thaw"):
        host.post("guest/program", {"vm": "web01", "match": program, "output": "done"})
    commands = GuestCommands(freeze="/opt/freeze", thaw="/opt/thaw", login="web")
    request = BackupRequest(vm_selector="web01", run=new_run(), guest=commands)
    login = GuestLogin(user="backup", password="pw")
    full, _ = run_backup(site, request, bars=silent, announce=lambda _: None, logins=lambda _: login)
    write(host, 3)
    sealed = back_up(site, "web01")
    made = restore_whole(site, sealed.point, new_name="web01 again", power_on=False)

    assert (full.kind, sealed.kind, sealed.warnings) == ("full", "incremental", ())
    assert load(repository, full.point).guest_commands.thaw == "succeeded"
    assert host.hash(made.vm.moref, DISK) == host.hash("web01", DISK)
    assert host.vm("web01")["snapshots"] == []
    assert [warning for warning in made.warnings if "network cards start disconnected" not in warning] == []
    point = load(repository, sealed.point)
    assert (point.vm.moref.isdecimal(), point.vm.inventory_path) == (True, "/ha-datacenter/vm/web01")
    assert point.vm.vcenter, "the host's hardware UUID tells it from any other host"
    assert {"config.xml", "vm.vmx"} <= set(point.attachments)


def test_the_configuration_of_a_host_without_vcenter_is_backed_up(host, repository):
    done = back_up_hosts(site_of(host, repository), HostBackupRequest(hosts=(), run=new_run()))

    assert (len(done.results), done.failed) == (1, ())


def test_a_host_without_vcenter_is_examined_and_gets_a_role_of_the_privileges_that_it_has(host):
    vcenter = site_of(host, "").vcenter
    assert vcenter is not None

    made = set_up_role(vcenter, RoleRequest(assign="keeper", on="/"), dry_run=False)
    again = set_up_role(vcenter, RoleRequest(assign="keeper", on="/"), dry_run=True)
    keeper = vcenter_subject(replace(vcenter, user="keeper"), vddk=str(host.vddk), proxy=False)
    states = {check.name: check.state for check in examine([keeper]).checks}

    assert made.unknown == ("InventoryService.Tagging.AttachTag", "StorageProfile.View")
    assert not again.changes
    assert states.pop("ports of the hosts") is State.UNKNOWN
    assert set(states.values()) == {State.OK}
    assert {"log-in", "rights for backup", "rights for restore-new", "VDDK fits"} <= set(states)


@pytest.mark.parametrize("text", ["tag:backup/gold", "attribute:owner=*", "folder:Production", "cluster:*", "vapp:*"])
def test_a_condition_that_only_a_vcenter_can_answer_is_refused_at_a_host(host, text):
    with hands(host) as session:
        with pytest.raises(UnsupportedError, match="ESXi host without vCenter"):
            choose_vms(session, parse_selector(text), ())
        assert choose_vms(session, parse_selector("pool:Resources and name:web*"), ()).records


def test_a_policy_that_only_a_vcenter_can_answer_harms_no_list_and_no_window_of_a_host(
    host, repository, caplog, tmp_path
):
    site = site_of(host, repository)
    ours = policy(tmp_path, "ours", "name:web01")
    theirs = policy(tmp_path, "theirs", "tag:backup/gold and not folder:Test")

    listed = listing.list_vms(site.vcenter, policies=(ours, theirs))
    covered = policies.coverage(site.vcenter, (ours, theirs))
    explained = policies.explain_vm(site.vcenter, (ours, theirs), "web01")
    reaches = {"near": parse_selector("cluster:B*"), "far": None}
    plan = windows.plan_window(site, ours, (theirs,), opened_at=now(), by_hand=True, now=now(), reaches=reaches)

    assert {vm.name: vm.policies for vm in listed.vms if vm.policies} == {"web01": ("ours",)}
    assert {vm.name: vm.policies for vm in covered if vm.policies} == {"web01": ("ours",)}
    assert [each.policy for each in explained.verdicts] == ["ours"]
    assert [(vm.name, vm.proxies) for vm in plan.vms] == [("web01", ("far",))]
    assert caplog.text.count("policy theirs takes no VM here: tag:backup/gold: 127.0.0.1 is an ESXi host") == 4
    with pytest.raises(UnsupportedError, match="knows no tags"):
        windows.plan_window(site, theirs, (ours,), opened_at=now(), by_hand=True, now=now())


@pytest.mark.usefixtures("free")
def test_a_host_with_the_free_licence_says_that_the_licence_is_the_reason(host, repository):
    for mode in (BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.ASIS):
        with pytest.raises(VmKeepError, match=r"licen[cs]e.*free ESXi") as caught:
            back_up(site_of(host, repository), "old01", mode=mode)
        assert caught.value.recovery is Recovery.STOP
    assert host.vm("old01")["snapshots"] == []
    assert not host.vm("old01")["change_tracking"]
