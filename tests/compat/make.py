"""Makes the repositories in this folder: ``python tests/compat/make.py [name …]``.

They are made once, when a format gets its number, by the vmkeep of that day, and then only read: each stands for those
that users have. Never make one again to turn a test green; a new format gets new ones beside them. Each is a folder as
``tar.gz``, with a JSON file of what has to come out, written from what went in, not from what can be read.

Every one has a VM with two restore points (a full, and an increment), a disk whose map has two levels, a disk smaller
than a block, a skipped RDM, a block that is not compressible, one that is there twice, zeros, the files that are kept
with a point, a pin, and a note of a run.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from vmkeep import __version__
from vmkeep.images.diskfiles import LocalFileSource
from vmkeep.model.disk import ChangeId, ControllerKind, Disk, SkipReason
from vmkeep.model.extents import Extent
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import Repository, create_encrypted_repository, create_repository, open_repository
from vmkeep.transfer.storing import back_up_disk

FOLDER = Path(__file__).parent
BLOCK = 65536
LARGE, SMALL = 8 * 1024 * 1024 + 512, 32 * 1024
PASSPHRASE = "the passphrase of a repository that keeps nothing secret"
VM = VmIdentity(
    name="web01", key="5021a1b2-0000-4000-8000-0000000000c1", moref="vm-16",
    instance_uuid="5021a1b2-0000-4000-8000-0000000000c1", inventory_path="/DC/vm/web01",
)  # fmt: skip
TAKEN_AT = datetime(2026, 5, 4, 3, 2, 1, 250000, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One kind of repository of a format."""

    compression: str
    encrypted: bool = False


VARIANTS = {
    "1-zstd": Variant(compression="zstd"),
    "1-lz4": Variant(compression="lz4"),
    "1-none": Variant(compression="none"),
    "1-encrypted": Variant(
        compression="zstd", encrypted=True
    ),  # its passphrase is wrapped by scrypt, as was done first
    "1-argon2id": Variant(compression="lz4", encrypted=True),
}


