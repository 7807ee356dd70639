"""A backup by the transport modes that are possible on its proxy, here one that is the lab's VM app01."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests.integration.flows.restoring import back_up
from vmkeep.cli.main import cli
from vmkeep.errors import UnsupportedError
from vmkeep.flows import listing, transports
from vmkeep.flows.points import show
from vmkeep.model.transport import TransportMode
from vmkeep.proxy import ProxyMachine
from vmkeep.repository import open_repository

PROXY, VM = "app01", "web01"
SAN, HOTADD, NBDSSL, _NBD = TransportMode
LVM = "the proxy's LVM would use every disk that appears"


@pytest.fixture
def machine(lab, site, monkeypatch):
    """Give this machine the facts of a proxy, and let the lab offer some transport modes."""
    uuid = listing.describe_vm(site.vcenter, PROXY).identity.bios_uuid

    def be(offered="hotadd:nbdssl:nbd", **facts):
        lab.settings(transports=offered)
        found = replace(ProxyMachine(uuids=("42000000-0000-0000-0000-000000000000", uuid)), **facts)
        monkeypatch.setattr(transports, "read_machine", lambda: found)

    yield be
    lab.settings(transports="")


def access_of(site, ref):
    with open_repository(site.repository) as repository:
        (image,) = show(repository, ref).point.images
    return image.access


def test_a_proxy_that_is_a_vm_of_the_vcenter_reads_by_hotadd(site, machine):
    machine()

    done = back_up(site, VM, transports=(SAN, HOTADD, NBDSSL))

    access = access_of(site, done.point)
    assert access.transport == "hotadd"
    assert "not san: the proxy sees no readable LUN" in access.why_transport
    assert any("not san" in warning for warning in done.warnings)


def test_a_proxy_whose_lvm_would_touch_guest_disks_reads_by_nbdssl_and_says_so(site, machine):
    machine(why_lvm=LVM)

    done = back_up(site, VM, transports=(HOTADD, NBDSSL))

    access = access_of(site, done.point)
    assert (access.transport, access.why_transport) == ("nbdssl", f"not hotadd: {LVM}")
    assert any(LVM in warning for warning in done.warnings)


def test_a_request_that_allows_nothing_else_is_refused_before_the_vm_is_touched(site, machine):
    machine(why_lvm=LVM)

    with pytest.raises(UnsupportedError, match="allows no transport mode"):
        back_up(site, VM, transports=(HOTADD,))

    assert not listing.describe_vm(site.vcenter, VM).has_snapshots


def test_a_mode_that_the_library_passes_over_is_told_too(site, machine):
    machine(offered="nbdssl:nbd")

    access = access_of(site, back_up(site, VM, transports=(HOTADD, NBDSSL)).point)

    assert (access.transport, access.why_transport) == (
        "nbdssl", "the driver could not open the disk by hotadd",
    )  # fmt: skip


def test_a_lun_that_the_proxy_has_makes_san_possible(lab, site, machine):
    machine()
    (mode,) = (one for one in transports.check(site, VM).verdicts if one.mode is SAN)
    lun = mode.why_not.partition("readable LUN naa.")[2].split()[0]
    machine(offered="san:nbdssl", disks=frozenset({f"wwn-0x{lun}"}))

    assert access_of(site, back_up(site, VM, transports=(SAN, NBDSSL)).point).transport == "san"


def test_the_check_shows_every_mode_of_every_disk_with_its_reason(lab, site, machine, monkeypatch):
    machine(why_lvm=LVM)
    monkeypatch.setenv("VMKEEP_PASSWORD", lab.password)
    given = [
        "vsphere", "check", VM, "--vcenter", f"{lab.host}:{lab.port}", "--user", lab.user, "--thumbprint",
        lab.thumbprint, "--vddk", str(lab.vddk),
    ]  # fmt: skip

    printed = CliRunner().invoke(cli, given, catch_exceptions=False).output
    told = json.loads(CliRunner().invoke(cli, [*given, "--json"], catch_exceptions=False).output)

    assert f"VM {PROXY}" in printed
    assert LVM in printed
    assert {row["transport"]: row["possible"] for row in told["transports"]} == {
        "san": False, "hotadd": False, "nbdssl": True, "nbd": True,
    }  # fmt: skip
    assert "vddk is the only disk driver that works here" in told["driver"]


def test_two_vms_of_one_bios_uuid_are_no_proxy(site, machine):
    other = listing.describe_vm(site.vcenter, VM).identity.bios_uuid
    mine = listing.describe_vm(site.vcenter, PROXY).identity.bios_uuid
    machine(uuids=(mine, other))

    (hotadd,) = (one for one in transports.check(site, VM).verdicts if one.mode is HOTADD)
    assert "several VMs" in hotadd.why_not
