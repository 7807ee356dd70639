"""Copying disks: into the repository, back out of it, and checking what was stored.

Names are loaded on first use: a transfer's child process imports this package before VDDK is initialised, and nothing
heavy may come in between.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmkeep.transfer.backup import StoredDisk, back_up_disk
    from vmkeep.transfer.restore import restore_disk
    from vmkeep.transfer.running import RunningTransfer, change_access, probe_vddk, start_copy, start_write
    from vmkeep.transfer.verify import verify_disk

_HOMES = {
    "RunningTransfer": "running",
    "StoredDisk": "backup",
    "back_up_disk": "backup",
    "change_access": "running",
    "probe_vddk": "running",
    "restore_disk": "restore",
    "start_copy": "running",
    "start_write": "running",
    "verify_disk": "verify",
}

__all__ = [
    "RunningTransfer",
    "StoredDisk",
    "back_up_disk",
    "change_access",
    "probe_vddk",
    "restore_disk",
    "start_copy",
    "start_write",
    "verify_disk",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
