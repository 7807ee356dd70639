"""Bad input: one line that names the thing and the remedy, its own exit code, and nothing touched."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.command_line import run_here


@pytest.fixture
def run(lab, site, tmp_path):
    """Run ``vmkeep`` with the lab's settings; keyword arguments change the environment, ``None`` takes one away."""
    return partial(
        run_here,
        VMKEEP_REPOSITORY=site.repository,
        VMKEEP_VCENTER=f"{lab.host}:{lab.port}",
        VMKEEP_USER=lab.user,
        VMKEEP_PASSWORD=lab.password,
        VMKEEP_THUMBPRINT=lab.thumbprint,
        VMKEEP_VDDK=str(lab.vddk),
        XDG_STATE_HOME=str(tmp_path / "state"),
    )


@pytest.fixture
def of_kept(run, kept):
    """Run ``vmkeep`` with the repository that has a point of web01."""
    return partial(run, VMKEEP_REPOSITORY=kept[0].repository)


def refused(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert result.returncode == code, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


CASES = {
    "unknown VM": (("backup", "run", "no-such-vm"), {}, 10, ("no-such-vm",)),
    "two VMs of that name": (("backup", "run", "twin"), {}, 11, ("twin", "moref:")),
    "wrong password": (("backup", "run", "app01"), {"VMKEEP_PASSWORD": "wrong"}, 20, ("password",)),
    "wrong thumbprint": (("backup", "run", "app01"), {"VMKEEP_THUMBPRINT": "AB" * 20}, 22, ("AB:AB",)),
    "a thumbprint that is none": (("vm", "list"), {"VMKEEP_THUMBPRINT": "hello"}, 2, ("hello",)),
    "unreachable vCenter": (("backup", "run", "app01"), {"VMKEEP_VCENTER": "127.0.0.1:1"}, 30, ("127.0.0.1",)),
    "a name that does not resolve": (("vm", "list"), {"VMKEEP_VCENTER": "vc.invalid"}, 30, ("vc.invalid",)),
    "no VDDK there": (("backup", "run", "app01"), {"VMKEEP_VDDK": "/nowhere"}, 2, ("/nowhere", "unpack")),
    "no repository there": (("backup", "run", "app01"), {"VMKEEP_REPOSITORY": "/nowhere/repo"}, 60, ("/nowhere/repo",)),
    "repository not named": (("point", "list"), {"VMKEEP_REPOSITORY": None}, 2, ("VMKEEP_REPOSITORY",)),
    "unknown restore point": (("restore", "run", "no-such-point"), {}, 10, ("no-such-point", "point list")),
    "restore of a VM never backed up": (("restore", "run", "latest:app01"), {}, 10, ("app01",)),
    "a transport mode that does not exist": (("backup", "run", "web01", "--transports", "carrier"), {}, 2, ("nbdssl",)),
    "one of two modes": (("restore", "run", "x", "--transports", "nbd:NBDSSL"), {}, 2, ("'NBDSSL'", "nbdssl")),
    "no transport mode": (("backup", "run", "web01", "--transports", ""), {}, 2, ("transport", "nbdssl")),
    "a UUID that is none": (("backup", "run", "uuid:x"), {}, 10, ("'x'", "UUID")),
    "no UUID at all": (("backup", "run", "uuid:"), {}, 10, ("UUID",)),
    "the newest point of a VM without a name": (("restore", "run", "latest:"), {}, 2, ("latest:VM",)),
    "a disk image that is not there": (("image", "import", "/nowhere/disk.raw", "--name", "x"), {}, 10, ("/nowhere",)),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_touches_nothing(run, lab, case):
    arguments, changed, code, words = CASES[case]
    before = lab.state()["vms"]

    refused(run(*arguments, **changed), code, *words)

    assert lab.state()["vms"] == before


@pytest.mark.parametrize("name", [".", "..", "a\nb", "\x1b[31mred", "x" * 81])
def test_a_name_that_no_new_vm_can_have_is_refused_before_anything_is_made(of_kept, lab, name):
    before = lab.state()["vms"]

    refused(of_kept("restore", "run", "latest:web01", "--new-name", name), 2, "new name")

    assert lab.state()["vms"] == before


def test_a_vddk_that_does_not_load_fails_before_the_vm_is_touched(run, lab, tmp_path):
    library = tmp_path / "vddk" / "lib64" / "libvixDiskLib.so.8"
    library.parent.mkdir(parents=True)
    whole = next(lab.vddk.glob("lib64/libvixDiskLib.so.8*")).read_bytes()
    library.write_bytes(whole[:4096])

    result = run("backup", "run", "app01", VMKEEP_VDDK=str(tmp_path / "vddk"))

    assert result.returncode != 0
    assert str(tmp_path / "vddk") in result.stderr
    assert lab.vm("app01")["snapshots"] == []


def test_a_folder_that_is_no_repository_is_not_touched(run, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"meow")

    refused(run("backup", "run", "app01", VMKEEP_REPOSITORY=str(folder)), 60, str(folder), "repo init")

    assert [path.name for path in folder.iterdir()] == ["cat.jpg"]


def test_a_repository_of_a_newer_format_is_refused_by_name(run, site):
    descriptor = Path(site.repository, "vmkeep.json")
    fields = json.loads(descriptor.read_text())
    descriptor.chmod(0o600)
    descriptor.write_text(json.dumps(fields | {"version": 99}))

    refused(run("backup", "run", "app01"), 60, "99", site.repository)


def test_scripts_get_the_error_as_json_too(run):
    result = run("backup", "run", "no-such-vm", "--json")

    document = json.loads(result.stdout)
    assert document["class"] == "NotFoundError"
    assert result.returncode == 10


def test_a_vm_without_a_disk_to_copy_says_so(run, lab):
    result = run("backup", "run", "app01", "--exclude", "2000", "--exclude", "2001", "--exclude", "16000")

    refused(result, 13, "nothing to back up")


def test_a_vm_that_was_kept_is_not_called_restored(of_kept):
    done = of_kept("restore", "run", "latest:web01", "--on-conflict", "keep")
    as_json = of_kept("restore", "run", "latest:web01", "--on-conflict", "keep", "--json")

    assert (done.returncode, as_json.returncode) == (0, 0)
    assert done.stdout.startswith("nothing was restored: VM web01 (vm-")
    assert json.loads(as_json.stdout)["kept"] is True


def test_the_command_maps_parts_of_a_new_vm_and_shows_them_before_it_makes_any(of_kept, lab):
    before = lab.state()["vms"]
    new = ("restore", "run", "latest:web01", "--new-name", "mapped", "--no-power-on")

    refused(of_kept(*new, "--network", "VM Network=No=Net"), 10, "'No=Net'", "Backup Network")
    refused(of_kept(*new, "--network", "No Net=VM Network"), 10, "Network adapter 1 on VM Network")
    refused(of_kept(*new, "--disk-datastore", "scsi9:9=datastore2"), 10, "scsi0:0 (Hard disk 1, ")
    refused(of_kept(*new, "--lun", "scsi0:0=naa.1"), 10, "no RDM 'scsi0:0'")
    refused(of_kept("restore", "run", "latest:web01", "--network", "VM Network=none"), 2, "--new-name")
    assert lab.state()["vms"] == before

    mapped = ("--network", "VM Network=Backup Network", "--disk-datastore", "scsi0:0=datastore2", "--connect-networks")
    done = of_kept(*new, *mapped)

    assert done.returncode == 0, done.stderr
    assert "Network adapter 1 is on Backup Network" in done.stderr
    assert "is written, on datastore datastore2" in done.stderr
