"""Values of a restore point whose disks are served over NBD."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vmkeep.lateclass import dataclass

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """Which disks are to be served, where, and to whom."""

    point: str
    """A ref, the unique beginning of an id, or ``latest:VM``."""
    disks: tuple[int, ...] = ()
    """Numbers of the disks in the point, from 0, in order of device key; empty: all."""
    writable: bool = False
    """Clients may write. What they write is gone when the server ends."""
    socket: Path | None = None
    """The socket file; ``None``: a port, or else a file in a private folder that ends with the server."""
    port: int | None = None
    """TCP port; 0: any free one."""
    listen: str = LOOPBACK
    """Address on which the port is open."""
    keys: Path | None = None
    """File of pre-shared keys; clients must use TLS then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedDisk:
    """A disk that clients can open."""

    name: str
    """Name of its NBD export, e.g. ``disk0``."""
    key: int
    """The disk's device key in its restore point."""
    label: str
    capacity: int
    """Bytes."""
    uri: str
    """The address by which nbdcopy, nbdinfo and QEMU open it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPoint:
    """A restore point whose disks are served."""

    point: str
    """The point's ref."""
    writable: bool
    socket: str | None
    """Path of the socket file; ``None``: a port."""
    address: str | None
    port: int | None
    disks: tuple[ServedDisk, ...]
    warnings: tuple[str, ...] = ()
    """Sentences about disks of the VM that are not in the point, and about marks that the point has."""