def text(seed: str, size: int) -> bytes:
    """Bytes that compress well."""
    return (f"{seed}: a line of a log file that says nothing new\n".encode() * (size // 40 + 1))[:size]


def first_disks() -> dict[int, bytearray]:
    """Content of the disks at the first point: two equal blocks, noise, zeros, and something at the end."""
    large = bytearray(LARGE)
    large[:BLOCK] = random.Random(1).randbytes(4096) + text("first", BLOCK - 4096)
    large[3 * BLOCK : 5 * BLOCK] = text("twice", BLOCK) * 2
    large[100 * BLOCK : 101 * BLOCK] = text("far", BLOCK)
    large[-512:] = random.Random(2).randbytes(512)
    return {2000: large, 2001: bytearray(text("small", SMALL))}


def second_disks(disks: dict[int, bytearray]) -> dict[int, tuple[Extent, ...]]:
    """Change the disks as the guest does before the second point; return what changed."""
    disks[2000][3 * BLOCK : 4 * BLOCK] = bytes(BLOCK)
    disks[2000][70 * BLOCK + 1024 : 70 * BLOCK + 2048] = random.Random(3).randbytes(1024)
    return {2000: (Extent(3 * BLOCK, 4 * BLOCK), Extent(70 * BLOCK + 1024, 70 * BLOCK + 2048)), 2001: ()}


def files(number: int) -> dict[str, bytes]:
    """Files that are kept with a point."""
    return {
        "config.xml": text(f"<config version='{number}'/>", 3000),
        "vm.vmx": b'displayName = "web01"\n',
        "vm.nvram": random.Random(4).randbytes(700) + bytes(8000),
    }


def disk(key: int, capacity: int, **fields: Any) -> Disk:
    """A disk as vSphere describes it."""
    given: dict[str, Any] = {
        "label": f"Hard disk {key - 1999}", "controller": ControllerKind.SCSI,
        "controller_type": "ParaVirtualSCSIController", "bus": 0, "unit": key - 2000, "backing": "FlatVer2",
        "uuid": f"6000C29{key}", "file_name": f"[ds1] web01/web01_{key - 2000}.vmdk", "thin": True,
    }  # fmt: skip
    return Disk(key=key, capacity=capacity, **(given | fields))


RDM = disk(
    2002, 1 << 30, backing="RawDiskMappingVer1", compatibility_mode="physicalMode", lun_uuid="0200000000600a0b80",
    skip=SkipReason.PHYSICAL_RDM,
)  # fmt: skip


def back_up(
    repository: Repository, number: int, disks: dict[int, bytearray], changed: dict[int, tuple[Extent, ...]] | None
) -> RestorePoint:
    """Store the disks as they are and seal a point."""
    run = f"compat/run {number}"
    parent = repository.latest_point(VM.key)
    roots = {image.disk.key: image.root for image in parent.images} if parent else {}
    attachments = repository.store_attachments(files(number), run=run)
    images = []
    for key, content in disks.items():
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            with LocalFileSource(Path(file.name)) as source:
                stored = back_up_disk(
                    source, repository, run=run, extents=changed[key] if changed else None, parent_root=roots.get(key),
                    cursor=None, snapshot=None, piece_size=1 << 20, depth=1,
                    on_progress=lambda _progress: None, check=lambda: None,
                )  # fmt: skip
        images.append(
            DiskImage(
                disk=disk(key, len(content)), root=stored.root,
                kind=BackupKind.INCREMENTAL if changed else BackupKind.FULL,
                reason=f"changes since {parent.ref}" if parent else "first",
                change_id=ChangeId(f"52 3c b4 9e/{number}"), bytes_read=stored.bytes_read,
                bytes_stored=stored.bytes_stored,
            )
        )  # fmt: skip
        attachments[f"extents/{key}"] = (stored.extents_root, stored.extents_size)
    repository.run(run).store("owner", b"compat")
    point = RestorePoint(
        id=f"00000000000000c{number}", vm=VM, taken_at=TAKEN_AT + timedelta(days=number), run=run,
        mode_asked=BackupMode.SNAPSHOT_INCL_MEM, mode_used=BackupMode.SNAPSHOT_EXCL_MEM,
        quiesce_asked=Quiesce.APPLICATION, consistency=Consistency.FILE_SYSTEM, images=tuple(images), skipped=(RDM,),
        warnings=("quiescing the application failed; the file systems were flushed",),
        attachments={name: root for name, (root, _) in attachments.items()},
        attachment_sizes={name: size for name, (_, size) in attachments.items()},
    )  # fmt: skip
    repository.seal(point)
    return point


def expected(point: RestorePoint, number: int, disks: dict[int, bytearray]) -> dict[str, Any]:
    """Facts that have to come out of a point, from those that went in."""
    return {
        "ref": point.ref,
        "taken_at": point.taken_at.isoformat(),
        "kind": point.kind,
        "change_ids": {str(image.disk.key): image.change_id for image in point.images},
        "skipped": [RDM.key],
        "disks": {str(key): hashlib.sha256(content).hexdigest() for key, content in disks.items()},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files(number).items()},
    }


def make(name: str, variant: Variant) -> None:
    """Make one repository and write down what has to come out of it."""
    document: dict[str, Any] = {"made_by": __version__, "passphrase": None, "recovery_key": None}
    with tempfile.TemporaryDirectory() as temporary:
        location = str(Path(temporary, name))
        if variant.encrypted:
            made = create_encrypted_repository(
                location, passphrase=PASSPHRASE, block_size=BLOCK, compression=variant.compression
            )
            document |= {"passphrase": PASSPHRASE, "recovery_key": made.recovery_key}
        else:
            create_repository(location, block_size=BLOCK, compression=variant.compression)
        with open_repository(location, passphrase=document["passphrase"]) as repository:
            disks = first_disks()
            first = back_up(repository, 1, disks, None)
            points = [expected(first, 1, disks)]
            changed = second_disks(disks)
            points.append(expected(back_up(repository, 2, disks, changed), 2, disks))
            repository.marks.pin(first.ref, reason="kept for the tests", by="compat")
            document |= {"id": repository.id, "pinned": first.ref, "points": points}
        with tarfile.open(FOLDER / f"{name}.tar.gz", "w:gz") as archive:
            archive.add(location, arcname=name, filter=_anonymous)
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    for chosen in sys.argv[1:] or VARIANTS:
        if (FOLDER / f"{chosen}.tar.gz").exists():
            sys.exit(f"{chosen}.tar.gz exists: it stands for what users have, and is never made again")
        make(chosen, VARIANTS[chosen])
