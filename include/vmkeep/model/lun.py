"""The content of a physical-mode RDM, which a backup reads from its LUN on the proxy, and not through vSphere."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from vmkeep.lateclass import dataclass

DRIVER: Final = "lun"
"""Name of the disk driver that reads LUNs."""


class LunConsistency(StrEnum):
    """The consistency of content that was read from a LUN. Manifests hold these words."""

    CRASH = "crash"
    """The content of one instant, as after a power failure."""
    LIVE = "live"
    """The content of many instants, because the guest could write while it was read. A file system in it may be broken,
    and no restore of it is safe to rely on."""

    @classmethod
    def _missing_(cls, _value: object) -> LunConsistency:
        """Read a word of a newer program as :attr:`LIVE`, which promises least."""
        return cls.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class LunRead:
    """The LUN from which a disk's content is read."""

    name: str
    """Canonical name of the LUN that is read, e.g. ``naa.600…``."""
    of: str
    """Canonical name of the LUN that the RDM maps. It is another one if ``name`` is the array's snapshot of it."""
    consistency: LunConsistency


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedLun:
    """A physical RDM that is to be read, and the LUN that it maps."""

    key: int
    """Device key of the disk."""
    name: str
    """Canonical name of the LUN."""
