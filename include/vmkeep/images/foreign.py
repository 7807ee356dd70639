"""Opens disk images and machines of other programs, to be stored as the disks of one restore point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from vmkeep.errors import UsageError
from vmkeep.formats import ImportFormat, detect
from vmkeep.images.foreigndisks import Foreign, noted, open_image, require_content, told_formats
from vmkeep.images.unused import Unused
from vmkeep.transfer.progress import OnProgress


@contextmanager
def open_foreign(paths: Sequence[Path], form: ImportFormat | None) -> Iterator[Foreign]:
    """Open images, or the one file of a machine.

    :param form: the format of all of them; ``None``: each is known by its signature.
    :raises UsageError: a file is damaged, or has another format; or a machine is not the only file.
    :raises UnsupportedError: a file cannot be read.
    :raises NotFoundError: a file is missing.
    """
    formats = [form or detect(path) for path in paths]
    machines = [path for path, each in zip(paths, formats, strict=True) if each.machine]
    if machines and len(paths) > 1:
        raise UsageError(f"{machines[0]}: is a machine with its disks: import it alone")
    unused = Unused()
    unused.watch(paths)
    with ExitStack() as stack:
        if machines:
            from vmkeep.images.foreignmachines import MACHINES  # takes time to import, and most images need none of it

            opened = MACHINES[formats[0]](paths[0], stack)
        else:
            disks = tuple(open_image(path, each, stack) for path, each in zip(paths, formats, strict=True))
            opened = Foreign(
                disks=disks,
                machine=None,
                formats=told_formats(disks),
                notes=noted(disks),
                finish=lambda _on_progress: None,
            )
        for disk in opened.disks:
            if not disk.source.capacity:
                raise UsageError(f"{disk.path}: holds a disk of 0 bytes")
            require_content(disk)
        unused.watch(disk.path for disk in opened.disks)
        unused.watch_open(file for disk in opened.disks for file in disk.files)

        def finish(on_progress: OnProgress) -> None:
            opened.finish(on_progress)
            unused.require_unchanged()

        yield replace(opened, finish=finish)
