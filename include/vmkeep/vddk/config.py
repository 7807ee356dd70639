"""Makes the configuration file that InitEx reads, and the folder in which VDDK keeps its state.

Without this file VDDK reads ``/etc/vmware`` and ``~/.vmware``, so that two proxies would behave differently. VMware
recommends these keys and values. The AIO keys need VDDK 6.7 U3; older versions ignore them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vmkeep.errors import UsageError
from vmkeep.scratch import scratch_file, scratch_folder, writing_to

ACCEPT_SECONDS: Final = 180
REQUEST_SECONDS: Final = 180
READ_SECONDS: Final = 60
WRITE_SECONDS: Final = 600
"""Seconds of VDDK's own time-outs over the network, as VMware recommends to begin with."""

_SETTINGS: Final = {
    # 16 × 64 KiB = 1 MiB for each of four buffers: the best values in VMware's tests, far below the host's limits.
    "vixDiskLib.nfcAio.Session.BufSizeIn64KB": "16",
    "vixDiskLib.nfcAio.Session.BufCount": "4",
    "vixDiskLib.nfc.AcceptTimeoutMs": f"{ACCEPT_SECONDS}000",
    "vixDiskLib.nfc.RequestTimeoutMs": f"{REQUEST_SECONDS}000",
    "vixDiskLib.nfc.ReadTimeoutMs": f"{READ_SECONDS}000",
    "vixDiskLib.nfc.WriteTimeoutMs": f"{WRITE_SECONDS}000",
    # The server must not drop a session that waits for the repository.
    "vixDiskLib.nfcFssrvr.TimeoutMs": "0",
    "vixDiskLib.nfcFssrvrWrite.TimeoutMs": "0",
    "vixDiskLib.phoneHome.EnablePhoneHome": "0",
}


def state_folder() -> Path:
    """Return VDDK's ``tmpDirectory``, a private folder.

    All copies use the same folder, so that Cleanup finds the disks that a dead copy left attached. Its path holds no
    blank, because VDDK cuts the path off there.

    :raises UsageError: there is no folder without a blank, or another user has made it.
    :raises TransientError: no file can be made anywhere now, e.g. because the disk is full.
    """
    folder = _without_blanks() / f"vmkeep-vddk-{os.getuid()}"
    with writing_to(folder.parent), suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(f"{folder} must be a folder that only this user can enter; remove it, or set TMPDIR")
    return folder


def _without_blanks() -> Path:
    """Return the folder for temporary files, or the system's own one if the first has blanks in its path."""
    asked = str(scratch_folder())
    for place in (asked, "/var/tmp", "/tmp"):  # noqa: S108 - the folder made there is private, and looked at
        if not any(map(str.isspace, place)) and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    raise UsageError(f"VDDK takes no folder with blanks in its path for its state, as {asked!r} is: set TMPDIR")


@contextmanager
def open_config() -> Iterator[Path]:
    """Write the configuration file, and remove it at the end.

    :raises UsageError, TransientError: as :func:`state_folder`.
    """
    lines = [f"tmpDirectory={state_folder()}", *(f"{key}={value}" for key, value in _SETTINGS.items())]
    with scratch_file("vddk.conf", "\n".join(lines) + "\n") as path:
        yield path
