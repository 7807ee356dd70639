"""Configurations of ESXi hosts: each host's bundle becomes a point; a host that fails is named and stops no other."""

from __future__ import annotations

import json
import stat
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests.integration.vsphere.conftest import Impostor, Trickler, at
from vmkeep.blobs.wrappers import WrappingStore
from vmkeep.cli.main import cli
from vmkeep.errors import AmbiguousError, CorruptError, NotFoundError, Recovery, SomeFailedError, UsageError
from vmkeep.flows.host_configs import HostBackupRequest, HostState, back_up_hosts
from vmkeep.flows.host_list import list_with_points
from vmkeep.flows.restore_plan import plan_restore
from vmkeep.flows.restore_request import make_request
from vmkeep.model.hostconfig import BUNDLE
from vmkeep.model.site import Site
from vmkeep.repository import create_repository, open_in, open_repository
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore
from vmkeep.vsphere import hostbundles
from vmlab.api import vim
from vmlab.control import additions
from vmlab.managed.hosts import firmware
from vmlab.managed.site import HostEnd, Injection
from vmlab.managed.world import World

ESX01, ESX02 = "esx01.localhost", "esx02.localhost"


@pytest.fixture
def site(vcenter, tmp_path):
    create_repository(str(tmp_path / "repo"))
    return Site(repository=str(tmp_path / "repo"), vcenter=vcenter, catalog=f"sqlite:///{tmp_path}/catalog.db")


@pytest.fixture
def world(lab) -> World:
    """The lab's objects; states of hosts that a test sets are forgotten after it."""
    yield lab.site.world
    for name in ("host_states", "lockdown"):
        lab.site.world.set_meta(name, {})
    lab.site.downloads_need_tickets = True


def run(site, *hosts, run="run-1"):
    """The results of one run, by the host's name."""
    done = back_up_hosts(site, HostBackupRequest(run=run, hosts=hosts))
    return {result.name: result for result in done.results}, done


def test_every_host_s_bundle_is_a_point_with_identity_and_release(site, lab):
    found, done = run(site)

    done.require_all()
    assert list(found) == [ESX01, ESX02]
    with open_repository(site.repository) as repository:
        for moref, result in zip(("host-11", "host-12"), found.values(), strict=True):
            point = repository.load_point(result.point)
            assert repository.load_attachment(point, BUNDLE) == lab.site.bundles[moref].content
            assert (point.vm.name, point.vm.moref, point.vm.key) == (result.name, moref, f"host-{point.host.uuid}")
            assert (point.vm.vcenter, point.host.version, point.host.build) == (
                lab.site.instance_uuid, "8.0.3", "24022510",
            )  # fmt: skip
            assert (point.host.release, point.warnings) == ("VMware ESXi 8.0.3", ())


def test_a_host_that_fails_stops_no_other_and_is_named_with_its_reason(site, world):
    world.set_meta("host_states", {"host-11": "disconnected"})

    found, done = run(site)

    assert [found[name].state for name in (ESX01, ESX02)] == [HostState.FAILED, HostState.DONE]
    assert found[ESX01].problem.startswith(f"host {ESX01} is disconnected")
    with pytest.raises(SomeFailedError, match=rf"1 of 2 hosts .*: {ESX01}; host {ESX01} is disconnected") as failed:
        done.require_all()
    assert failed.value.recovery is Recovery.RETRY


def test_a_retry_of_a_run_takes_only_the_hosts_that_it_has_not_sealed(site, world, lab):
    world.set_meta("host_states", {"host-11": "disconnected"})
    first, _ = run(site)
    world.set_meta("host_states", {})
    lab.site.faults.calls.clear()

    again, done = run(site)

    done.require_all()
    assert lab.site.faults.calls["BackupFirmwareConfiguration"] == 1
    assert again[ESX02].point == first[ESX02].point
    with open_repository(site.repository) as repository:
        assert len(list(repository.point_refs())) == 2


