"""A LUN that the proxy sees as a block device: found by its id, never another device, never one in use, only read."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import ConflictError, NotFoundError, UnsupportedError, VmKeepError
from vmkeep.model.extents import Extent
from vmkeep.proxy.lundevice import OpenLun, open_lun, require_lun
from vmkeep.proxy.lunreader import LunSource, ReadTimes

DIGITS = "6000c29000000000000000000000abcd"
LUN = f"naa.{DIGITS}"
SIZE = 1 << 20
CONTENT = os.urandom(SIZE)


class Machine:
    """A proxy's files. Its device is a file; as kernel and udev tell of it, the device has the number 0:0."""

    def __init__(self, root: Path, device: Path | None = None) -> None:
        self.root = root
        self.device = device or root / "dev/sdb"
        self.links = root / "dev/disk/by-id"
        self.links.mkdir(parents=True)
        if device is None:
            self.device.write_bytes(CONTENT)
        number = self.device.stat().st_rdev
        self.about = root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
        self.write(self.about / "device/wwid", f"{LUN}\n")
        self.write(self.about / "dev", "8:16\n")
        self.write(root / "proc/self/mountinfo", "22 27 0:21 / /proc rw - proc proc rw\n")
        self.link(f"wwn-0x{DIGITS}")

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def link(self, name: str) -> None:
        (self.links / name).symlink_to(self.device)

    def require(self, name: str = LUN, capacity: int = SIZE) -> None:
        require_lun(name, capacity=capacity, root=self.root, is_device=stat.S_ISREG)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture(params=[512, 4096])
def loop(request, tmp_path) -> Iterator[tuple[Path, int]]:
    """A real block device, and the size of its sectors."""
    image = tmp_path / "image"
    image.write_bytes(CONTENT)
    command = ["losetup", "-f", "--show", "--sector-size", str(request.param), str(image)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this machine lets no test make a loop device: {made.stderr.strip()}")
    yield Path(made.stdout.strip()), request.param
    subprocess.run(["losetup", "-d", made.stdout.strip()], check=True)


def read(lun: OpenLun, *extents: Extent, piece_size: int = 1 << 16) -> dict[int, bytes]:
    found = {}
    with LunSource(lun, ReadTimes()).open_reader(extents, piece_size=piece_size, depth=1) as reader:
        while (piece := reader.next_piece()) is not None:
            found[piece.start] = bytes(piece.data)
            piece.release()
    return found


def test_a_block_device_is_read_whole_and_nobody_else_can_claim_it_meanwhile(loop, tmp_path):
    device, sector = loop
    machine = Machine(tmp_path / "root", device)

    with open_lun(LUN, capacity=SIZE, root=machine.root) as lun:
        assert b"".join(read(lun, Extent(0, SIZE)).values()) == CONTENT
        assert lun.sector == sector
        assert read(lun, Extent(512, 5120), piece_size=8192) == {512: CONTENT[512:5120]}  # in the midst of sectors
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(lun.file, b"x", 0)
        with pytest.raises(ConflictError, match="in use on this proxy"):
            require_lun(LUN, capacity=SIZE, root=machine.root)
    require_lun(LUN, capacity=SIZE, root=machine.root)


@pytest.mark.parametrize("name", ["scsi-3{}", "dm-uuid-mpath-3{}"])
def test_a_lun_is_found_by_each_name_that_udev_gives_it(machine, name):
    (machine.links / f"wwn-0x{DIGITS}").unlink()
    machine.link(name.format(DIGITS))

    machine.require()


def test_a_multipath_device_is_taken_rather_than_one_of_its_paths(tmp_path, machine):
    many = tmp_path / "dm-0"
    many.write_bytes(CONTENT)
    (machine.links / f"dm-uuid-mpath-3{DIGITS}").symlink_to(many)
    machine.write(machine.about / "dm/uuid", f"mpath-3{DIGITS}\n")
    (machine.about / "device/wwid").unlink()

    with open_lun(LUN, capacity=SIZE, root=machine.root, is_device=stat.S_ISREG) as lun:
        assert lun.path.resolve() == many


@pytest.mark.parametrize("told", ["naa.6000c29000000000000000000000abce\n", "", None])
def test_a_link_to_another_device_is_refused(machine, told):
    if told is None:
        (machine.about / "device/wwid").unlink()
    else:
        (machine.about / "device/wwid").write_text(told)

    with pytest.raises(ConflictError, match="is not LUN"):
        machine.require()


def test_a_device_that_is_mounted_or_held_is_refused_with_its_users(machine):
    machine.write(machine.about / "sdb1/partition", "1\n")
    machine.write(machine.about / "sdb1/dev", "8:17\n")
    machine.write(machine.about / "sdb1/holders/dm-3", "")
    machine.write(machine.root / "proc/self/mountinfo", "30 1 8:17 / /srv/data rw - ext4 /dev/sdb1 rw\n")

    with pytest.raises(ConflictError, match=r"held by dm-3 and mounted at /srv/data"):
        machine.require()


def test_a_lun_of_another_size_is_refused(machine):
    with pytest.raises(ConflictError, match=f"has {SIZE} bytes .*, and {SIZE + 512} bytes in the VM"):
        machine.require(capacity=SIZE + 512)


def test_a_lun_that_the_proxy_does_not_see_is_named_with_the_places_that_were_searched(machine):
    with pytest.raises(NotFoundError, match=r"does not see LUN naa\.6000c29f.*wwn-0x6000c29f, scsi-36000c29f"):
        machine.require("naa.6000c29f")


@pytest.mark.parametrize("name", ["mpx.vmhba1:C0:T0:L0", "vml.0200", "naa.../../sdb", "naa.", "sdb", ""])
def test_a_name_that_is_no_id_finds_nothing(machine, name):
    with pytest.raises(UnsupportedError, match="no NAA or EUI id"):
        machine.require(name)


def test_a_file_is_no_block_device(machine):
    with pytest.raises(VmKeepError, match="no block device"):
        require_lun(LUN, capacity=SIZE, root=machine.root)


@given(
    start=st.integers(0, SIZE // 512 - 1), length=st.integers(1, 400), sector=st.sampled_from([512, 4096]),
    piece=st.sampled_from([1 << 16, 1 << 18]),
)  # fmt: skip
def test_any_sectors_are_read_as_they_are_whatever_the_device_wants_of_a_read(lun_file, start, length, sector, piece):
    lun = OpenLun(name=LUN, path=Path("/dev/sdb"), file=lun_file, capacity=SIZE, sector=sector)
    extent = Extent(start * 512, min(SIZE, (start + length) * 512))

    got = read(lun, extent, piece_size=piece)

    assert b"".join(got[at] for at in sorted(got)) == CONTENT[extent.start : extent.stop]


@pytest.fixture(scope="module")
def lun_file(tmp_path_factory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("lun") / "content"
    path.write_bytes(CONTENT)
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    yield file
    os.close(file)
