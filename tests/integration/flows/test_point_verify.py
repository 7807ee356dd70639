"""Points are verified at every level, and each outcome stays with the point as a proof."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace

import pytest

from tests.command_line import run_here
from tests.guest_disks import ImageDisk, in_guest
from tests.patience import HANG
from vmkeep.guest.volumes import find_volumes
from vmkeep.images import import_images
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import Kind, Repository, create_repository, point_id
from vmkeep.repository.frames.packs import pack_key

VERIFY = ("point", "verify", "--json")
BOOT = ("--level", "boot", "--accelerator", "tcg", "--memory", "128", "--cpus", "1", "--timeout", str(HANG))


@pytest.fixture(scope="module")
def repository(guest_disks, tmp_path_factory) -> Repository:
    """Points of a boot loader, of a volume group that fits and one that does not, and of nothing."""
    folder = tmp_path_factory.mktemp("verify")
    made = create_repository(str(folder / "repository"))
    empty = folder / "empty.raw"
    empty.write_bytes(bytes(1 << 20))
    for name, disks in {
        "loader": [guest_disks.path("viii-mini")],
        "good": [guest_disks.path("ia"), guest_disks.path("ib")],
        "stale": [guest_disks.path("ia"), guest_disks.path("iib")],
        "windows": [guest_disks.path("x")],
        "empty": [empty],
    }.items():
        import_images(made, disks, name=name)
    return made


def verified(repository: Repository, *arguments: str) -> tuple[int, list[dict]]:
    done = run_here(*VERIFY, *arguments, "-r", repository.location)
    return done.returncode, json.loads(done.stdout)["points"]


def test_a_system_that_is_not_up_is_undecided_with_what_it_shows_and_a_picture_and_passes_if_that_is_awaited(
    repository, tmp_path
):
    code, (told,) = verified(repository, "latest:image-loader", *BOOT)

    assert (code, told["proof"]["result"]) == (93, "undecided")
    assert told["proof"]["text"].startswith("a boot loader waits for a person: 'boot:' on the serial port")
    code, (told,) = verified(repository, "latest:image-loader", *BOOT, "--wait-for", "boot:")
    assert (code, told["proof"]["result"]) == (0, "passed")
    picture = tmp_path / "screen.png"
    shown = run_here("point", "show", "latest:image-loader", "-r", repository.location, "--screenshot", str(picture))
    assert shown.returncode == 0, shown.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    page = run_here("point", "show", "latest:image-loader", "-r", repository.location).stdout
    assert "proof         boot passed at " in page
    assert "proof         boot UNDECIDED at " in page
    point = repository.find_point("latest:image-loader")
    assert not list(repository.uses.of(point.ref, time=point.taken_at)), "nobody uses the point any more"


def test_a_point_that_does_not_start_fails(repository):
    code, (told,) = verified(repository, "latest:image-empty", *BOOT)

    assert (code, told["proof"]["result"]) == (91, "failed")
    assert "No bootable device" in told["proof"]["text"]


def test_a_guest_that_restarts_again_and_again_does_not_start(tmp_path):
    boot_sector = bytes.fromhex("b0fee664ebfe").ljust(510, b"\0") + b"\x55\xaa"  # resets the machine by its keyboard
    (tmp_path / "restless.raw").write_bytes(boot_sector.ljust(1 << 20, b"\0"))
    own = create_repository(str(tmp_path / "repository"))
    import_images(own, [tmp_path / "restless.raw"], name="restless")

    code, (told,) = verified(own, "latest:image-restless", *BOOT)

    assert (code, told["proof"]["result"]) == (91, "failed")
    assert "the guest does not start: it has restarted" in told["proof"]["text"]


def test_a_damaged_block_fails_a_boot_whatever_the_guest_shows(guest_disks, tmp_path):
    own = create_repository(str(tmp_path / "repository"))
    import_images(own, [guest_disks.path("viii-mini")], name="bad")
    damage_first_block(own, "latest:image-bad")

    code, (told,) = verified(own, "latest:image-bad", *BOOT, "--wait-for", "Booting from")

    assert (code, told["proof"]["result"]) == (91, "failed")
    assert "Data corruption detected" in told["proof"]["text"]
    assert "'Booting from' on the screen" in told["proof"]["text"], "the sign was seen, and does not count"
    seen = run_here("point", "boot", "latest:image-bad", "-r", own.location, *BOOT[2:], "--wait-for", "Booting from")
    assert seen.returncode == 91, "and no more to somebody who looks at it with 'point boot'"


def damage_first_block(repository, ref):
    """Flip a bit of the block in which a point's first disk begins."""
    point = repository.find_point(ref)
    location = repository.open_blocks().locate(Kind.BLOCK, repository.open_map(point.images[0].root).lookup(0))
    pack = bytearray(repository.blobs.get(pack_key(location.pack)))
    pack[location.offset + location.length - 20] ^= 1
    repository.blobs.replace(pack_key(location.pack), pack)


def test_file_systems_pass_fail_or_tell_nothing_each_for_a_reason(repository):
    code, told = verified(repository, "-s", "name:*", "--level", "file-systems")

    proofs = {one["proof"]["point"].partition("/")[0].removeprefix("image-"): one["proof"] for one in told}
    assert code == 91
    assert {name: proof["result"] for name, proof in proofs.items()} == {
        "loader": "passed", "good": "passed", "stale": "failed", "windows": "passed", "empty": "undecided",
    }  # fmt: skip
    assert "sequence numbers of the volume group vgdata" in proofs["stale"]["text"]
    kinds = {volume["name"]: volume["kind"] for volume in proofs["windows"]["details"]["volumes"]}
    assert sorted(kinds.values()) == ["btrfs", "gpt", "ntfs", "vfat", "xfs"]


