"""Checks the LVM of all restore points of a repository, and writes its measurements to standard output as JSON.

lvm_check.py REPOSITORY

``median`` and ``slowest`` are milliseconds for one point with all its disks.
"""

from __future__ import annotations

import json
import statistics
import sys
import time


def main(location: str) -> None:
    """Check."""
    from vmkeep.guest import DiskInGuest
    from vmkeep.guest.lvm import check, read_lvm
    from vmkeep.repository import open_repository
    from vmkeep.transfer import open_views

    took: list[float] = []
    disks = read = 0
    with open_repository(location) as repository:
        for point in repository.points():
            began = time.perf_counter()
            with open_views(repository) as views:
                guest = [
                    DiskInGuest(number=at, label=f"disk {at}", disk=views.open(image.root, what=point.id))
                    for at, image in enumerate(point.images)
                ]
                state = read_lvm(guest)
                assert not any(finding.severity == "failure" for finding in check(state))
            took.append(1000 * (time.perf_counter() - began))
            disks, read = disks + len(guest), read + state.bytes_read
    print(json.dumps({"median": statistics.median(took), "slowest": max(took), "bytes_per_disk": read / disks}))


if __name__ == "__main__":
    main(*sys.argv[1:])
