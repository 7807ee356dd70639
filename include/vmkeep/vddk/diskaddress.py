"""The address of a disk: everything that opening it takes, in plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeVar

from vmkeep.errors import UsageError
from vmkeep.model.site import VCenter
from vmkeep.model.transport import TransportMode
from vmkeep.model.vmref import VmRef


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskAddress:
    """The address of a VM's disk, or of a local file."""

    path: str
    """``[datastore] folder/name.vmdk`` as vSphere names it, or a local path."""
    vcenter: VCenter | None = None
    """``None``: a local file."""
    vm: VmRef | None = None
    snapshot: str | None = None
    """Managed object id of the snapshot; always given when one is read."""
    transports: tuple[TransportMode, ...] = ()
    """In order of preference; empty: the library's default, for local files."""
    thumbprint: str = ""
    """Thumbprint that VDDK is told in place of the SHA-1 of the server's certificate."""

    @property
    def title(self) -> str:
        """The disk as messages name it."""
        return f"{self.path} of VM {self.vm.name}" if self.vm else self.path


IDENTITY_LIMIT: Final = 50
"""Bytes of an identity; VMware's guide says characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmAddress:
    """The address of a VM, and the name under which it is held."""

    vcenter: VCenter
    vm: VmRef
    identity: str
    """Pairs PrepareForAccess with EndAccess; the same for every run that may have to end what another one left."""
    thumbprint: str = ""
    """Same as in a disk's address."""

    def __post_init__(self) -> None:
        """Refuse an identity that VDDK would refuse, or cut."""
        if not 1 <= len(self.identity.encode()) <= IDENTITY_LIMIT:
            raise UsageError(f"{self.identity!r} is no identity for VDDK: 1 to {IDENTITY_LIMIT} bytes")

    @property
    def title(self) -> str:
        """The VM as messages name it."""
        return f"VM {self.vm.name}"


A = TypeVar("A", DiskAddress, VmAddress)


def sha1_thumbprint(vcenter: VCenter) -> str:
    """Return the certificate's SHA-1 as VixDiskLib wants it: upper-case pairs with colons."""
    digits = (vcenter.thumbprint or "").replace(":", "").upper()
    if len(digits) != 40 or set(digits) - set("0123456789ABCDEF"):
        given = "a SHA-256" if len(digits) == 64 else "no usable one" if digits else "none"
        raise UsageError(f"VDDK needs the SHA-1 thumbprint of {vcenter.host}'s certificate; {given} was given")
    return _pairs(digits)


def second_try(address: A) -> A | None:
    """Return the address with the certificate's SHA-256 in place of its SHA-1; ``None``: it is not known.

    All versions up to 8 take SHA-1. Whether later ones will is not known, and a wrong thumbprint is told as "unknown
    error"; so where a SHA-1 that was verified a moment ago fails like this, the other digest is tried once.
    """
    digest = address.vcenter.also_sha256 if address.vcenter and not address.thumbprint else None
    return replace(address, thumbprint=_pairs(digest.replace(":", "").upper())) if digest else None


def _pairs(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
