"""Overlays over the images of an export, on which its guest is converted.

The images stay as they were read back, so a conversion that fails, or that breaks the guest, costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from vmkeep.errors import ConversionError
from vmkeep.images.drafts import Draft
from vmkeep.model.exports import ExportedDisk, ExportedPoint, WrittenFile
from vmkeep.qemu import make_overlay

Converter = Callable[[Path, ExportedPoint, Callable[[], None]], None]
"""Converts the guest on the overlays of an export (``converted``). Takes the folder with all files, the export, and a
function to call about four times a second, whose error ends the conversion."""

_END: Final = ".converted.qcow2"
_WORKING: Final = ".writing"
"""End of the name of an overlay in the draft, until its guest is converted."""
_COPIED: Final = 1 << 20


def overlay_name(disk: ExportedDisk) -> str:
    """Return the name of the overlay over a disk's image."""
    return f"{disk.files[0].name.rpartition('.')[0]}{_END}"


def convert_overlays(
    draft: Draft, folder: Path, exported: ExportedPoint, convert: Converter, check: Callable[[], None]
) -> tuple[ExportedPoint, ConversionError | None]:
    """Convert the guest of a draft on overlays. Return the export with them, or as it was with the reason.

    :param folder: the draft's folder.
    """
    overlays = [WrittenFile(name=f"{overlay_name(disk)}{_WORKING}", size=0) for disk in exported.disks]
    try:
        for disk, overlay in zip(exported.disks, overlays, strict=True):
            make_overlay(folder / disk.files[0].name, str(exported.format), folder / overlay.name)
        convert(folder, replace(exported, converted=tuple(overlays)), check)
    except ConversionError as error:
        return exported, error
    return replace(exported, converted=tuple(_keep(draft, folder / each.name, check) for each in overlays)), None


def _keep(draft: Draft, overlay: Path, check: Callable[[], None]) -> WrittenFile:
    """Copy a finished overlay into a file of the export."""
    name, size = overlay.name.removesuffix(_WORKING), overlay.stat().st_size
    sink = draft.create(name, size=size)
    with overlay.open("rb") as file:
        while data := file.read(_COPIED):
            check()
            if any(data):
                sink.write_at(file.tell() - len(data), data)
    sink.finish(size)
    overlay.unlink()
    return WrittenFile(name=name, size=size)
