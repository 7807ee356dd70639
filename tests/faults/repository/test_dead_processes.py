"""Processes that die, many writers at once, and memory: what only real processes show."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import HANG
from vmkeep.errors import CorruptError, StoreFullError
from vmkeep.images import export_image, import_images
from vmkeep.repository import create_repository, open_repository

MIB = 1 << 20
IMPORT = """
import json, sys, time
from pathlib import Path
from vmkeep.images import import_images
from vmkeep.repository import open_repository
from vmkeep.repository.blocks import writer
from vmkeep import filereader

place, image, name, pause, pack = sys.argv[1:]
writer.PACK_SIZE = int(pack)
read_at = filereader.FileReader._read_at
def slow(self, start, data):
    time.sleep(float(pause))
    read_at(self, start, data)
filereader.FileReader._read_at = slow
with open_repository(place) as repository:
    point = import_images(repository, [Path(image)], name=name)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"ref": point.ref, "peak_kib": int(peak.split()[1])}))
"""


def start(place, image, name, *, pause=0.0, pack=64 * MIB):
    arguments = [str(place), str(image), name, str(pause), str(pack)]
    return subprocess.Popen([sys.executable, "-c", IMPORT, *arguments], stdout=subprocess.PIPE)


@pytest.fixture
def small_packs():
    """Not here: these disks have blocks of 256 KiB."""


@pytest.fixture
def place(tmp_path):
    create_repository(str(tmp_path / "repo"))
    return tmp_path / "repo"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(random.Random(1).randbytes(24 * MIB))
    return path


def exported(place, point, folder):
    export_image(open_repository(str(place)), point, 0, folder / point.id)
    return (folder / point.id).read_bytes()


def test_an_importer_that_is_killed_in_mid_copy_harms_nothing(place, image, tmp_path):
    first = import_images(open_repository(str(place)), [image], name="vm")
    before = set(place.rglob("packs/*/*"))
    content = image.read_bytes()
    image.write_bytes(random.Random(2).randbytes(24 * MIB))
    child = start(place, image, "vm", pause=0.05, pack=2 * MIB)
    while not set(place.rglob("packs/*/*")) - before:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()

    repository = open_repository(str(place))
    assert [point.ref for point in repository.points()] == [first.ref]
    assert repository.check(read_data=True) == []
    assert exported(place, first, tmp_path) == content
    again = import_images(open_repository(str(place)), [image], name="vm")
    assert exported(place, again, tmp_path) == image.read_bytes()


def test_any_number_of_writers_at_once_with_no_lock(place, tmp_path):
    shared = random.Random(3).randbytes(4 * MIB)
    images = []
    for number in range(4):
        images.append(tmp_path / f"{number}.raw")
        images[-1].write_bytes(shared + random.Random(number).randbytes(MIB) + shared)
    children = [start(place, path, f"vm{number}", pack=MIB) for number, path in enumerate(images)]
    refs = []
    for child in children:
        out, _ = child.communicate(timeout=HANG)
        refs.append(json.loads(out)["ref"])

    repository = open_repository(str(place))
    assert sorted(point.ref for point in repository.points()) == sorted(refs)
    assert repository.check(read_data=True) == []
    for ref, path in zip(refs, images, strict=True):
        assert exported(place, repository.load_point(ref), tmp_path) == path.read_bytes()


@pytest.mark.slow
def test_memory_is_bounded_for_any_copy(place, tmp_path):
    path = tmp_path / "large.raw"
    with path.open("wb") as file:
        for seed in range(6):
            file.write(random.Random(seed).randbytes(64 * MIB))
    out, _ = start(place, path, "large").communicate(timeout=HANG)
    found = json.loads(out)

    assert found["peak_kib"] < 256 * 1024


def test_a_store_that_takes_no_more_is_one_clear_error_and_nothing_half_written(place, image):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MIB, limits[1]))  # the kernel refuses in the middle of a write
    try:
        with pytest.raises(StoreFullError, match=rf"{place}: no space left for packs/.*\d+ bytes more are needed"):
            import_images(open_repository(str(place)), [image], name="vm")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    repository = open_repository(str(place))
    assert list(repository.points()) == []
    assert repository.check(read_data=True) == []
    assert list((place / ".tmp").iterdir()) == []


def test_an_export_of_a_damaged_point_leaves_no_file(place, image, tmp_path):
    point = import_images(open_repository(str(place)), [image], name="vm")
    pack = max(place.rglob("packs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    before = sorted(Path(tmp_path).iterdir())

    with pytest.raises(CorruptError, match=rf"restore point {point.ref}, Hard disk 1, byte \d+: pack {pack.name}"):
        export_image(open_repository(str(place)), point, 0, tmp_path / "out")
    assert sorted(Path(tmp_path).iterdir()) == before
