"""Finds the export that an earlier try of the same run has published before it could tell so.

A worker may die between the last byte of an export and the end of its task. Its retry must neither take that export for
one of somebody else, nor write it a second time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from vmkeep.errors import UsageError
from vmkeep.images.drafts import ExportPlace
from vmkeep.model.exports import LARGEST_MANIFEST, ExportedPoint, parse_manifest

log = logging.getLogger(__name__)


def published_before(place: ExportPlace, planned: ExportedPoint, beside: Iterable[str]) -> ExportedPoint | None:
    """Return an export that an earlier try has published; ``None``: there is none, or not this one.

    It has to be of the same run, point, format and disks, to hold the same content still, and to be there in full.

    :param planned: the export as it is going to be, with its run.
    :param beside: names of the files that go beside its images.
    """
    if planned.run is None or (content := place.read(planned.manifest, LARGEST_MANIFEST)) is None:
        return None
    try:
        found = parse_manifest(content, what=f"{place.location}/{planned.manifest}")
    except UsageError:  # a file of somebody else
        return None
    names = {file.name for disk in found.disks for file in disk.files} | {file.name for file in found.beside}
    if _essence(found) != _essence(planned) or {file.name for file in found.beside} != set(beside):
        return None
    if len(place.taken(names)) < len(names):
        return None
    log.info("%s/%s: an earlier try of this run has written it; nothing is left to do", place.location, found.manifest)
    return found


def _essence(export: ExportedPoint) -> tuple[object, ...]:
    """Return what two tries of one run have in common."""
    disks = [(disk.number, disk.root, disk.applying) for disk in export.disks]
    return export.run, export.name, export.repository, export.point, export.format, disks