def test_a_volume_group_of_which_a_disk_was_skipped_is_no_damage_and_not_called_good(repository):
    good = repository.find_point("latest:image-good")
    vm = replace(good.vm, name="half", key="image-half")
    half = replace(
        good, id=point_id("half", vm.key), vm=vm, run="half", images=good.images[:1], skipped=(good.images[1].disk,)
    )
    repository.seal(half)

    _, (told,) = verified(repository, "latest:image-half", "--level", "file-systems")

    assert told["proof"]["result"] == "undecided"
    assert "Hard disk 2" in told["proof"]["text"]


def test_a_proof_names_few_volumes_and_judges_all_of_them(repository, monkeypatch):
    monkeypatch.setattr("vmkeep.flows.file_system_checks._MOST_TOLD", 1)

    _, told = verified(repository, "latest:image-windows", "latest:image-stale", "--level", "file-systems")

    assert [one["proof"]["result"] for one in told] == ["passed", "failed"]
    for one in told:
        assert max(len(one["proof"]["details"][named]) for named in ("volumes", "findings")) == 1
    assert len(told[0]["proof"]["details"]["file_systems"]) == 4, "a later point is compared with all of them"


def test_a_file_system_that_is_only_a_head_fails_and_data_of_no_known_kind_are_undecided(
    repository, guest_disks, tmp_path
):
    hollow, noise = tmp_path / "hollow.raw", tmp_path / "noise.raw"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(hollow), "8M"], check=True)
    with hollow.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xa5" * (2 << 20))
    noise.write_bytes(b"\xa5" * 4096)
    os.truncate(noise, 64 << 20)
    import_images(repository, [hollow], name="hollow")
    import_images(repository, [guest_disks.path("x"), noise], name="noise")

    _, told = verified(repository, "latest:image-hollow", "latest:image-noise", "--level", "file-systems")

    assert [one["proof"]["result"] for one in told] == ["failed", "undecided"]
    assert "disk1 has data of which no kind is known" in told[1]["proof"]["text"]


def test_a_file_system_that_the_point_before_had_is_missed_once(repository, guest_disks, tmp_path):
    whole, lost = guest_disks.path("x"), tmp_path / "lost.raw"
    start = find_volumes(in_guest(ImageDisk(whole))).lvm.tables[0].partitions[1].start
    content = bytearray(whole.read_bytes())
    content[start : start + 70_000] = bytes(70_000)
    lost.write_bytes(content)
    points = [import_images(repository, [image, whole], name="parts").ref for image in (whole, lost, lost)]

    told = [verified(repository, ref, "--level", "file-systems")[1][0]["proof"] for ref in points]

    assert [proof["result"] for proof in told] == ["passed", "undecided", "passed"]
    assert "the ntfs in disk0p2 (" in told[1]["text"]
    assert f"of {points[0]} is not there any more" in told[1]["text"]


def test_a_damaged_block_fails_the_check_that_reads_it_and_no_other_point(repository, guest_disks, tmp_path):
    own = create_repository(str(tmp_path / "repository"))
    for name, disk in {"bad": "vi", "whole": "vip"}.items():
        import_images(own, [guest_disks.path(disk)], name=name)
    damage_first_block(own, "latest:image-bad")

    code, told = verified(own, "latest:image-bad", "latest:image-whole")
    looked, file_systems = verified(own, "latest:image-bad", "--level", "file-systems")

    assert (code, [one["proof"]["result"] for one in told]) == (91, ["failed", "passed"])
    assert (looked, file_systems[0]["proof"]["result"]) == (91, "failed")
    assert "Hard disk 1" in told[0]["proof"]["text"]
    shown = run_here("vm", "proved", "-r", own.location, "--json")
    ages = {vm["vm_name"]: sorted(vm["proofs"]) for vm in json.loads(shown.stdout)}
    assert ages == {"bad": [], "whole": ["digests"]}


def test_a_reader_of_a_point_is_told_that_it_did_not_pass_a_check(repository, tmp_path):
    verified(repository, "latest:image-stale", "--level", "file-systems")

    done = run_here(
        "point", "export", "latest:image-stale", "-r", repository.location, "--format", "raw", "--out", str(tmp_path)
    )

    assert "did not pass the check 'file-systems'" in done.stderr


def test_a_sample_and_a_whole_read_are_two_kinds_of_proof(repository):
    verified(repository, "latest:image-good", "--level", "written")
    verified(repository, "latest:image-good")

    proofs = {proof.kind: proof for proof in repository.proofs.of(repository.find_ref("latest:image-good"))}

    assert proofs[ProofKind.WRITTEN].details["share"] == 0.05
    assert proofs[ProofKind.DIGESTS].result is ProofResult.PASSED
    assert proofs[ProofKind.DIGESTS].details["blocks"] > proofs[ProofKind.WRITTEN].details["blocks"]


def test_points_or_vms_are_named_and_options_of_a_boot_belong_to_one(repository):
    for arguments in ((), ("latest:image-good", "-s", "name:*"), ("latest:image-good", "--timeout", "9")):
        done = run_here("point", "verify", *arguments, "-r", repository.location)
        assert done.returncode == 2, arguments
