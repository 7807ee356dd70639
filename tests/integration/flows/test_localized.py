"""A vCenter that speaks another language is backed up and restored like any other: no word of it decides anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.flows.restoring import Restoring, back_up, hands, reconfigure, restore_whole, site_of
from tests.labs import start_lab
from vmkeep.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    QuiesceFailedError,
    VSphereError,
)
from vmkeep.flows import quiescing
from vmkeep.flows.backup import preflight
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.restore_request import OnConflict
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import claims, inventory, machines, snapshots
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import open_session

GERMAN = "Der Vorgang auf dem Server"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """In the place of this folder's lab, one that speaks German."""
    with start_lab(tmp_path_factory.mktemp("lab") / "lab", data_disk_gib=0.0625, language="de") as started:
        yield started


@pytest.fixture(autouse=True)
def no_leftover_faults(lab):
    yield
    lab.clear()


def test_messages_and_labels_are_not_english(lab):
    lab.fault(method="PowerOffVM_Task", fault="FileLocked")
    with hands(lab) as session:
        vm = inventory.find_vm(session, "web01").moref
        with pytest.raises(VSphereError, match=GERMAN):
            machines.power_off(session, vm)
        (disk,) = inventory.describe_vm(session, vm).disks
    assert disk.label == "Festplatte 1"


def test_a_vm_is_backed_up_in_full_and_in_increments_and_restored(lab, site):
    first = back_up(site, "web01")
    lab.write("web01", 0, [{"offset": 1 << 20, "length": 65536, "seed": 5}])
    second = back_up(site, "web01")
    wanted = lab.hash("web01", 0)
    lab.write("web01", 0, [{"offset": 1 << 20, "length": 65536, "seed": 6}])

    assert (first.kind, second.kind) == ("full", "incremental")
    assert Restoring.new(site, second.point, "neu").prepared().clean_up() == 1
    restore_whole(site, second.point, on_conflict=OnConflict.OVERWRITE)
    assert lab.hash("web01", 0) == wanted
    request = BackupRequest(vm_selector="app01", run="r", exclude=("Festplatte 3",))
    assert [disk.skip is None for disk in preflight(site, request).disks] == [True, True, False, False]


@pytest.mark.parametrize("fault", ["ApplicationQuiesceFault", "FilesystemQuiesceFault", "SystemError"])
def test_a_guest_that_cannot_be_quiesced_is_backed_up_without(lab, site, monkeypatch, fault):
    lab.fault(method="CreateSnapshot_Task", fault=fault, count=quiescing.TRIES)
    monkeypatch.setattr(quiescing, "PAUSE_SECONDS", 0.0)

    sealed = back_up(site, "web01")

    assert sealed.consistency == "crash"
    assert [line for line in sealed.warnings if "quiesc" in line]
    with open_repository(site.repository) as repository:
        assert repository.load_point(sealed.point).consistency == "crash"


@pytest.mark.parametrize(
    ("fault", "kind"), [("FileLocked", VSphereError), ("DuplicateName", ConflictError), ("NotFound", VSphereError)]
)
def test_faults_are_told_apart_by_their_type(lab, fault, kind):
    lab.fault(method="PowerOnVM_Task", fault=fault)
    with hands(lab) as session:
        vm = inventory.find_vm(session, "old01").moref
        with pytest.raises(kind, match=GERMAN):
            machines.power_on(session, vm)


def test_refusals_are_known_for_what_they_are(lab, tmp_path):
    site = site_of(lab, tmp_path / "repository")
    create_repository(site.repository)
    with pytest.raises(AuthenticationError), open_session(replace(site.vcenter, password="wrong")):
        pass
    with pytest.raises(NotFoundError):
        back_up(site, "moref:vm-99999")
    reader = replace(site.vcenter, user="readonly@vsphere.local")
    with open_session(reader) as session, pytest.raises(PermissionDeniedError, match="VirtualMachine"):
        machines.power_off(session, inventory.find_vm(session, "db01").moref)
    lab.fault(method="CreateSnapshot_Task", fault="ApplicationQuiesceFault")
    with hands(lab) as session:
        vm = inventory.find_vm(session, "db01").moref
        with pytest.raises(QuiesceFailedError):
            snapshots.create(session, vm, run="r", quiesce=True)


def test_a_vm_that_is_being_changed_is_still_known_by_the_fault(lab):
    with hands(lab) as session:
        vm = inventory.find_vm(session, "web01").moref
        version = inventory.describe_vm(session, vm).change_version
        reconfigure(lab, "web01", vim.vm.ConfigSpec(annotation="geändert"))

        assert not claims.hold(session, vm, claims.VmClaim(run="r", made=False), version=version)
