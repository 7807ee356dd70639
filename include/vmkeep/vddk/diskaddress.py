"""Addresses of disks and VMs for VDDK, in plain values."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.site import VCenter
from vmkeep.model.transport import TransportMode
from vmkeep.model.vmref import VmRef


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskAddress:
    """The address of a VM's disk, or of a local file, with all that opening it needs."""

    path: str
    """``[datastore] folder/name.vmdk`` as vSphere names it, or a local path."""
    vcenter: VCenter | None = None
    """The server to connect to; ``None``: the disk is a local file."""
    vm: VmRef | None = None
    snapshot: str | None = None
    """Managed object id of the snapshot to read."""
    transports: tuple[TransportMode, ...] = ()
    """Transport modes, in order of preference; empty: the library's default, for local files."""
    thumbprint: str = ""
    """Thumbprint to pass to VDDK; empty: the SHA-1 of the server's certificate."""

    @property
    def title(self) -> str:
        """The disk as messages name it."""
        return f"{self.path} of VM {self.vm.name}" if self.vm else self.path


IDENTITY_LIMIT: Final = 50
"""Greatest number of bytes of an identity. VMware's guide speaks of 50 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmAddress:
    """The address of a VM, and the identity of the access hold on it."""

    vcenter: VCenter
    vm: VmRef
    identity: str
    """Pairs PrepareForAccess with EndAccess. All runs into a repository use the same one, to end each other's holds."""
    thumbprint: str = ""
    """The same as in a disk's address."""

    def __post_init__(self) -> None:
        """Refuse an identity that VDDK would refuse or cut."""
        if not 1 <= len(self.identity.encode()) <= IDENTITY_LIMIT:
            raise UsageError(f"{self.identity!r} is no identity for VDDK: 1 to {IDENTITY_LIMIT} bytes")

    @property
    def title(self) -> str:
        """The VM as messages name it."""
        return f"VM {self.vm.name}"


A = TypeVar("A", DiskAddress, VmAddress)


def sha1_thumbprint(vcenter: VCenter) -> str:
    """Return the certificate's SHA-1 in VixDiskLib's form: upper-case pairs of hex digits with colons.

    :raises UsageError: the site has no SHA-1 thumbprint.
    """
    digits = (vcenter.thumbprint or "").replace(":", "").upper()
    if len(digits) != 40 or set(digits) - set("0123456789ABCDEF"):
        given = "a SHA-256" if len(digits) == 64 else "no usable one" if digits else "none"
        raise UsageError(f"VDDK needs the SHA-1 thumbprint of {vcenter.host}'s certificate; {given} was given")
    return _pairs(digits)


def second_try(address: A) -> A | None:
    """Return the address with the certificate's SHA-256 in place of its SHA-1; ``None``: the SHA-256 is not known.

    All versions of VDDK up to 8 take SHA-1, but later ones may not. VDDK reports a wrong thumbprint as "unknown error".
    So if a SHA-1 that was just verified fails like this, the other digest is tried once.
    """
    digest = address.vcenter.also_sha256 if address.vcenter and not address.thumbprint else None
    return replace(address, thumbprint=_pairs(digest.replace(":", "").upper())) if digest else None


def _pairs(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