def test_a_host_in_lockdown_is_reported_with_its_mode(site, world):
    world.set_meta("lockdown", {"host-11": "lockdownStrict"})

    found, _ = run(site)

    assert (found[ESX01].state, found[ESX01].lockdown, found[ESX02].lockdown) == ("failed", "lockdownStrict", None)
    assert "HTTP 403; the host is in lockdown mode (lockdownStrict)" in found[ESX01].problem


def test_a_host_in_maintenance_mode_is_backed_up(site, world):
    world.set_meta("host_states", {"host-11": "maintenance"})

    run(site, ESX01)[1].require_all()


def test_nothing_is_asked_of_a_machine_that_is_not_the_known_host(site, lab, tmp_path):
    impostor = Impostor(tmp_path / "impostor")
    before = dict(lab.site.host_ends)
    lab.site.host_ends["host-11"] = HostEnd(port=impostor.port, certificate=before["host-11"].certificate)
    try:
        found, _ = run(site)
    finally:
        lab.site.host_ends.update(before)
        impostor.close()

    assert (found[ESX01].error, found[ESX02].state) == ("CertificateError", HostState.DONE)
    assert impostor.heard == b""


def test_who_lacks_the_right_is_told_it_with_each_host(site, lab):
    site = replace(site, vcenter=at(lab, lab.port, user="readonly@vsphere.local"))

    found, done = run(site)

    assert [(one.error, one.recovery) for one in done.results] == [("PermissionDeniedError", Recovery.STOP)] * 2
    assert "Host.Config.Firmware on host-11" in found[ESX01].problem


def test_the_documented_role_is_enough(site, lab):
    run(replace(site, vcenter=at(lab, lab.port, user="backup@vsphere.local")))[1].require_all()


def test_without_a_ticket_the_bundle_is_asked_for_all_the_same(site, world, lab):
    lab.site.faults.add(Injection(method="AcquireGenericServiceTicket", fault="NotSupported", count=2))
    found, _ = run(site, ESX01)
    assert "HTTP 401; the request had no ticket, because: ask for a ticket for 127.0.0.1" in found[ESX01].problem

    lab.site.downloads_need_tickets = False
    run(site, ESX01)[1].require_all()


def test_a_damaged_bundle_is_not_sealed(site, monkeypatch):
    whole = firmware._bundle
    monkeypatch.setattr(firmware, "_bundle", lambda site, host, name: whole(site, host, name)[:-9])

    found, _ = run(site, ESX01)

    assert (found[ESX01].error, found[ESX01].recovery) == ("TransientError", Recovery.RETRY)
    with open_repository(site.repository) as repository:
        assert list(repository.point_refs()) == []


@pytest.mark.parametrize(
    "trouble",
    [
        {"method": "BackupFirmwareConfiguration", "drop": True},
        {"method": "BackupFirmwareConfiguration", "status": 503},
        {"method": "BackupFirmwareConfiguration", "fault": "HostCommunication"},
        {"method": "AcquireGenericServiceTicket", "drop": True},
        {"method": "host.GET", "drop": True},
        {"method": "host.GET", "status": 503},
    ],
    ids=lambda trouble: "-".join(map(str, trouble.values())),
)
def test_trouble_with_one_host_may_pass_and_is_that_host_s_alone(site, lab, trouble):
    lab.site.faults.add(Injection(**trouble))

    _, done = run(site)

    assert sorted(result.state for result in done.results) == ["done", "failed"]
    assert done.failed[0].recovery is Recovery.RETRY, done.failed
    with open_repository(site.repository) as repository:
        assert len(list(repository.point_refs())) == 1
        assert repository.check(read_data=True) == []


