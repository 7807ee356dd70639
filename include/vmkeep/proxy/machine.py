"""Reads the facts of this machine that SAN and HotAdd depend on. It reads files, and runs ``lvmconfig``."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.proxy.lvmconfig import LvmConfigError, Value, parse_config
from vmkeep.proxy.lvmfilter import DEVICES_FILE, LvmSettings, why_lvm_touches

MACHINE: Final = Path("/")
_PRODUCT_UUID: Final = "sys/class/dmi/id/product_uuid"
_ASK: Final = ("lvmconfig", "--typeconfig", "full", "devices")
_ASK_SECONDS: Final = 20
_CONTAINER_MARKS: Final = (".dockerenv", "run/.containerenv")
_NAMES_OF: Final = {"naa.": ("wwn-0x{}", "scsi-3{}"), "eui.": ("wwn-0x{}", "scsi-2{}", "nvme-eui.{}")}
"""Names that udev gives to a LUN, by the kind of its canonical name in vSphere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyMachine:
    """The facts of a proxy."""

    uuids: tuple[str, ...] = ()
    """The forms in which vSphere may write the UUID of this machine, if it is a VM; none: it cannot be read."""
    why_no_uuid: str = ""
    why_lvm: str | None = None
    """The reason why the machine's own LVM would touch the disks of guests, or may; ``None``: it would not."""
    lvm_known: bool = True
    """Whether the configuration of LVM could be read."""
    disks: frozenset[str] = frozenset()
    """Names of the machine's disks in ``/dev/disk/by-id``. Only those that this user may read count."""
    writable: frozenset[str] = frozenset()
    """Names of those disks that this user may write, too."""


def read_machine(root: Path = MACHINE) -> ProxyMachine:
    """Read the facts of a machine.

    :param root: root folder of the machine's files.
    """
    uuids, why_no_uuid = _uuids(root / _PRODUCT_UUID)
    disks, writable = _disks(root, os.R_OK), _disks(root, os.R_OK | os.W_OK)
    why_lvm, lvm_known = _lvm(root)
    return ProxyMachine(
        uuids=uuids, why_no_uuid=why_no_uuid, why_lvm=why_lvm, lvm_known=lvm_known, disks=disks, writable=writable
    )


def has_lun(disks: frozenset[str], canonical_name: str) -> bool:
    """Tell whether a machine with these disks has a LUN, which vSphere names e.g. ``naa.600…``.

    Any other kind of name (``mpx.``, ``t10.``) counts as not there: it is a local disk of the host, or udev writes it
    in another way.
    """
    kind, digits = canonical_name[:4], canonical_name[4:].lower()
    return any(form.format(digits) in disks for form in _NAMES_OF.get(kind, ()))


def read_uuids(root: Path = MACHINE) -> tuple[str, ...]:
    """Return the forms in which vSphere may write the UUID of this machine, if it is a VM; none: it cannot be read.

    :param root: root folder of the machine's files.
    """
    return _uuids(root / _PRODUCT_UUID)[0]


def _uuids(path: Path) -> tuple[tuple[str, ...], str]:
    """Return a VM's BIOS UUID as the firmware tells it, and with the first three fields turned round.

    Kernel and firmware disagree on the byte order of these fields, by their versions.
    """
    try:
        told = uuid.UUID(path.read_text().strip())
    except FileNotFoundError:
        return (), f"{path} is not there: the firmware of this machine tells no UUID, or a container hides it"
    except PermissionError as error:
        return (), f"{path} cannot be read ({error.strerror}): a worker needs root for that"
    except OSError as error:
        return (), f"{path} cannot be read ({error.strerror})"
    except ValueError:
        return (), f"{path} holds no UUID"
    return (str(told), str(uuid.UUID(bytes_le=told.bytes))), ""


def _disks(root: Path, mode: int) -> frozenset[str]:
    """Return the names of the disks that this user may open.

    :param mode: the access that counts, as ``os.access`` takes it.
    """
    try:
        links = list((root / "dev/disk/by-id").iterdir())
    except OSError:
        return frozenset()
    return frozenset(link.name for link in links if os.access(link, mode))


def _lvm(root: Path) -> tuple[str | None, bool]:
    """Return the reason why LVM would touch the disks of guests, or may, and whether its configuration is known."""
    folder = root / "etc/lvm"
    if not (folder / "lvm.conf").exists():
        if any((root / mark).exists() for mark in _CONTAINER_MARKS):
            return (
                "this worker runs in a container, so that the LVM of its machine is not known: mount the machine's "
                "/etc/lvm there, read-only"
            ), False
        if any((root / place / "lvm").exists() for place in ("sbin", "usr/sbin", "bin", "usr/bin")):
            return "LVM is installed and has no lvm.conf that tells which disks it leaves alone", True
        return None, True
    try:
        config = _config(folder, asked=root == MACHINE)
        devices_file = _devices_file(folder, config)
    except (OSError, UnicodeDecodeError, LvmConfigError) as error:
        return f"the proxy's LVM configuration in {folder} cannot be read: {error}", False
    return why_lvm_touches(LvmSettings.from_config(config, devices_file), own=_own_disks(root)), True


def _config(folder: Path, *, asked: bool) -> dict[str, Value]:
    """Return LVM's settings: those that LVM itself tells, with its defaults, or else those of its files."""
    told = _asked() if asked else {}
    config: dict[str, Value] = {}
    for name in ("lvm.conf", "lvmlocal.conf"):
        if (folder / name).exists():
            config |= parse_config((folder / name).read_text())
    return config | told


def _asked() -> dict[str, Value]:
    try:
        done = subprocess.run(_ASK, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_config(done.stdout)


def _devices_file(folder: Path, config: Mapping[str, Value]) -> str | None:
    name = str(config.get("devices/devicesfile", DEVICES_FILE))
    if not name:
        return None
    try:
        return (folder / "devices" / name).read_text()
    except FileNotFoundError:
        return None


def _own_disks(root: Path) -> frozenset[str]:
    try:
        names = [entry.name for entry in (root / "sys/block").iterdir()]
    except OSError:
        return frozenset()
    return frozenset(name for name in names if re.fullmatch(r"sd[a-z]+", name))
