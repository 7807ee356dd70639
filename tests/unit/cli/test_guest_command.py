"""``vmkeep guest lvm-check``: a document for scripts, a table for people, and exit codes that tell what was found."""

from __future__ import annotations

import json

import pytest

from tests.command_line import run_here
from vmkeep.errors import StoreError
from vmkeep.images import import_images
from vmkeep.repository import create_repository


@pytest.fixture(scope="module")
def where(tmp_path_factory, guest_disks):
    """A repository with a consistent and an inconsistent VM."""
    location = str(tmp_path_factory.mktemp("guests") / "repository")
    repository = create_repository(location)
    for name, disks in {"db01": ("ia", "ib"), "web01": ("ia", "iib")}.items():
        import_images(repository, [guest_disks.path(disk) for disk in disks], name=name)
    return location


def test_a_fleet_with_an_inconsistent_vm_ends_with_91_and_a_document(where):
    done = run_here("guest", "lvm-check", "-r", where, "--json")

    document = json.loads(done.stdout)
    assert done.returncode == 91
    assert document["summary"]["names"] == ["web01"]
    assert {point["vm"]: len(point["findings"]) for point in document["points"]} == {"db01": 0, "web01": 1}
    assert "1 of 2 restore points contradicts itself" in done.stderr


def test_people_read_a_table_the_findings_and_a_summary(where):
    done = run_here("guest", "lvm-check", "-r", where)

    assert done.returncode == 91
    assert "INCONSISTENT" in done.stdout
    assert "vgdata (2 PVs, seqno 5)" in done.stdout
    assert "failure: web01, " in done.stdout
    assert "2 VMs scanned, 4 disks examined" in done.stdout
    assert "1 of 2 VMs inconsistent (50.00 %): web01" in done.stdout


def test_a_consistent_vm_ends_well(where):
    done = run_here("guest", "lvm-check", "latest:db01", "-r", where)

    assert (done.returncode, done.stderr) == (0, "")
    assert "consistent" in done.stdout


def test_points_are_named_or_chosen_and_not_both(where):
    done = run_here("guest", "lvm-check", "latest:db01", "--all-points", "-r", where)

    assert done.returncode == 2


def test_a_point_that_cannot_be_checked_ends_with_90_and_is_named(tmp_path, guest_disks):
    location = tmp_path / "repository"
    point = import_images(create_repository(str(location)), [guest_disks.path("vi")], name="web01")
    manifest = location / "points" / point.ref
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes()[:-1])

    done = run_here("guest", "lvm-check", "-r", str(location), "--json")

    assert done.returncode == 90
    assert json.loads(done.stdout)["unread"][0]["point"] == point.ref
    assert f"{point.ref} could not be checked" in done.stderr


def test_a_volume_in_which_lvm_may_lie_unseen_is_warned_of_and_changes_no_exit_code(tmp_path):
    image = tmp_path / "luks.raw"
    image.write_bytes(b"LUKS\xba\xbe\0\2".ljust(1 << 20, b"\0"))
    location = tmp_path / "repository"
    point = import_images(create_repository(str(location)), [image], name="web01")

    done = run_here("guest", "lvm-check", "-r", str(location))

    assert done.returncode == 0
    assert f"{point.ref}: LVM may lie unseen in disk0 (luks2)" in done.stderr
    assert "undecided" in done.stdout


def test_points_that_are_good_end_with_the_error_of_a_store_that_keeps_no_outcome_and_not_as_damage(
    tmp_path, guest_disks
):
    location = tmp_path / "repository"
    point = import_images(create_repository(str(location)), [guest_disks.path("vi")], name="web01")
    (location / "proofs").write_bytes(b"no outcome can be written below a file")

    done = run_here("guest", "lvm-check", "--mark", "--json", VMKEEP_REPOSITORY=str(location))

    assert done.returncode == StoreError.exit_code
    assert f"{point.ref}: the outcome of the check is not kept with it" in done.stderr
    assert "no point contradicts itself, but 1 of 1 outcome could not be kept" in done.stderr
    document = json.loads(done.stdout)
    assert (document["unread"], [each["point"] for each in document["unkept"]]) == ([], [point.ref])
