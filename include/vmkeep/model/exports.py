"""Exports of restore points, as a user asks for them, and as their manifests tell of them.

The manifest of an export is a JSON file beside the images, ``NAME.export.json``. It is written last, so that an export
without one is not complete. It names the map root of each disk, from which a later point's difference is computed.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_json, to_plain
from vmkeep.model.overwrite import Verify
from vmkeep.model.portable import Drivers, Hypervisor, LeftOut

MANIFEST = ".export.json"
"""End of the name of an export's manifest."""
NOTES = ".notes.txt"
"""End of the name of the text about what does not come along."""
_MARK = "vmkeep_export"
_VERSION = 1
LARGEST_MANIFEST = 16 << 20
"""Bytes of the largest manifest that is read."""
_ROOT = re.compile(r"[0-9a-f]{64}")


class ImageFormat(StrEnum):
    """The formats in which a disk of a point can be written."""

    RAW = "raw"
    QCOW2 = "qcow2"
    FLAT = "flat"
    """VMDK ``monolithicFlat``: a descriptor, and the disk's bytes in a file of their own."""
    THIN = "thin"
    """VMDK ``monolithicSparse``: one file without the parts that hold only zeros, as Workstation keeps disks."""
    SPLIT = "2gbsparse"
    """VMDK ``twoGbMaxExtentSparse``: the same in files of up to 2 GiB."""
    STREAM = "stream"
    """VMDK ``streamOptimized``: compressed, as OVF takes it."""
    OVF = "ovf"
    """The same, with a description of the machine that vSphere imports, and the digests of all files."""
    OVA = "ova"
    """All of that in one tar file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """An export that a person or a DAG asks for."""

    point: str
    """A ref, the unique beginning of an id, or ``latest:VM``."""
    format: ImageFormat
    out: str
    """A folder of this machine, or ``s3://bucket/prefix``."""
    disks: tuple[str, ...] = ()
    """The disks, each by its number from 0 in order of device key, its address, label or device key; empty: all."""
    name: str | None = None
    """Name of the export, with which its files begin; ``None``: the VM's."""
    overwrite: bool = False
    verify: Verify = Verify.SAMPLE
    to: Hypervisor | None = None
    """The hypervisor for which the machine is described; ``None``: only images are written."""
    drivers: Drivers | None = None
    """The devices of the new machine; ``None``: those that its guest surely has drivers for."""
    convert: bool = False
    """Let virt-v2v make the guest ready for its new devices, on overlays over the images."""
    networks: tuple[str, ...] = ()
    """``OLD=NEW``: a network of the VM, and the network or bridge that its cards are put on instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file of an export."""

    name: str
    size: int
    """Bytes, holes included."""
    sha256: str | None = None
    """Hex digest of its bytes; ``None``: they were not written in order, so that a digest would need another read."""
    state: str | None = None
    """Words of the file system by which a later look sees that nobody has written to the file; ``None``: none were
    found that tell it, as on S3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedDisk:
    """A disk of an export."""

    number: int
    """The disk's number in the point, from 0, in order of device key."""
    label: str
    device_key: int
    capacity: int
    root: str
    """Digest (hex) of the map's root page."""
    files: tuple[WrittenFile, ...]
    """The first is the one that a person names to open the image."""
    bytes_written: int
    """Bytes of the disk that are not zeros, by whole blocks."""
    bytes_compared: int = 0
    """Bytes that were read back and compared."""
    applying: tuple[str, ...] = ()
    """Roots of the maps that tries have begun to put onto the image since it was whole; empty: it is whole.

    Each block of the image is of :attr:`root` or of one of these, or was being written when a try was killed.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedPoint:
    """A complete export: the content of its manifest."""

    name: str
    place: str
    """The folder or the location on S3, as it was given."""
    format: ImageFormat
    repository: str
    """Id of the repository. Map roots of different repositories cannot be compared."""
    point: str
    """The point's ref."""
    vm: str
    """Name of the VM."""
    disks: tuple[ExportedDisk, ...]
    beside: tuple[WrittenFile, ...] = ()
    """Other files of the export, such as a description of the machine."""
    left_out: tuple[LeftOut, ...] = ()
    """Parts of the machine that do not come along; none, too, if the export does not describe the machine."""
    converted: tuple[WrittenFile, ...] = ()
    """Overlays over the images with a converted guest, in the order of the disks; none: it was not converted."""
    verify: Verify = Verify.SAMPLE
    run: str | None = None
    """Run key of the DAG run that wrote it; ``None``: somebody did at a command line."""
    removed: tuple[str, ...] = ()
    """Files of the export that it replaced, which it does not have and which are gone now. The manifest names none."""
    warnings: tuple[str, ...] = ()
    """Sentences about disks of the VM that are not in the point, and about marks that the point had."""

    @property
    def notes(self) -> str:
        """Name of the text for people about these parts."""
        return f"{self.name}{NOTES}"

    @property
    def describes(self) -> bool:
        """Whether the export describes the machine, and so has such a text."""
        return any(file.name == self.notes for file in self.beside)

    @property
    def manifest(self) -> str:
        """Name of the manifest."""
        return f"{self.name}{MANIFEST}"

    @property
    def owned(self) -> list[str]:
        """Names of the export's files without its manifest. Others than those of its name may be a person's."""
        files = (*(file for disk in self.disks for file in disk.files), *self.converted, *self.beside)
        return [name for name in dict.fromkeys(file.name for file in files) if name.startswith(self.name)]

    def encode(self) -> bytes:
        """Return the content of the manifest."""
        return json.dumps({_MARK: _VERSION, **to_plain(self)}, indent=2).encode()


def parse_manifest(content: bytes, *, what: str) -> ExportedPoint:
    """Parse the manifest of an export, without trusting it.

    :param what: the manifest's name in errors.
    :raises UsageError: the content is no such manifest, or one of a newer program.
    """
    try:
        if len(content) > LARGEST_MANIFEST:
            raise ValueError("it is too large")
        version = json.loads(content)[_MARK]
        if version != _VERSION:
            raise UsageError(f"{what}: was written by another version of vmkeep ({version!r}); use that version")
        found = from_json(ExportedPoint, content)
        files = (*(file for disk in found.disks for file in disk.files), *found.converted, *found.beside)
        for name in (found.name, *(file.name for file in files)):
            if "/" in name or "\0" in name or name in ("", ".", ".."):
                raise ValueError(f"{name!r} is no file's name")
        for root in (root for disk in found.disks for root in (disk.root, *disk.applying)):
            if _ROOT.fullmatch(root) is None:
                raise ValueError(f"{root!r} is no root of a map")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{what}: is no manifest of an export: {error}") from error
    return found