class Flipping(WrappingStore):
    """Flips a bit of every pack on its way to the store."""

    def put(self, key, data):
        flipped = bytearray(data)
        flipped[len(flipped) // 2] ^= key.startswith("packs/")
        return self.inner.put(key, bytes(flipped))


def test_a_bundle_that_cannot_be_read_back_is_not_sealed(site, monkeypatch):
    store = MemoryStore()
    made = descriptor.new_descriptor(block_size=65536, compression="zstd")
    descriptor.create(store, made)
    monkeypatch.setattr("vmkeep.flows.host_configs.open_site_repository", lambda _: open_in(Flipping(store)))

    with pytest.raises(CorruptError):
        run(site, ESX01)
    assert list(store.list("points/")) == []


def test_a_session_that_ends_meanwhile_costs_no_host(site, lab, monkeypatch):
    fetch = hostbundles.fetch_bundle

    def fetch_late(session, host):
        if host.name == ESX01:
            lab.site.drop_sessions()
        return fetch(session, host)

    monkeypatch.setattr("vmkeep.flows.host_configs.fetch_bundle", fetch_late)

    run(site)[1].require_all()


def test_a_host_that_answers_for_ever_is_left_in_time(site, lab, tmp_path, monkeypatch):
    ask = hostbundles.ask

    def left_soon(session, host, *asked, seconds, **options):
        return ask(session, host, *asked, seconds=0.5 if host.name == ESX01 else seconds, **options)

    monkeypatch.setattr(hostbundles, "ask", left_soon)
    trickler = Trickler(tmp_path / "trickler")
    before = dict(lab.site.host_ends)
    lab.site.host_ends["host-11"] = HostEnd(port=trickler.port, certificate=trickler.certificate)
    try:
        found, _ = run(site)
    finally:
        lab.site.host_ends.update(before)
        trickler.close()

    assert (found[ESX01].error, found[ESX01].recovery) == ("UnreachableError", Recovery.RETRY)
    assert found[ESX02].state is HostState.DONE


@pytest.mark.parametrize(
    "url", ["ftp://*/downloads/x.tgz", "*", "", "http://*", "http://*/downloads/a b", "http://*/x\r\nHost: evil"]
)
def test_a_url_that_is_none_of_a_host_is_refused(url):
    with pytest.raises(hostbundles.VSphereError, match="no URL of a host"):
        hostbundles._target(url, ESX01)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://*/downloads/5/configBundle-a.tgz", "/downloads/5/configBundle-a.tgz"),
        ("https://*//downloads/5/b.tgz?x=1", "//downloads/5/b.tgz?x=1"),
        ("https://esx77.example.com:8443/downloads/c.tgz", "/downloads/c.tgz"),
    ],
)
def test_of_a_bundle_s_url_only_the_path_counts(url, target):
    assert hostbundles._target(url, ESX01) == target


def test_hosts_are_chosen_by_name_id_or_uuid(site, session):
    hosts = hostbundles.known_hosts(session)
    uuid = hosts[0].uuid

    for text in (ESX01, "host-11", uuid, uuid.upper()):
        assert [host.name for host in hostbundles.named(hosts, text)] == [ESX01]
    assert list(run(site, ESX01, uuid)[0]) == [ESX01]
    with pytest.raises(NotFoundError, match=f"no host 'esx09'.*there are {ESX01}, {ESX02}"):
        run(site, "esx09")


def vmkeep(site, monkeypatch, tmp_path, *arguments):
    password = tmp_path / "password"
    password.write_text(site.vcenter.password)
    password.chmod(0o600)
    for name, value in {
        "VCENTER": f"{site.vcenter.host}:{site.vcenter.port}", "USER": site.vcenter.user,
        "PASSWORD_FILE": str(password), "THUMBPRINT": site.vcenter.thumbprint, "CATALOG": site.catalog,
        "REPOSITORY": site.repository,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"VMKEEP_{name}", value)
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)


def test_the_command_line_backs_up_lists_and_exports(site, lab, world, monkeypatch, tmp_path):
    world.set_meta("host_states", {"host-12": "disconnected"})
    done = vmkeep(site, monkeypatch, tmp_path, "host", "backup", "--json")
    assert isinstance(done.exception, SomeFailedError)
    assert [host["state"] for host in json.loads(done.stdout)["hosts"]] == ["done", "failed"]

    listed = json.loads(vmkeep(site, monkeypatch, tmp_path, "host", "list", "--json").stdout)
    assert [(host["name"], host["state"], host["build"], host["points"]) for host in listed] == [
        (ESX01, "connected", "24022510", 1), (ESX02, "disconnected", None, 0),
    ]  # fmt: skip

    out = tmp_path / "esx01.tgz"
    said = vmkeep(site, monkeypatch, tmp_path, "host", "export", ESX01, str(out))
    assert said.exception is None
    assert "VMware ESXi 8.0.3 build-24022510" in said.stdout
    assert out.read_bytes() == lab.site.bundles["host-11"].content
    assert stat.S_IMODE(out.stat().st_mode) == 0o600

    shown = vmkeep(site, monkeypatch, tmp_path, "point", "show", listed[0]["last_point"])
    assert "host          esx01.localhost" in shown.stdout
    assert "consistency" not in shown.stdout
    assert json.loads(vmkeep(site, monkeypatch, tmp_path, "point", "list", "--json").stdout) == []


