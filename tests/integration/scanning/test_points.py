"""Malware in the files of restore points is found, kept with the point, and told to everybody who reads it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.command_line import run_here
from tests.integration.scanning.conftest import EICAR
from vmkeep.images import import_images
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import create_repository, point_id

MIB = 1 << 20


def ext4(folder, image):
    """Make an image of a folder."""
    image.write_bytes(b"")
    os.truncate(image, 8 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(folder), str(image)], check=True)
    return image


def with_file(image, later, path, content):
    """Copy an image, and write one more file into the copy."""
    shutil.copy(image, later)
    source = later.with_suffix(".source")
    source.write_bytes(content)
    subprocess.run(
        ["debugfs", "-w", "-R", f"write {source} {path}", str(later)], check=True, capture_output=True
    )  # fmt: skip
    return later


def fat(image, **files):
    image.write_bytes(b"")
    os.truncate(image, 4 * MIB)
    subprocess.run(["mkfs.vfat", "-i", "12345678", str(image)], check=True, capture_output=True)
    for name, content in files.items():
        subprocess.run(["mcopy", "-i", str(image), "-", f"::{name}"], input=content, check=True)
    return image


def ntfs(image, **files):
    image.write_bytes(b"")
    os.truncate(image, 4 * MIB)
    subprocess.run(["mkntfs", "-q", "-F", "-f", str(image)], check=True, capture_output=True)
    for name, content in files.items():
        source = image.parent / name
        source.write_bytes(content)
        subprocess.run(["ntfscp", "-f", "-q", str(image), str(source), name], check=True, capture_output=True)
    return image


class World:
    """A repository with points of two VMs, and the command line on it."""

    def __init__(self, folder, signatures):
        self.folder = folder
        self.signatures = signatures
        self.repository = create_repository(str(folder / "repo"))

    def point(self, name, *images, days=0):
        """Import images as a point of a VM, some days ago."""
        made = import_images(self.repository, images, name=name)
        run = f"{name}{days}"
        again = replace(made, id=point_id(run, made.vm.key), run=run, taken_at=made.taken_at - timedelta(days=days))
        ref = self.repository.seal(again)
        self.repository.marks.forget(made.ref)
        self.repository.blobs.delete(f"points/{made.ref}")
        return ref

    def run(self, *arguments, clamav=True, **changed):
        scanner = {"VMKEEP_CLAMAV": str(self.signatures) if clamav else None, "VMKEEP_YARA": None}
        return run_here(
            *map(str, arguments), "-r", str(self.folder / "repo"),
            VMKEEP_CATALOG=f"sqlite:///{self.folder}/catalog.db", **(scanner | changed),
        )  # fmt: skip

    def json(self, *arguments, code=0, **changed):
        done = self.run(*arguments, "--json", **changed)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def world(tmp_path_factory, signatures):
    folder = tmp_path_factory.mktemp("points")
    world = World(folder, signatures)
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (tree / "etc" / "large").write_bytes(os.urandom(5 * MIB))
    first, boot = ext4(tree, folder / "web0.img"), fat(folder / "boot.img", a=b"harmless")
    second = with_file(first, folder / "web1.img", "new", b"new")
    third = with_file(second, folder / "web2.img", "evil.com", EICAR)
    world.old = world.point("web", first, boot, days=3)
    world.middle = world.point("web", second, boot, days=2)
    world.bad = world.point("web", third, boot, days=1)
    world.windows = world.point("win", ntfs(folder / "win.img", evil=EICAR, good=b"good"))
    return world


def test_the_test_virus_is_found_in_ext4_and_the_proof_stays_with_the_point(world):
    done = world.json("point", "scan", world.bad, code=95)

    [scanned] = done["points"]
    [found] = scanned["findings"]
    assert (scanned["result"], scanned["scope"], scanned["found"]) == ("failed", "whole", 1)
    assert (found["volume"], found["path"], found["signature"]) == ("disk0", "/evil.com", "Test.Eicar.UNOFFICIAL")
    assert found["sha256"] == hashlib.sha256(EICAR).hexdigest()
    assert [(each["name"], each["kind"], each["problem"]) for each in scanned["volumes"]] == [
        ("disk0", "ext4", ""), ("disk1", "vfat", ""),
    ]  # fmt: skip
    proof = next(each for each in world.repository.proofs.of(world.bad) if each.kind is ProofKind.MALWARE)
    assert proof.result is ProofResult.FAILED
    assert proof.details["findings"][0]["path"] == "/evil.com"
    assert "1 file: disk0:/evil.com (Test.Eicar.UNOFFICIAL)" in proof.text


def test_the_test_virus_is_found_in_ntfs_and_fat(world):
    fat_point = world.point("fat", fat(world.folder / "evil.img", good=b"good", evil=EICAR))

    done = world.json("point", "scan", world.windows, fat_point, code=95)

    assert [[found["path"] for found in each["findings"]] for each in done["points"]] == [["/evil"], ["/evil"]]
    assert [each["volumes"][0]["kind"] for each in done["points"]] == ["ntfs", "vfat"]


def test_a_clean_point_is_clean_and_scans_of_changed_files_stand_on_it(world):
    assert world.json("point", "scan", world.old)["points"][0]["result"] == "passed"

    [scanned] = world.json("point", "scan", world.middle, "--changed")["points"]

    assert (scanned["scope"], scanned["since"], scanned["result"]) == ("changed", world.old, "passed")
    ext, boot = scanned["volumes"]
    assert (ext["files"], ext["unchanged"]) == (1, 2)
    assert (boot["files"], boot["unchanged"]) == (0, 1)

    vms = {vm["vm_name"]: vm["last"] for vm in world.json("vm", "clean")}
    assert vms["web"]["clean"]["point"] == world.middle
    assert vms["web"]["clean"]["whole_at"] < vms["web"]["clean"]["scanned_at"]
    assert [state["point"] for state in vms["web"]["newer"]] == [world.bad]


def test_malware_in_a_file_whose_size_and_times_were_kept_is_found_by_a_scan_of_changed_files(world):
    tree = world.folder / "sleeper"
    tree.mkdir()
    (tree / "a").write_bytes(good := b"good".ljust(len(EICAR), b"."))
    (tree / "b").write_bytes(b"other")
    image = ext4(tree, world.folder / "sleeper0.img")
    later = world.folder / "sleeper1.img"
    later.write_bytes(image.read_bytes().replace(good, EICAR))
    clean, bad = world.point("sleeper", image, days=2), world.point("sleeper", later, days=1)
    world.json("point", "scan", clean)

    [scanned] = world.json("point", "scan", bad, "--changed", code=95)["points"]

    assert (scanned["scope"], scanned["since"]) == ("changed", clean)
    assert [found["path"] for found in scanned["findings"]] == ["/a"]
    assert [(each["files"], each["unchanged"]) for each in scanned["volumes"]] == [(1, 1)]


def test_everybody_who_reads_a_point_with_malware_is_warned(world):
    world.run("point", "scan", world.old)
    world.run("point", "scan", world.bad)

    done = world.run("point", "export", world.bad, "--format", "raw", "--out", world.folder, "--force")

    assert "malware in 1 file: disk0:/evil.com" in done.stderr
    assert "the VM's last clean point is" in done.stderr


def test_a_volume_that_cannot_be_read_makes_the_outcome_undecided(world):
    (world.folder / "luks.img").write_bytes(b"LUKS\xba\xbe\x00\x01".ljust(64 * MIB, b"\x55"))
    ref = world.point("secret", world.folder / "luks.img")

    [scanned] = world.json("point", "scan", ref, code=97)["points"]

    assert scanned["result"] == "undecided"
    assert "LUKS" in scanned["volumes"][0]["problem"]
    assert world.json("vm", "clean", "-s", "name:secret")[0]["last"]["clean"] is None


def test_a_signature_that_somebody_put_beside_a_file_system_hides_no_malware(world):
    label = b"LABELONE".ljust(24, b"\0") + b"LVM2 001" + b"x" * 32
    linux = with_file(world.folder / "web0.img", world.folder / "label.img", "evil.com", EICAR)
    stick = fat(world.folder / "swap.img", evil=EICAR)
    for image, at, mark in ((linux, 512, label), (stick, 4086, b"SWAPSPACE2")):
        with image.open("r+b") as file:
            file.seek(at)
            file.write(mark)

    [scanned] = world.json("point", "scan", world.point("marks", linux, stick), code=95)["points"]

    assert [(found["volume"], found["path"]) for found in scanned["findings"]] == [
        ("disk0", "/evil.com"), ("disk1", "/evil"),
    ]  # fmt: skip


def test_a_point_without_any_file_system_is_not_clean(world):
    (world.folder / "empty.img").write_bytes(bytes(MIB))
    ref = world.point("empty", world.folder / "empty.img")

    done = world.run("point", "scan", ref)

    assert done.returncode == 97
    assert "no volume with files was found" in done.stdout


def test_a_scan_of_one_volume_finds_and_makes_no_point_clean(world):
    ref = world.point("single", fat(world.folder / "single.img", a=b"x"))

    assert world.json("point", "scan", ref, "--volume", "disk0")["points"][0]["scope"] == "part"
    assert world.repository.proofs.of(ref) == ()
    done = world.run("point", "scan", ref, "--volume", "disk7")
    assert done.returncode == 10
    assert "disk7" in done.stderr


def test_yara_scans_by_rules_and_wrong_rules_are_told_first(world):
    rules = world.folder / "rules.yar"
    rules.write_text('rule Local { strings: $a = "localhost" condition: $a }')

    [scanned] = world.json("point", "scan", world.old, "--yara", rules, clamav=False, code=95)["points"]

    assert [(each["path"], each["signature"]) for each in scanned["findings"]] == [("/etc/hosts", "Local")]
    assert [each["name"] for each in scanned["scanners"]] == ["YARA"]
    rules.write_text("rule Local { condition: nothing }")
    done = world.run("point", "scan", world.old, "--yara", rules, clamav=False)
    assert done.returncode == 2
    assert f"{rules}:1:25" in done.stderr


def test_later_finds_of_one_scanner_push_no_find_of_another_out(world):
    ref = world.point("pushed", fat(world.folder / "pushed.img", evil=EICAR))
    world.json("point", "scan", ref, code=95)
    rules = world.folder / "pushed.yar"
    rules.write_text('rule Local { strings: $a = "EICAR" condition: $a }')
    for _ in range(3):
        world.json("point", "scan", ref, "--yara", rules, clamav=False, code=95)
    rules.write_text('rule Local { strings: $a = "nothing of this kind" condition: $a }')
    [scanned] = world.json("point", "scan", ref, "--yara", rules, clamav=False)["points"]

    assert scanned["result"] == "passed"
    assert world.json("vm", "clean", "-s", "name:pushed")[0]["last"]["clean"] is None
    proved = {vm["vm_name"]: vm["proofs"] for vm in world.json("vm", "proved")}
    assert "malware" not in proved["pushed"]


def test_the_newest_points_of_the_vms_that_fit_are_scanned(world):
    done = world.json("point", "scan", "-s", "name:w*", code=95)

    assert [each["point"] for each in done["points"]] == [world.bad, world.windows]
    assert world.run("point", "scan", "-s", "name:nobody").returncode == 10
    assert world.run("point", "scan").returncode == 2


def test_a_person_reads_finds_and_what_was_left_out(world):
    done = world.run("point", "scan", world.bad)

    assert done.returncode == 95
    assert "FOUND         disk0:/evil.com: Test.Eicar.UNOFFICIAL (ClamAV), SHA-256 275a021b" in done.stdout
    assert "scanner       ClamAV 1." in done.stdout
    assert "error: " in done.stderr or "malware in 1 file" in done.stderr


def test_a_point_is_not_clean_if_volumes_are_lost_with_the_metadata_of_their_group(world, guest_disks):
    disks = []
    for name in ("iva", "ivb"):
        content = bytearray(guest_disks.path(name).read_bytes())
        content[2056 * 512 : 4096 * 512] = bytes(2040 * 512)
        disks.append(world.folder / f"lost-{name}.img")
        disks[-1].write_bytes(content)
    lost = world.point("lost", fat(world.folder / "beside.img", good=b"good"), *disks)

    [scanned] = world.json("point", "scan", lost, code=97)["points"]

    assert (scanned["result"], scanned["found"]) == ("undecided", 0)
    assert any(each["kind"].startswith("lvm") and each["problem"] for each in scanned["volumes"])


def test_a_volume_that_cannot_be_scanned_because_of_a_skipped_disk_names_that_disk(world, guest_disks):
    ref = world.point("half", *(guest_disks.path(name) for name in ("iva", "ivb")))
    whole = world.repository.load_point(ref)
    first, second = whole.images
    part = replace(whole, id=point_id("part", whole.vm.key), run="part", images=(first,), skipped=(second.disk,))

    [scanned] = world.json("point", "scan", world.repository.seal(part), code=97)["points"]

    assert scanned["result"] == "undecided"
    problems = {each["name"]: each["problem"] for each in scanned["volumes"]}
    assert any(f"{second.disk.label}, which is not in the backup" in problem for problem in problems.values())
    assert "a disk is not in the backup" in problems["vgdata/lv_stripe"]
