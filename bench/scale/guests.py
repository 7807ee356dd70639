"""Checks the LVM in the restore points of five thousand VMs, and tells the seconds for each VM.

    python -m bench.scale.guests [--vms 5000] [--json FILE]

Each VM has two disks of 64 MiB with one volume group, made by real LVM, and no disk has a block of metadata in common
with another one. So every block that the check needs is read and unpacked. The first check is of a repository that is
just opened; in the second one the groups of the points before are known by their proofs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import zstandard

from bench.measure import say
from bench.programs import machine
from bench.scale.processes import of_this
from vmkeep.flows import disk_images
from vmkeep.flows.lvm_checks import LvmRequest, check_lvm
from vmkeep.model.point import RestorePoint
from vmkeep.repository import BlockWriter, Kind, Repository, create_repository, open_repository, point_id

_FIXTURES: Final = Path(__file__).parents[2] / "tests" / "fixtures" / "guest"
_DISKS: Final = ("ia", "ib")
_CAPACITY: Final = 64 << 20
_HEAD: Final = 3 << 20
"""The bytes of each disk that are stored: all of LVM's metadata is in them."""
_UNUSED: Final = ((1 << 20) + (900 << 10), 900 << 10)
"""Where each disk's ring of metadata was never written, so that a number there makes its block another one."""
_TOGETHER: Final = 100
"""VMs whose blocks go into one pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The price of one check of all VMs."""

    what: str
    vms: int
    seconds: float
    cpu_seconds: float
    milliseconds_per_vm: float
    kibibytes_per_vm: float
    """Bytes that were read from the repository's folder."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=5000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vmkeep-guests-", dir="/var/tmp") as folder:
        location = str(Path(folder) / "repository")
        _make(create_repository(location), options.vms, Path(folder))
        costs = [
            _check(location, "newest points, each with an earlier one that was never checked"),
            _check(location, "the same again, with proofs"),
        ]
    print(f"{options.vms} VMs with 2 disks each, {machine()}\n")
    print("| check | seconds | CPU seconds | ms per VM | KiB read per VM |\n|---|---|---|---|---|")
    for cost in costs:
        print(
            f"| {cost.what} | {cost.seconds:.1f} | {cost.cpu_seconds:.1f} | {cost.milliseconds_per_vm:.1f} | "
            f"{cost.kibibytes_per_vm:.0f} |"
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1), encoding="utf-8")


def _check(location: str, what: str) -> Cost:
    """Check all VMs once, in a repository that was opened for it."""
    say(what)
    began, spent = time.monotonic(), of_this()
    with open_repository(location) as repository:
        report = check_lvm(repository, LvmRequest(record=True), by="bench")
        counts = repository.meter.report() if repository.meter is not None else ()
        read = sum(verb.bytes_moved for verb in counts if verb.verb.startswith("get"))
    seconds = time.monotonic() - began
    vms = len(report.summary.vms)
    assert not report.summary.inconsistent
    assert not report.summary.unread
    return Cost(
        what=what,
        vms=vms,
        seconds=round(seconds, 2),
        cpu_seconds=round(of_this() - spent, 2),
        milliseconds_per_vm=round(1000 * seconds / vms, 2),
        kibibytes_per_vm=round(read / vms / 1024, 1),
    )


def _make(repository: Repository, vms: int, folder: Path) -> None:
    """Store two points of each VM."""
    heads = [_head(name) for name in _DISKS]
    pattern = _pattern(repository, folder)
    for first in range(0, vms, _TOGETHER):
        run = f"bench-{first}"
        with repository.open_writer(run=run) as writer:
            points = [
                point
                for number in range(first, min(vms, first + _TOGETHER))
                for point in _points(repository, writer, pattern, heads, number, run)
            ]
            writer.flush()
        for point in points:
            repository.seal(point)
        say(f"{first + len(points) // 2} of {vms} VMs are stored")


def _pattern(repository: Repository, folder: Path) -> RestorePoint:
    """Return a point with the saved configuration of a Debian, from which the others are made."""
    paths = tuple(folder / f"{name}.raw" for name in _DISKS)
    for path in paths:
        with path.open("wb") as file:
            file.truncate(_CAPACITY)
    request = disk_images.ImportRequest(paths=paths, name="pattern", guest_id="debian12_64Guest")
    return disk_images.import_images(repository, request, on_progress=lambda _event: None).point


def _points(
    repository: Repository, writer: BlockWriter, pattern: RestorePoint, heads: list[bytes], number: int, run: str
) -> Iterator[RestorePoint]:
    key = str(uuid.UUID(int=number + 1))
    roots = [_store(repository, writer, head, at, number) for head, at in zip(heads, _UNUSED, strict=True)]
    vm = replace(pattern.vm, name=f"vm{number:05}", key=key, moref=f"vm-{number}", instance_uuid=key, vcenter="bench")
    images = tuple(replace(image, root=root) for image, root in zip(pattern.images, roots, strict=True))
    for days in (1, 0):
        yield replace(
            pattern,
            id=point_id(f"{run}-{days}", key),
            run=f"{run}-{days}",
            vm=vm,
            images=images,
            taken_at=pattern.taken_at - timedelta(days=days),
        )


def _store(repository: Repository, writer: BlockWriter, head: bytes, at: int, number: int) -> str:
    """Store a disk that has a number of its own; return the root of its map."""
    content = bytearray(head)
    content[at : at + 8] = (number + 1).to_bytes(8, "big")
    builder = repository.build_map(writer, capacity=_CAPACITY)
    size = repository.block_size
    for block in range(_HEAD // size):
        raw = memoryview(content)[block * size : (block + 1) * size]
        if any(raw):
            digest = repository.framer.digester.of(Kind.BLOCK, raw)
            writer.add(Kind.BLOCK, digest, raw)
            builder.set(block, [digest])
    return builder.store()


def _head(name: str) -> bytes:
    with (_FIXTURES / f"{name}.raw.zst").open("rb") as packed:
        return zstandard.ZstdDecompressor().stream_reader(packed).read(_HEAD)


if __name__ == "__main__":
    main()
