"""Checks for files that VMware's library needs on the machine, because it crashes without them.

Its plugin for SAN and HotAdd is loaded for every transport mode. It reads the machine's SCSI disks and its mounts. A
library without this plugin needs neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vmkeep.errors import UsageError
from vmkeep.vddk.folder import LibraryFile

_PLUGIN: Final = "libdiskLibPlugin.so"
_NEEDED: Final = {
    "sys/class/scsi_disk": "load the kernel's SCSI disks (modprobe sd_mod; for a container, on its host) and let this "
    "machine see /sys",
    "etc/mtab": "make it (ln -s /proc/self/mounts /etc/mtab)",
}


def require_machine(file: LibraryFile, *, root: Path = Path("/")) -> None:
    """Return if this library will not crash on this machine.

    :param root: root folder of the machine's files.
    :raises UsageError: a file is missing. The message says how to get it.
    """
    if not (file.path.parent / _PLUGIN).exists():
        return
    for name, remedy in _NEEDED.items():
        if not (root / name).exists():
            raise UsageError(f"VDDK {file.version} at {file.folder} crashes on a machine without /{name}: {remedy}")
