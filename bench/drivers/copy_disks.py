"""Copies disks through VDDK, all at once, each by a transfer's own process, as the tasks of one VM's backup do.

    copy_disks.py REQUEST.json

The request holds the site (with where the lab is) and for each disk its path and capacity.
"""

from __future__ import annotations

import json
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.job import DiskJob
from vmkeep.model.point import BackupKind
from vmkeep.model.site import Site, VCenter
from vmkeep.model.vmref import VmRef
from vmkeep.transfer import start_copy


def main(request: Path) -> None:
    """Start all copies, and return once all have ended."""
    wanted = json.loads(request.read_text(encoding="utf-8"))
    vcenter = VCenter(**wanted["vcenter"])
    site = Site(repository=wanted["repository"], vddk=wanted["vddk"], vcenter=vcenter)
    with ExitStack() as stack:
        running = [
            stack.enter_context(start_copy(site, _job(key, disk), cursor=None, on_progress=lambda _: None))
            for key, disk in enumerate(wanted["disks"], 2000)
        ]
        for each in running:
            each.wait()


def _job(key: int, disk: dict[str, Any]) -> DiskJob:
    return DiskJob(
        run=f"bench-{secrets.token_hex(4)}",
        vm=VmRef(moref="vm-1", name="bench"),
        snapshot="snapshot-1",
        disk=Disk(
            key=key,
            label=f"Hard disk {key - 1999}",
            controller=ControllerKind.SCSI,
            controller_type="ParaVirtualSCSIController",
            bus=0,
            unit=key - 2000,
            capacity=disk["capacity"],
            backing="FlatVer2",
            file_name=disk["path"],
        ),
        kind=BackupKind.FULL,
        reason="benchmark",
        change_id=None,
        extents=None,
        parent_root=None,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
