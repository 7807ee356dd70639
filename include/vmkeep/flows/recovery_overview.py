"""Notes the recoveries of a repository in the catalog, and reads them for the page of the recoveries."""

from __future__ import annotations

from collections.abc import Iterable

from vmkeep.catalog import Catalog, NotedRecovery, open_catalog
from vmkeep.errors import CatalogError
from vmkeep.flows.recovery_records import list_reports
from vmkeep.recovery import RecoveryReport
from vmkeep.repository import Repository

__all__ = ["NotedRecovery", "load_recoveries", "note_recoveries"]

SHOWN = 20
"""Runs of each plan that a page shows."""


def note_recoveries(cache: Catalog, repository: Repository) -> None:
    """Note every recovery and drill that a repository keeps a report of. It reads each report."""
    cache.recoveries().note(repository.id, map(_noted, list_reports(repository)))


def load_recoveries(catalogs: Iterable[str]) -> tuple[tuple[NotedRecovery, ...], tuple[str, ...]]:
    """Return the newest runs of each plan, the newest first, and a sentence for each catalog that cannot be read.

    :param catalogs: their SQLAlchemy URLs.
    """
    found: dict[tuple[str, str], NotedRecovery] = {}
    problems: list[str] = []
    for url in dict.fromkeys(catalogs):
        try:
            with open_catalog(url) as cache:
                found |= {(each.plan, each.run): each for each in cache.recoveries().newest(SHOWN)}
        except CatalogError as error:
            problems.append(str(error))
    return tuple(sorted(found.values(), key=lambda each: (each.began, each.run), reverse=True)), tuple(problems)


def _noted(report: RecoveryReport) -> NotedRecovery:
    rpo, rto = report.rpo(report.vms), report.rto(report.vms)
    return NotedRecovery(
        run=report.run,
        plan=report.plan,
        drill=report.drill,
        vcenter=report.vcenter,
        began=report.began,
        ended=report.ended,
        **report.counts,
        rpo=None if rpo is None else round(rpo),
        rto=None if rto is None else round(rto),
    )
