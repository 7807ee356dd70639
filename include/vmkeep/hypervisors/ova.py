"""Plans an OVA: a tar file with the descriptor first, then its manifest, then the disks.

Source: DMTF DSP0243 1.1.0, section 5.3, and POSIX for the ``ustar`` header. A file of 8 GiB or more has a size that the
header's octal digits cannot hold. It is written in base 256, as GNU tar does, because vSphere reads that and no ``pax``
headers.

The sizes and digests of the disks are known only when they are written, and descriptor and manifest stand before them.
So both get a fixed length: the descriptor is filled up with blanks, which XML allows at its end, and all lines of the
manifest have their final length before the digests are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from vmkeep.hypervisors.ovf_writing import OVF_ENDS, manifest, ovf_xml
from vmkeep.hypervisors.written import WrittenDisk
from vmkeep.lateclass import dataclass
from vmkeep.model.portable import PortableMachine

BLOCK = 512
"""Bytes of a tar header; every file in a tar is padded to a multiple of it."""
END = 2 * BLOCK
"""Bytes of zeros at the end of a tar."""
_MOST = 10**18
"""A size that no disk reaches, with as many digits as any."""
_OCTAL_LIMIT = 8**11


@dataclass(frozen=True, slots=True, kw_only=True)
class OvaPlan:
    """The files of an OVA, and the lengths of those before the disks."""

    machine: PortableMachine
    descriptor: str
    """Name of the descriptor."""
    manifest: str
    """Name of the manifest."""
    disks: Mapping[int, str]
    """Device key of each disk → the name of its file, in the order of the tar."""
    descriptor_size: int
    manifest_size: int

    @property
    def head_size(self) -> int:
        """Bytes before the header of the first disk."""
        return sum(BLOCK + padded(size) for size in (self.descriptor_size, self.manifest_size))

    def head(self, files: Sequence[WrittenDisk], digests: Mapping[str, str]) -> bytes:
        """Return the bytes before the header of the first disk.

        :param digests: name of each disk's file → its SHA-256 in hexadecimal.
        """
        text = ovf_xml(self.machine, files, size=self.descriptor_size).encode()
        lines = {self.descriptor: sha256(text).hexdigest(), **{name: digests[name] for name in self.disks.values()}}
        return _file(self.descriptor, text) + _file(self.manifest, manifest(lines).encode())


def plan_ova(machine: PortableMachine, base: str, disks: Mapping[int, str]) -> OvaPlan:
    """Return the plan of an OVA with some of a machine's disks.

    :param base: name of descriptor and manifest without their ends; ASCII.
    :param disks: device key of each disk → the name of its file in the tar, in the order in which they are written.
    """
    longest = [WrittenDisk(key=key, name=name, size=_MOST, populated=_MOST) for key, name in disks.items()]
    descriptor, listing = (f"{base}{end}" for end in OVF_ENDS)
    return OvaPlan(
        machine=machine,
        descriptor=descriptor,
        manifest=listing,
        disks=dict(disks),
        descriptor_size=len(ovf_xml(machine, longest).encode()),
        manifest_size=len(manifest(dict.fromkeys((descriptor, *disks.values()), "0" * 64))),
    )


def padded(size: int) -> int:
    """Return a size rounded up to whole blocks of a tar."""
    return -(-size // BLOCK) * BLOCK


def tar_header(name: str, size: int) -> bytes:
    """Return the header of a regular file in a tar, which anybody may read and whose time is 1970.

    :param name: at most 100 ASCII characters.
    """
    encoded = name.encode("ascii")
    if len(encoded) > 100:
        raise ValueError(f"{name!r} is too long for a tar header")
    small = size < _OCTAL_LIMIT
    length = b"%011o\0" % size if small else b"\x80" + size.to_bytes(11, "big")
    magic = b"ustar\x0000" if small else b"ustar  \0"
    fields = (
        encoded.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", length, b"%011o\0" % 0, b" " * 8, b"0",
        b"\0" * 100, magic,
    )  # fmt: skip
    header = b"".join(fields).ljust(BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _file(name: str, content: bytes) -> bytes:
    return tar_header(name, len(content)) + content.ljust(padded(len(content)), b"\0")
