"""Keeps the segments of a repository's index few, at the end of each work that has stored something."""

from __future__ import annotations

import logging

from vmkeep.errors import VmKeepError
from vmkeep.repository import Repository

log = logging.getLogger(__name__)


def keep_segments_few(repository: Repository) -> None:
    """Merge the small segments of the index if several have gathered. Call this once everything is sealed.

    A failure is only logged: the segments are as good as before, and the next run merges them, or maintenance does.
    """
    if not repository.index.has_gathered:
        return
    from vmkeep.maintenance import merge_gathered  # loads numpy, and most runs have nothing to merge

    try:
        if gone := merge_gathered(repository):
            log.info("%s: merged %d small segments of the index", repository.location, gone)
    except VmKeepError as error:
        log.info("%s: small segments of the index stay as they are: %s", repository.location, error)
