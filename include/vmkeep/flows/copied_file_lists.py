"""Brings the indexes of files to the repository that has copies of the points. A copy has the same files."""

from __future__ import annotations

import logging

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.repository import Repository, find_twin

log = logging.getLogger(__name__)


def bring_file_lists(source: Repository, target: Repository) -> None:
    """Bring the indexes that the target lacks. One that cannot be read stays behind with a warning."""
    lacking = source.file_lists.manifests() - target.file_lists.manifests()
    held = {name.blob for name in target.manifests.names()} if lacking else set()
    for name in source.manifests.names() if lacking & held else ():
        if name.blob in lacking & held:
            try:
                _bring(name.ref, source, target)
            except (CorruptError, NotFoundError) as error:
                log.warning("the index of the files in %s stays in %s: %s", name.ref, source.location, error)


def _bring(ref: str, source: Repository, target: Repository) -> None:
    head = source.file_lists.head(ref)
    twin = find_twin(source.load_point(ref), source, target)
    if head is None or twin is None:
        return  # it was deleted just now, or the target has another point of that name
    writer = target.file_lists.begin(twin)
    try:
        for part in source.file_lists.parts(head):
            writer.add(part)
        writer.end(made_at=head.made_at, entries=head.entries, volumes=head.volumes)
    except BaseException:
        writer.give_up()
        raise
