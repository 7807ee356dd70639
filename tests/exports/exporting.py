"""Exports a sample machine by the command, compares each image by QEMU's tools, and imports it again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.command_line import run_here
from tests.exports.kinds_of_images import KindOfImage, images_in
from tests.exports.samples import MIB, TIB
from tests.patience import HANG
from vmkeep.images import import_images
from vmkeep.model.point import RestorePoint
from vmkeep.repository import create_repository, open_repository

_NO_ERROR = (0, 3)
"""Exit codes of ``qemu-img check``: the image is sound, or some of its clusters are only unused."""

SECTOR = 512
_BLOCK_OF_DATA = 8
"""A repository's block is as much larger than the smallest pieces of the samples, and is written as a whole."""
_TABLES = 4 << 20
"""Bytes that the tables of all images of a machine may take."""
_OF_A_FILE = 16 << 10
"""Bytes that the header and the directories of each piece of a split image may take."""


@dataclass(frozen=True)
class Samples:
    """A repository with a restore point of each sample machine, and the raw disks that they were made of."""

    location: str
    disks: dict[str, list[Path]]
    points: dict[str, RestorePoint]

    def roots(self, name: str) -> list[str]:
        """Return the maps of a machine's disks. Equal maps are equal disks, byte by byte."""
        return roots_of(self.points[name])


def make_samples(folder: Path, machines: dict[str, Any]) -> Samples:
    """Store a point of each machine."""
    location = str(folder / "repository")
    repository = create_repository(location)
    disks: dict[str, list[Path]] = {}
    points = {}
    for name, drawn in machines.items():
        disks[name] = [disk.write(folder / f"{name}-{number}.raw") for number, disk in enumerate(drawn)]
        points[name] = import_images(repository, disks[name], name=name)
    return Samples(location=location, disks=disks, points=points)


def roots_of(point: RestorePoint) -> list[str]:
    """Return the maps of a point's disks, in order of device key."""
    return [image.root for image in sorted(point.images, key=lambda image: image.disk.key)]


def vmkeep(*arguments: str, repository: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a repository."""
    return run_here(*arguments, "--repository", repository)


def exported(samples: Samples, name: str, kind: KindOfImage, out: Path | str) -> dict[str, Any]:
    """Export a machine's newest point and return the command's answer."""
    done = vmkeep(
        *("point", "export", f"latest:{name}", "--format", kind.name, "--out", str(out), "--json"),
        repository=samples.location,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def files_of(out: Path) -> list[Path]:
    """Return the file of each disk that a person names to open it, in the order of disks."""
    (manifest,) = out.glob("*.export.json")
    return [out / disk["files"][0]["name"] for disk in json.loads(manifest.read_text())["disks"]]


def compare(source: Path, image: str, kind: KindOfImage) -> None:
    """Let QEMU's tools judge an image: its structure, its size and every byte."""
    if kind.checked:
        checked = _qemu_img("check", "-f", kind.driver, image)
        assert checked.returncode in _NO_ERROR, (image, checked.stdout, checked.stderr)
    if kind.driver == "vmdk" and source.stat().st_size > TIB:
        _compare_ends(source, image, kind)
        return
    compared = _qemu_img("compare", "-f", "raw", "-F", kind.driver, str(source), image)
    assert compared.returncode == 0, (image, compared.stdout, compared.stderr)
    assert "size mismatch" not in compared.stdout, image


def _compare_ends(source: Path, image: str, kind: KindOfImage) -> None:
    """Compare the size and the parts round all data, because QEMU looks at each grain of terabytes for minutes."""
    capacity = source.stat().st_size
    told = json.loads(_qemu_img("info", "--output=json", "-f", kind.driver, image).stdout)
    assert told["virtual-size"] == capacity
    with source.open("rb") as file:
        for start in (0, 2 * TIB - MIB, capacity // MIB * MIB):
            length = min(2 * MIB, capacity - start)
            part = source.with_suffix(".part")
            sectors = (f"bs={SECTOR}", f"skip={start // SECTOR}", f"count={(start + length) // SECTOR}")
            _qemu_img("dd", "-f", kind.driver, "-O", "raw", *sectors, f"if={image}", f"of={part}")
            file.seek(start)
            assert part.read_bytes() == file.read(length), f"{image} differs behind byte {start}"
            part.unlink()


def require_equal(samples: Samples, name: str, kind: KindOfImage, out: Path) -> None:
    """Compare every disk of an export with the one that it was made of."""
    files = files_of(out)
    images = images_in(kind, files)
    assert len(images) == len(samples.disks[name])
    for source, image in zip(samples.disks[name], images, strict=True):
        compare(source, image, kind)
    files = list(out.iterdir())
    used = sum(path.stat().st_blocks * 512 for path in files)
    data = sum(path.stat().st_blocks * 512 for path in samples.disks[name])
    assert used <= data * _BLOCK_OF_DATA + _TABLES + _OF_A_FILE * len(files), f"holes became {used} bytes"


def imported_again(samples: Samples, kind: KindOfImage, out: Path) -> RestorePoint:
    """Import an export as a new point, and return it."""
    done = vmkeep(
        *("image", "import", *map(str, _to_import(kind, out)), "--name", "again", "--json"),
        repository=samples.location,
    )
    assert done.returncode == 0, done.stderr
    with open_repository(samples.location) as repository:
        return repository.find_point(json.loads(done.stdout)["point"])


def _to_import(kind: KindOfImage, out: Path) -> Sequence[Path]:
    if kind.name in ("ovf", "ova"):
        return list(out.glob(f"*.{kind.name}"))
    return files_of(out)


def _qemu_img(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, timeout=HANG, check=False)