def test_a_restore_refuses_a_host_s_point_and_names_the_way(site, lab):
    found, _ = run(site, ESX01)

    with pytest.raises(UsageError, match=f"configuration of the ESXi host {ESX01}, and no VM: .*'vmkeep host export'"):
        plan_restore(
            replace(site, vddk=str(lab.describe()["vddk"])),
            make_request(point=found[ESX01].point, run="r", new_name="x"),
        )


def test_the_list_shows_hosts_without_a_point_and_those_that_only_have_points(site, world, lab):
    run(site, ESX01)
    with open_repository(site.repository) as repository:
        assert [host.state for host in list_with_points(repository, None)] == [None]
        world.set_meta("lockdown", {"host-12": "lockdownNormal"})
        world.set_meta("hardware_versions", {ESX01: 19})
        updated, locked = list_with_points(repository, site.vcenter)
        world.set_meta("hardware_versions", {})
        elsewhere = replace(updated, runs_build=None)

    assert (updated.name, updated.build, updated.runs_build) == (ESX01, "24022510", "18644231")
    assert not updated.restorable_as_it_is
    assert elsewhere.restorable_as_it_is
    assert (locked.name, locked.points, locked.last_point, locked.lockdown) == (ESX02, 0, None, "lockdownNormal")


def test_a_list_without_the_vcenter_shows_the_points(site, lab, monkeypatch, tmp_path):
    run(site, ESX01)
    gone = replace(site, vcenter=replace(site.vcenter, thumbprint="00" * 20))

    listed = vmkeep(gone, monkeypatch, tmp_path, "host", "list", "--json")

    assert [host["name"] for host in json.loads(listed.stdout)] == [ESX01]
    assert "warning: the list goes without the hosts of the vCenter: " in listed.stderr


def test_two_machines_with_one_hardware_uuid_keep_points_of_their_own(site, monkeypatch):
    known = hostbundles.known_hosts
    one = "03000200-0400-0500-0006-000700080009"
    monkeypatch.setattr(
        "vmkeep.flows.host_configs.known_hosts", lambda session: tuple(replace(h, uuid=one) for h in known(session))
    )

    found, done = run(site)

    done.require_all()
    assert len({result.point.rpartition("/")[0] for result in found.values()}) == 2
    assert found[ESX01].warnings[0].startswith(f"several hosts have the hardware UUID {one}")
    with pytest.raises(AmbiguousError, match="fits 2 hosts: name one of host-11, host-12"):
        run(site, one)


def test_hosts_are_listed_in_constant_calls_per_page_and_one_without_a_known_certificate_is_named(site, lab, session):
    """It is the last test of this file, because the lab keeps the hosts."""
    with lab.site.world.transaction():
        for number in range(3, 202):
            additions.add(lab.site, {"kind": "host", "name": f"esx{number:03}.localhost"})
    lab.site.faults.calls.clear()

    found, done = run(site, ESX01, "esx003.localhost", ESX02)

    calls = lab.site.faults.calls
    assert len(lab.site.world.all(vim.HostSystem)) == 201
    listing = ("CreateContainerView", "RetrievePropertiesEx", "ContinueRetrievePropertiesEx", "DestroyView")
    assert [calls[name] for name in listing] == [1, 1, 1, 1]
    assert {name for name, times in calls.items() if times == 3} == {"BackupFirmwareConfiguration", "CurrentTime"}
    assert "tells no thumbprint of host esx003.localhost" in found["esx003.localhost"].problem
    assert [result.name for result in done.results if result.state is HostState.DONE] == [ESX01, ESX02]
