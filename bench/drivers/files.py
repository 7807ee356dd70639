"""Lists the files of a restore point's first disk, or reads its largest one, and writes its measurements as JSON.

files.py list|read REPOSITORY POINT
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

_PIECE = 4 << 20


def main(way: str, location: str, point: str) -> None:
    """Measure."""
    from vmkeep.guest.filesystems import open_file_system
    from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem
    from vmkeep.repository import open_repository
    from vmkeep.transfer import open_views

    def walk(files: GuestFileSystem, path: str) -> Iterator[FileEntry]:
        for entry in files.entries(path):
            yield entry
            if entry.kind is FileKind.FOLDER:
                yield from walk(files, entry.path)

    with open_repository(location) as repository, open_views(repository) as views:
        disk = views.open(repository.find_point(point).images[0].root, what=point)
        with open_file_system(disk, "ext4", what="disk0") as files:
            if way == "list":
                print(json.dumps({"entries": sum(1 for _ in walk(files, "/"))}))
                return
            content = files.open("/large")
            buffer = memoryview(bytearray(_PIECE))
            read = 0
            while got := content.readinto(buffer):
                read += got
            print(json.dumps({"bytes": read}))


if __name__ == "__main__":
    main(*sys.argv[1:])
