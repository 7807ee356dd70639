"""Finds the block device of a LUN on this machine, and opens it for reading, if it is that LUN and nobody uses it.

udev names the device in ``/dev/disk/by-id``. A name alone proves nothing, because a link may be old, so the kernel's
own id of the device is compared, too. The device is claimed while it is open: then the kernel refuses it to mounts,
LVM and multipath, and refuses it here if one of them has claimed it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vmkeep.errors import ConflictError, NotFoundError, TransferError, UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.proxy.machine import MACHINE

_NAMES: Final = {
    "naa.": ("dm-uuid-mpath-3{}", "wwn-0x{}", "scsi-3{}"),
    "eui.": ("dm-uuid-mpath-2{}", "nvme-eui.{}", "wwn-0x{}", "scsi-2{}"),
}
"""Names that udev gives to a LUN, by the kind of its canonical name. A multipath device comes first, because it has
claimed its paths."""
_IDS: Final = {"naa.": ("naa.{}", "mpath-3{}"), "eui.": ("eui.{}", "mpath-2{}")}
"""Ids that the kernel gives to a LUN, by the kind of its canonical name."""
_ID_FILES: Final = ("device/wwid", "wwid", "dm/uuid")
_BLKSSZGET: Final = 0x1268
"""The system call that tells a device's logical sector size."""
_SECTOR: Final = 512

IsDevice = Callable[[int], bool]
"""Tells by its mode whether a file is a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLun:
    """The open block device of a LUN."""

    name: str
    """Canonical name of the LUN."""
    path: Path
    file: int
    """File descriptor, for reading only and past the page cache."""
    capacity: int
    """Bytes."""
    sector: int
    """Bytes of which each read has to be a multiple."""


@contextmanager
def open_lun(
    name: str, *, capacity: int, root: Path = MACHINE, is_device: IsDevice = stat.S_ISBLK
) -> Iterator[OpenLun]:
    """Open a LUN for reading.

    :param name: canonical name in vSphere, e.g. ``naa.600…``.
    :param capacity: bytes that the LUN has to have.
    :param root: root folder of the machine's files.
    :raises NotFoundError: this machine does not see the LUN, or may not read it.
    :raises ConflictError: the device is another one, has another size, or is in use.
    """
    path = _find(name, root)
    try:
        file = os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise ConflictError(f"LUN {name} is in use on this proxy{_by(path, root)}: {path} is not read") from error
        raise NotFoundError(f"LUN {name}: {path} cannot be read on this proxy: {error.strerror}") from error
    try:
        status = os.fstat(file)
        if not is_device(status.st_mode):
            raise UnsupportedError(f"LUN {name}: {path} is no block device")
        _require_same(name, path, root / _about(status))
        if users := _by(path, root):
            raise ConflictError(f"LUN {name} is in use on this proxy{users}: {path} is not read")
        _require_capacity(name, path, file, capacity)
        yield OpenLun(name=name, path=path, file=file, capacity=capacity, sector=_prepare(name, file, status))
    finally:
        os.close(file)


def require_lun(name: str, *, capacity: int, root: Path = MACHINE, is_device: IsDevice = stat.S_ISBLK) -> None:
    """Return if this machine can read a LUN now; see :func:`open_lun`."""
    with open_lun(name, capacity=capacity, root=root, is_device=is_device):
        pass


def _find(name: str, root: Path) -> Path:
    kind, digits = name[:4], name[4:].lower()
    forms = [form.format(digits) for form in _NAMES.get(kind, ())]
    if not forms or not digits.isalnum():
        raise UnsupportedError(
            f"LUN {name} cannot be read on a proxy, because its name is no NAA or EUI id, by which it could be found"
        )
    for form in forms:
        path = root / "dev/disk/by-id" / form
        if path.exists():
            return path
    raise NotFoundError(
        f"this proxy does not see LUN {name}: /dev/disk/by-id has none of {', '.join(forms)}. Present the LUN to the "
        "proxy, read-only if the array can, and scan for it"
    )


def _about(status: os.stat_result) -> str:
    return f"sys/dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _require_same(name: str, path: Path, about: Path) -> None:
    kind, digits = name[:4], name[4:].lower()
    told = next((text for file in _ID_FILES if (text := _text(about / file))), None)
    if told is None or told.lower() not in [form.format(digits) for form in _IDS[kind]]:
        raise ConflictError(
            f"{path} is not LUN {name}: the kernel calls the device {told or 'nothing'}. Scan for the LUN anew"
        )


def _require_capacity(name: str, path: Path, file: int, capacity: int) -> None:
    found = os.lseek(file, 0, os.SEEK_END)
    if found != capacity:
        raise ConflictError(
            f"LUN {name} has {found} bytes as {path} on this proxy, and {capacity} bytes in the VM: if it was resized, "
            "scan for it anew"
        )


def _prepare(name: str, file: int, status: os.stat_result) -> int:
    """Make reads go past the page cache, which may hold what the LUN had before; return the size of a sector."""
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
        if not stat.S_ISBLK(status.st_mode):
            return _SECTOR
        told = fcntl.ioctl(file, _BLKSSZGET, bytes(4))
    except OSError as error:
        raise TransferError(f"LUN {name} cannot be read directly on this proxy: {error.strerror}") from error
    return int.from_bytes(told, "little")


def _by(path: Path, root: Path) -> str:
    """Return the uses of a device in words; empty: no use is seen."""
    about = root / _about(path.stat())
    parts = [about, *(part.parent for part in about.glob("*/partition"))]
    holders = [holder.name for part in parts for holder in (part / "holders").glob("*")]
    numbers = {text for part in parts if (text := _text(part / "dev"))}
    lines = (_text(root / "proc/self/mountinfo") or "").splitlines()
    mounts = [words[4] for line in lines if len(words := line.split()) > 4 and words[2] in numbers]
    told = [f"held by {', '.join(holders)}"] * bool(holders) + [f"mounted at {', '.join(mounts)}"] * bool(mounts)
    return f" ({' and '.join(told)})" if told else ""


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
