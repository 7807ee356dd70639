"""The names of restore points: refs, and the blob keys that stand for them.

A key is one folder for the VM and one name for the point. Text becomes part of a key by percent-encoding. What would be
too long for the stores is cut and ends in a digest, which cannot be undone: only a manifest in such a folder tells the
VM's whole key. Where none can be read, the folder's own name stands for it, and works as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from blake3 import blake3

from vmkeep.errors import NotFoundError
from vmkeep.model.point import STAMP, RestorePoint
from vmkeep.repository.folders import POINTS

NOT_A_NAME = "not the name of a restore point: if somebody else put that file below points/, move it away"
"""Said of a blob that is none of ours, or that somebody has renamed."""
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9_.%~-]+")
_CUT = re.compile(r"[^/~]{1,80}~[0-9a-f]{32}")
_LONGEST_PART = 150
AHEAD = timedelta(minutes=5)
"""Clocks of a vCenter and of this machine may differ by so much before a point's time is called the future."""


def safe_name(text: str) -> str:
    """Return any text as one part of a blob key, reversibly unless it is very long."""
    name = quote(text, safe="").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name) > _LONGEST_PART:
        name = f"{name[:80].rpartition('%')[0] or name[:80]}~{blake3(text.encode()).hexdigest()[:32]}"
    return name


def folder_of(vm_key: str) -> str:
    """Return the folder of a VM's points: for its key, and for the name of the folder where that was cut."""
    return vm_key if _CUT.fullmatch(vm_key) else safe_name(vm_key)


def is_cut(folder: str) -> bool:
    """Return whether a folder's name was cut, so that it does not tell the VM's whole key."""
    return _CUT.fullmatch(folder) is not None


@dataclass(frozen=True, slots=True)
class PointName:
    """A restore point as its blob's name tells it, before anything is read."""

    vm_key: str
    stamp: str
    """``YYYYMMDDThhmmssZ``: sorts by time."""
    id: str
    blob: str

    @property
    def ref(self) -> str:
        """The point's ref."""
        return f"{self.vm_key}/{self.stamp}-{self.id}"

    @property
    def taken_at(self) -> datetime | None:
        """The time that the name tells, in whole seconds; ``None``: it is not the name of a restore point."""
        if not _NAME.fullmatch(self.blob.rpartition("/")[2]):
            return None
        try:
            return datetime.strptime(self.stamp, STAMP).replace(tzinfo=UTC)
        except ValueError:
            return None


def parse_key(key: str, vm_key: str | None = None) -> PointName:
    """Take a blob's key apart.

    :param vm_key: the VM's key, where it is known; else the folder tells it.
    """
    folder, _, name = key.removeprefix(POINTS).partition("/")
    stamp, _, identity = name.partition("-")
    if vm_key is None:
        vm_key = folder if is_cut(folder) else unquote(folder)
    return PointName(vm_key, stamp, identity, key)


def blob_key(point: RestorePoint) -> str:
    """Return the blob key of a point's manifest."""
    return f"{POINTS}{folder_of(point.vm.key)}/{point.stamp}-{safe_name(point.id)}"


def blob_of_ref(ref: str) -> str:
    """Return the blob key that a full ref stands for.

    :raises NotFoundError: it is no ref.
    """
    vm_key, _, name = ref.rpartition("/")
    stamp, _, identity = name.partition("-")
    if not (vm_key and stamp and identity):
        raise NotFoundError(f"'{ref}' does not name a restore point; see 'vmkeep point list'")
    return f"{POINTS}{folder_of(vm_key)}/{safe_name(stamp)}-{safe_name(identity)}"
