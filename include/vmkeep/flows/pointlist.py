"""Lists of restore points, by the catalog, which is brought level with the repository first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vmkeep.catalog import CatalogEntry, Refreshed, ask_catalog, open_catalog
from vmkeep.repository import Marks, Repository
from vmkeep.repository.points import is_ahead, warn_of_the_future

__all__ = ["CatalogEntry", "PointList", "Refreshed", "list_points", "rebuild_catalog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointList:
    """Restore points, oldest first."""

    entries: tuple[CatalogEntry, ...]
    marks: Mapping[str, Marks]
    """By ref, of the points that have any."""
    refreshed: Refreshed
    """The points that were left out, and why."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line for each point whose time is ahead of this machine's clock."""
        ahead = (entry for entry in self.entries if is_ahead(entry.taken_at))
        return tuple(warn_of_the_future(entry.ref, entry.taken_at) for entry in ahead)


def list_points(repository: Repository, *, catalog: str, vm: str | None = None) -> PointList:
    """Return all restore points, or those of one VM, by name or key.

    :param catalog: its URL; where it cannot be used, the whole repository is read.
    """
    refreshed, entries = ask_catalog(
        catalog, lambda cache: (cache.refresh(repository), cache.points(repository.id, vm=vm))
    )
    return PointList(entries=tuple(entries), marks=repository.marks.all(), refreshed=refreshed)


def rebuild_catalog(repository: Repository, *, catalog: str) -> Refreshed:
    """Drop what the catalog knows of a repository, and read every manifest again."""
    with open_catalog(catalog) as cache:
        return cache.rebuild(repository)
