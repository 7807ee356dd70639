"""Backups and restores at vCenter 7, 8 and 9, and at an ESXi host without vCenter.

vCenter 8 is the server of all other tests. The features that a host lacks are told before anything is made, and a host
with the free licence says that this is the reason why it refuses.
"""

from __future__ import annotations

import pytest

from tests.integration.flows.restoring import Restoring, back_up, hands, restore_whole, site_of, stored
from vmkeep.errors import Recovery, UnsupportedError, VmKeepError
from vmkeep.flows.values import OnConflict
from vmkeep.model.point import BackupMode
from vmkeep.repository import create_repository, open_repository
from vmkeep.selection import parse_selector
from vmkeep.vsphere.choosing import choose_vms
from vmlab.testing import start_lab

DISK = 2000


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    location = str(tmp_path_factory.mktemp("servers") / "repository")
    create_repository(location)
    return location


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Start a small lab of some kind; each of them lives until the end of the test that started it."""
    return lambda **product: start_lab(tmp_path_factory.mktemp("lab") / "lab", data_disk_gib=0.03125, **product)


@pytest.fixture(scope="module")
def host(start):
    """An ESXi host without vCenter."""
    with start(server="esxi") as started:
        yield started


@pytest.fixture
def free(host):
    """The host has the free licence."""
    host.settings(free_licence=True)
    yield
    host.settings(free_licence=False)


def write(lab, seed):
    lab.write("web01", DISK, [{"offset": 1 << 20, "length": 65536, "seed": seed}])


def backed_up_twice(lab, site, folder):
    """Back up web01, change it, back it up again, and compare every byte; return the second point."""
    full = back_up(site, "web01")
    write(lab, 3)
    sealed = back_up(site, "web01")
    assert (full.kind, sealed.kind) == ("full", "incremental")
    assert stored(site.repository, sealed.point, folder) == {DISK: lab.hash("web01", DISK)}
    assert lab.vm("web01")["snapshots"] == []
    assert sealed.warnings == ()
    with open_repository(site.repository) as opened:
        return opened.load_point(sealed.point)


@pytest.mark.parametrize("release", ["7.0.0", "9.0.0"])
def test_a_vm_of_a_vcenter_of_each_release_is_backed_up(start, repository, tmp_path, host, release):
    with start(release=release) as lab:
        site = site_of(lab, repository)
        with hands(lab) as session:
            assert session.version == release
            assert session.api_version.startswith(f"vim.version.v{release[0]}_0")
        point = backed_up_twice(lab, site, tmp_path)
        assert point.vm.inventory_path == "/Lab/vm/Production/web01"
        if release < "8":
            template_goes_to_a_host(lab, host, repository)
        else:
            newer_hardware_is_refused(host, repository, point.ref)


def template_goes_to_a_host(lab, host, repository):
    point = back_up(site_of(lab, repository), "debian-template").point

    there = Restoring.new(site_of(host, repository), point, "from a template")

    assert (there.plan.template, there.plan.power_on) == (False, False)
    assert [warning for warning in there.plan.warnings if "knows no templates" in warning]


def newer_hardware_is_refused(host, repository, point):
    with pytest.raises(UnsupportedError, match="vmx-22"):
        Restoring.new(site_of(host, repository), point, "from a newer one")


def test_a_vm_of_a_host_without_vcenter_is_backed_up_and_restored(host, repository, tmp_path):
    site = site_of(host, repository)
    point = backed_up_twice(host, site, tmp_path)
    assert point.vm.moref.isdecimal()
    assert point.vm.inventory_path == "/ha-datacenter/vm/web01"
    assert point.vm.vcenter, "the host's hardware UUID tells it from any other host"
    assert {"config.xml", "vm.vmx"} <= set(point.attachments)
    before = host.hash("web01", DISK)
    write(host, 9)

    over = restore_whole(site, point.ref, on_conflict=OnConflict.OVERWRITE)
    made = restore_whole(site, point.ref, new_name="web01 again", power_on=False)

    assert host.hash("web01", DISK) == host.hash(made.vm.moref, DISK) == before
    assert over.warnings == ()
    assert [warning for warning in made.warnings if "network cards start disconnected" not in warning] == []


@pytest.mark.parametrize("text", ["tag:backup/gold", "attribute:owner=*", "folder:Production", "cluster:*", "vapp:*"])
def test_a_condition_that_only_a_vcenter_can_answer_is_refused_at_a_host(host, text):
    with hands(host) as session:
        with pytest.raises(UnsupportedError, match="ESXi host without vCenter"):
            choose_vms(session, parse_selector(text), ())
        assert choose_vms(session, parse_selector("pool:Resources and name:web*"), ()).records


@pytest.mark.usefixtures("free")
def test_a_host_with_the_free_licence_says_that_the_licence_is_the_reason(host, repository):
    for mode in (BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.ASIS):
        with pytest.raises(VmKeepError, match=r"licen[cs]e.*free ESXi") as caught:
            back_up(site_of(host, repository), "old01", mode=mode)
        assert caught.value.recovery is Recovery.STOP
    assert host.vm("old01")["snapshots"] == []
    assert not host.vm("old01")["change_tracking"]
