"""Enters a sealed point into the catalog at once, so that nobody has to read its manifest again."""

from __future__ import annotations

import logging

from vmkeep.errors import VmKeepError
from vmkeep.model.point import RestorePoint
from vmkeep.model.site import Site

log = logging.getLogger(__name__)


def enter_point(site: Site, repository: str, point: RestorePoint) -> None:
    """Enter a sealed point into the catalog. A failure fails no backup, because the catalog is only a cache."""
    if site.catalog is None:
        return
    from vmkeep.catalog import open_catalog  # takes 0.2 s to import, and most sites have no catalog

    try:
        with open_catalog(site.catalog) as catalog:
            catalog.record(repository, point)
    except VmKeepError as error:
        log.warning(
            "%s is sealed but not in the catalog yet (the next 'vmkeep point list' enters it): %s", point.ref, error
        )
