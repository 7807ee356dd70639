"""The names of restore points: refs, and the blob keys that stand for them.

A blob key consists of a folder for the VM and a name for the point. Text becomes part of a key by percent-encoding. A
part that would be too long for some stores is cut and ends in a digest. A cut folder name does not tell the VM's whole
key; only a manifest in that folder does. If no manifest there can be read, the folder's name serves as the key.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import quote, unquote

from blake3 import blake3

from vmkeep.errors import NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.repository.folders import POINTS

NOT_A_NAME = "not the name of a restore point: if somebody else put that file below points/, move it away"
"""The message about a blob that vmkeep did not write, or that somebody has renamed."""
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9_.%~-]+")
_CUT = re.compile(r"[^/~]{1,80}~[0-9a-f]{32}")
_LONGEST_PART = 150
"""Longest part of a blob key, in characters."""
_SAFE = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{_LONGEST_PART - 1}}}")
"""A text that is a part of a blob key as it is. Almost all ids and keys are, and thousands are asked about in a row."""
AHEAD = timedelta(minutes=5)
"""Tolerance between the clocks of a vCenter and of this machine. A point's time beyond it is in the future."""


def safe_name(text: str) -> str:
    """Return a text as one part of a blob key. Only a very long text cannot be recovered from the result."""
    if _SAFE.fullmatch(text):
        return text
    name = quote(text, safe="").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name) > _LONGEST_PART:
        name = f"{name[:80].rpartition('%')[0] or name[:80]}~{blake3(text.encode()).hexdigest()[:32]}"
    return name


def folder_of(vm_key: str) -> str:
    """Return the folder of a VM's points.

    :param vm_key: the VM's key; or the folder's own name, if that was cut and the key is not known.
    """
    return vm_key if _CUT.fullmatch(vm_key) else safe_name(vm_key)


def is_cut(folder: str) -> bool:
    """Return whether a folder's name was cut and so does not tell the VM's whole key."""
    return _CUT.fullmatch(folder) is not None


@dataclass(frozen=True, slots=True)
class PointName:
    """The facts about a restore point that the name of its blob tells, before the blob is read."""

    vm_key: str
    stamp: str
    """The point's time in UTC as ``YYYYMMDDThhmmssZ``, which sorts by time."""
    id: str
    blob: str

    @property
    def ref(self) -> str:
        """The point's ref."""
        return f"{self.vm_key}/{self.stamp}-{self.id}"

    @property
    def taken_at(self) -> datetime | None:
        """The point's time in UTC, in whole seconds; ``None``: the blob's name is not that of a restore point."""
        if not _NAME.fullmatch(self.blob.rpartition("/")[2]):
            return None
        try:
            return datetime.fromisoformat(self.stamp)  # in a thirtieth of the time of strptime, for many points
        except ValueError:
            return None


def parse_key(key: str, vm_key: str | None = None) -> PointName:
    """Parse a blob's key.

    :param vm_key: the VM's key, if it is known; if not, it follows from the folder.
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
    """Return the blob key of the point that a full ref names.

    :raises NotFoundError: the text is not a ref.
    """
    vm_key, _, name = ref.rpartition("/")
    stamp, _, identity = name.partition("-")
    if not (vm_key and stamp and identity):
        raise NotFoundError(f"'{ref}' does not name a restore point; see 'vmkeep point list'")
    return f"{POINTS}{folder_of(vm_key)}/{safe_name(stamp)}-{safe_name(identity)}"
