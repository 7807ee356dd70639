"""Restores a point's first disk into an image that exists and is kept, as a restore over a VM's own disk does.

    overwrite.py REPOSITORY POINT IMAGE

The command line only makes new images, so this calls the engine. The passphrase is that of the command line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(location: str, ref: str, image: str) -> None:
    """Restore, and return once the image is durable."""
    from vmkeep.images.diskfiles import LocalFileTarget
    from vmkeep.repository import open_repository
    from vmkeep.transfer import restore_disk

    with open_repository(location, passphrase=os.environ.get("VMKEEP_PASSPHRASE")) as repository:
        stored = repository.find_point(ref).images[0]
        with LocalFileTarget(Path(image), capacity=stored.disk.capacity, create=False) as target:
            restore_disk(
                repository, stored.root, target, fresh=False, on_progress=lambda _: None, check=lambda: None
            )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
