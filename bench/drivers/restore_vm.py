"""Restores a point: its disks into raw files by the engine alone, or the whole VM through the flow and VDDK.

restore_vm.py REQUEST.json files FOLDER
restore_vm.py REQUEST.json vm NAME
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(request: Path, how: str, where: str) -> None:
    """Restore, and return once everything is durable."""
    wanted = json.loads(request.read_text(encoding="utf-8"))
    if how == "files":
        _to_files(wanted, Path(where))
    else:
        _to_vm(wanted, where)


def _to_files(wanted: dict[str, Any], folder: Path) -> None:
    from vmkeep.images.diskfiles import LocalFileTarget
    from vmkeep.repository import open_repository
    from vmkeep.transfer import restore_disk

    with open_repository(wanted["repository"]) as repository:
        for stored in repository.find_point(wanted["point"]).images:
            path = folder / f"{stored.disk.key}.raw"
            with LocalFileTarget(path, capacity=stored.disk.capacity, create=True) as target:
                restore_disk(
                    repository, stored.root, target, fresh=True, on_progress=lambda _: None, check=lambda: None
                )


def _to_vm(wanted: dict[str, Any], name: str) -> None:
    from vmkeep.flows.complete_runs import run_restore
    from vmkeep.flows.restore_request import make_request
    from vmkeep.model.site import Site, VCenter

    site = Site(repository=wanted["repository"], vddk=wanted["vddk"], vcenter=VCenter(**wanted["vcenter"]))
    request = make_request(point=wanted["point"], run=f"bench-{name}", new_name=name, power_on=False)
    run_restore(site, request, bars=lambda _: lambda _: None, announce=lambda _: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
