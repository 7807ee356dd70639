"""Lists restore points from the catalog, after updating the catalog from the repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmkeep.catalog import CatalogEntry, PointOrigin, Refreshed, ask_catalog, open_catalog
from vmkeep.clock import now
from vmkeep.flows.clean_points import Cleanness, ScanStates
from vmkeep.flows.failed_checks import bad_points
from vmkeep.lateclass import dataclass
from vmkeep.repository import Marks, Repository, Use
from vmkeep.repository.points import blob_of_ref, is_ahead, warn_of_the_future

__all__ = [
    "CatalogEntry", "PointList", "PointOrigin", "Refreshed", "good_origins", "list_origins", "list_points",
    "rebuild_catalog", "scan_doubts",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PointList:
    """Restore points, oldest first."""

    entries: tuple[CatalogEntry, ...]
    marks: Mapping[str, Marks]
    """Marks by the ref of their point; points without marks are not in it."""
    uses: Mapping[str, tuple[Use, ...]]
    """The processes that read a point now, by its ref; points that nobody reads are not in it."""
    refreshed: Refreshed
    """The update of the catalog, with the points that could not be read and the reasons."""
    has_older: bool = False
    """Whether older points were left out, because only a number of newest ones was asked for."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each point whose time is ahead of this machine's clock."""
        ahead = (entry for entry in self.entries if is_ahead(entry.taken_at))
        return tuple(warn_of_the_future(entry.ref, entry.taken_at) for entry in ahead)


def list_points(repository: Repository, *, catalog: str, vm: str | None = None, most: int | None = None) -> PointList:
    """Return the restore points of all VMs, or those of one VM. Those of hosts are listed by `host_points`.

    :param catalog: the SQLAlchemy URL of the catalog. If it cannot be used, the whole repository is read.
    :param vm: a VM's name or key.
    :param most: only this number of newest points; ``None``: all.
    """
    one_more = None if most is None else most + 1
    refreshed, entries = ask_catalog(
        catalog,
        lambda cache: (cache.refresh(repository), cache.points(repository.id, vm=vm, most=one_more, hosts=False)),
    )
    shown = entries if most is None else entries[-most:]
    by_manifest = repository.uses.all(time=now())
    uses = {entry.ref: found for entry in shown if by_manifest and (found := by_manifest.get(blob_of_ref(entry.ref)))}
    return PointList(
        entries=tuple(shown),
        marks=repository.marks.all(),
        uses=uses,
        refreshed=refreshed,
        has_older=len(shown) < len(entries),
    )


def scan_doubts(repository: Repository, listed: PointList) -> Mapping[str, Cleanness]:
    """Return which of the listed points have malware, or are in doubt, by their scans."""
    return ScanStates(repository).doubts(entry.ref for entry in listed.entries)


def list_origins(repository: Repository, *, catalog: str) -> tuple[PointOrigin, ...]:
    """Return the VMs that restore points were taken of, oldest point first.

    :param catalog: its URL; where it cannot be used, the whole repository is read.
    """
    _, origins = ask_catalog(catalog, lambda cache: (cache.refresh(repository), cache.origins(repository.id)))
    return tuple(origins)


def good_origins(repository: Repository, origins: Iterable[PointOrigin]) -> tuple[PointOrigin, ...]:
    """Return the origins of points that are good: neither damaged nor suspect, and no check of them failed."""
    bad = bad_points(repository)
    return tuple(origin for origin in origins if origin.ref not in bad)


def rebuild_catalog(repository: Repository, *, catalog: str) -> Refreshed:
    """Delete a repository's rows from the catalog, and read every manifest again."""
    with open_catalog(catalog) as cache:
        return cache.rebuild(repository)
