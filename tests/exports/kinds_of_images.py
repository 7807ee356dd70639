"""The form of each export format in the eyes of QEMU's own tools."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOfImage:
    """A format by its name in ``--format``."""

    name: str
    driver: str
    """QEMU's name of the format."""
    checked: bool = True
    """``qemu-img check`` knows the format."""


KINDS: Final = (
    KindOfImage(name="raw", driver="raw", checked=False),
    KindOfImage(name="qcow2", driver="qcow2"),
    KindOfImage(name="flat", driver="vmdk"),
    KindOfImage(name="thin", driver="vmdk"),
    KindOfImage(name="2gbsparse", driver="vmdk"),
    KindOfImage(name="stream", driver="vmdk"),
    KindOfImage(name="ovf", driver="vmdk"),
    KindOfImage(name="ova", driver="vmdk"),
)


def images_in(kind: KindOfImage, files: list[Path]) -> list[str]:
    """Return an image of each disk as ``qemu-img`` takes it; that of an OVA lies inside the archive."""
    if kind.name != "ova":
        return [str(path) for path in files]
    (archive,) = set(files)
    with tarfile.open(archive) as tar:
        disks = [member for member in tar.getmembers() if member.name.endswith(".vmdk")]
    return ["json:" + json.dumps(_inside(archive, member)) for member in disks]


def _inside(archive: Path, member: tarfile.TarInfo) -> dict[str, object]:
    part = {"driver": "raw", "offset": member.offset_data, "size": member.size}
    return {"driver": "vmdk", "file": part | {"file": {"driver": "file", "filename": str(archive)}}}
