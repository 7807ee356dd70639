"""The configuration of an ESXi host as the content of a restore point: its identity, and the release it belongs to."""

from __future__ import annotations

import hashlib

from vmkeep.lateclass import dataclass

HOST_KEYS = "host-"
BUNDLE = "configBundle.tgz"
"""Name of the file that holds the configuration, among the files of the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRelease:
    """The machine and the release of ESXi that a configuration belongs to. A restore needs both to be the same."""

    uuid: str | None
    """Hardware UUID, as vSphere tells it; ``None``: vSphere does not tell."""
    product: str
    """Name of the product with version and build, e.g. ``VMware ESXi 8.0.3 build-24022510``."""
    version: str
    build: str
    release: str = ""
    """The release as the bundle's own manifest tells it (``RELEASELEVEL``). The host compares it in a restore."""


def host_key(uuid: str | None, *, vcenter: str | None, name: str, unique: bool = True) -> str:
    """Return the key under which the points of a host are kept.

    :param uuid: the hardware UUID.
    :param unique: no other host of the vCenter has this UUID. Boards of some makers all have one UUID.
    """
    if uuid and unique:
        return f"{HOST_KEYS}{uuid.lower()}"
    digest = hashlib.sha256(f"{vcenter}\n{name}".encode()).hexdigest()[:16]
    return f"{HOST_KEYS}{uuid.lower()}-{digest}" if uuid else f"{HOST_KEYS}{digest}"


def is_host_key(key: str) -> bool:
    """Return whether a key is that of a host. The key of a VM is a UUID or a managed object id, e.g. ``vm-16``."""
    return key.startswith(HOST_KEYS)
