"""Each thing that the look at file systems sees wrong keeps the proof from passing, also if it is the only one."""

from __future__ import annotations

import subprocess

import pytest

from tests.guest_disks import MemoryDisk, in_guest
from vmkeep.errors import CorruptError
from vmkeep.flows.file_system_checks import _judge, _Roots
from vmkeep.guest.lvm import check
from vmkeep.guest.volumes import find_volumes
from vmkeep.model.proofs import ProofResult

MIB = 1 << 20


@pytest.fixture(scope="module")
def ext4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ext4") / "disk"
    path.write_bytes(bytes(16 * MIB))
    subprocess.run(["mkfs.ext4", "-q", str(path)], check=True)
    return path.read_bytes()


@pytest.fixture(scope="module")
def fat(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("fat") / "disk"
    path.write_bytes(bytes(16 * MIB))
    subprocess.run(["mkfs.fat", str(path)], check=True, capture_output=True)
    return path.read_bytes()


def judged(*disks, damage=(), doubts=(), failed=()):
    volumes = find_volumes(in_guest(*disks))
    return _judge(volumes, check(volumes.lvm), damage, doubts, failed)


class Unreadable(MemoryDisk):
    """A disk of which no block can be read."""

    def read_into(self, start, buffer):
        raise CorruptError("block 0 is damaged")


def test_a_sound_file_system_passes(ext4):
    assert judged(MemoryDisk(ext4))[0] is ProofResult.PASSED


@pytest.mark.parametrize("found", ["damage", "failed"])
def test_one_damaged_block_or_root_fails_whatever_else_is_sound(ext4, found):
    assert judged(MemoryDisk(ext4), **{found: ["frame 7 of a pack"]}) == (ProofResult.FAILED, "frame 7 of a pack")


def test_a_disk_that_cannot_be_read_fails_beside_a_sound_one(ext4):
    result, text = judged(MemoryDisk(ext4), Unreadable(bytes(MIB)))

    assert result is ProofResult.FAILED
    assert text.startswith("disk1 cannot be read")


def test_one_doubt_leaves_it_undecided(ext4):
    assert judged(MemoryDisk(ext4), doubts=["one is lost"]) == (ProofResult.UNDECIDED, "one is lost")


def test_a_file_system_that_is_larger_than_its_disk_is_undecided(ext4):
    result, text = judged(MemoryDisk(ext4[: 8 * MIB]))

    assert result is ProofResult.UNDECIDED
    assert "its ext4 is larger than the volume" in text


def test_a_volume_that_could_be_one_of_two_file_systems_is_undecided(ext4, fat):
    # Both superblocks are sound, and only one of the two opens.
    result, text = judged(MemoryDisk(fat[:1024] + ext4[1024:2048] + fat[2048:]))

    assert result is ProofResult.UNDECIDED
    assert "ext4" in text


def test_many_data_of_no_known_kind_are_undecided_and_a_boot_loader_s_few_are_not(ext4):
    noise = b"no file system" * (40 * MIB // 14)

    assert judged(MemoryDisk(ext4), MemoryDisk(noise))[0] is ProofResult.UNDECIDED
    assert judged(MemoryDisk(ext4), MemoryDisk(noise[:MIB]))[0] is ProofResult.PASSED


def test_disks_with_nothing_known_are_undecided():
    assert judged(MemoryDisk(bytes(MIB)))[0] is ProofResult.UNDECIDED


def roots_of(content):
    return _Roots.of(find_volumes(in_guest(MemoryDisk(content))))


def test_a_root_folder_is_listed_and_not_only_opened(ext4, tmp_path):
    (tmp_path / "disk").write_bytes(ext4)
    told = subprocess.run(["debugfs", "-R", "blocks /", str(tmp_path / "disk")], capture_output=True, check=True)
    block = int(told.stdout) * 1024
    assert roots_of(ext4).failures == []

    (failure,) = roots_of(ext4[:block] + b"\xa5" * 1024 + ext4[block + 1024 :]).failures

    assert failure.startswith("disk0: its ext4 cannot be read: ")


def test_a_file_system_with_a_feature_that_nobody_knows_is_a_doubt(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(bytes(4 * MIB))
    subprocess.run(["mkfs.ext4", "-q", "-O", "^metadata_csum", str(path)], check=True)
    content = bytearray(path.read_bytes())
    content[1024 + 0x60 + 3] |= 0x40  # s_feature_incompat

    found = roots_of(content)

    assert (len(found.doubts), found.failures) == (1, [])


LUKS = b"LUKS\xba\xbe\0\1" + bytes(MIB)


@pytest.mark.parametrize("content", [LUKS, bytes(4086) + b"SWAPSPACE2" + bytes(MIB)], ids=["luks", "swap"])
def test_disks_that_nobody_can_look_into_are_undecided(content):
    assert judged(MemoryDisk(content))[0] is ProofResult.UNDECIDED


def test_an_encrypted_volume_beside_a_sound_one_is_undecided_and_named(ext4):
    result, text = judged(MemoryDisk(ext4), MemoryDisk(LUKS))

    assert result is ProofResult.UNDECIDED
    assert text.startswith("disk1: nobody can look into its luks")


def test_swap_beside_a_sound_file_system_is_no_doubt(ext4):
    assert judged(MemoryDisk(ext4), MemoryDisk(bytes(4086) + b"SWAPSPACE2" + bytes(MIB)))[0] is ProofResult.PASSED


def test_a_partition_table_that_contradicts_itself_leaves_it_undecided(ext4):
    beyond = bytes(4) + b"\x83" + bytes(3) + (1).to_bytes(4, "little") + (1 << 20).to_bytes(4, "little")
    table = bytes(446) + beyond + bytes(48) + b"\x55\xaa" + bytes(MIB)

    result, text = judged(MemoryDisk(ext4), MemoryDisk(table))

    assert result is ProofResult.UNDECIDED
    assert "disk1p1 reaches beyond the end of the disk" in text
