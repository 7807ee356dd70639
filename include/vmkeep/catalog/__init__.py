"""The SQL catalog: a cache of the repository's manifests, for queries over many restore points.

Names are loaded on first use, because a list of points needs no tables of quality checks and of the web view.

It can be dropped at any time, because ``Catalog.refresh`` fills it from the repository again. ``schema`` has its
tables, which a new version may drop and refill, and ``rows`` makes their rows of a point. ``engine`` connects to the
database and makes the tables. ``catalog`` compares the names of manifests, reads only those that the catalog lacks,
and answers queries.

A check of data quality asks the database for rows that should not be there. ``checking`` opens a check and lays its
evidence beside the points, in the tables of ``evidence``: the demands of policies, the VMs of vCenters, proofs, and a
sample of manifests as they are now. ``bounds`` compares each VM's newest point with those before it. ``questions``
writes one SELECT for each expectation; :mod:`vmkeep.quality` asks them.

``overview`` answers the pages of the web view with ``overview_values``, and ``listed_points`` gathers all rows of some
points. It keeps notes of what lies outside of manifests in the tables of
``overview_tables``: marks, proofs, and VMs that no point was taken of. ``recovery_notes`` notes recoveries and drills,
and ``capacity_notes`` the sizes of a repository day by day, its checks, and the points that retention lets go next.
``noting`` lets one of them write about a repository at a time.
"""

from typing import TYPE_CHECKING

from vmkeep.doors import loaded_on_use

if TYPE_CHECKING:
    from vmkeep.catalog.bounds import FEWEST, HISTORY
    from vmkeep.catalog.capacity_notes import (
        CataloguedPoint,
        NotedCheck,
        NotedDay,
        NotedLeaving,
        RepositoryNotes,
        Totals,
    )
    from vmkeep.catalog.catalog import Catalog, Refreshed, ask_catalog, open_catalog
    from vmkeep.catalog.checking import PolicyTerms, QualityCheck, SampledDisk, SampledPoint, VmStanding, Wish
    from vmkeep.catalog.entries import CatalogEntry
    from vmkeep.catalog.failures import NotedFailure
    from vmkeep.catalog.origins import PointOrigin
    from vmkeep.catalog.overview import Overview
    from vmkeep.catalog.overview_values import (
        BadPoint,
        ListedDisk,
        ListedPoint,
        NotedMark,
        NotedProof,
        NotedRepository,
        NotedVm,
        VmSummary,
    )
    from vmkeep.catalog.questions import SNAPSHOTS_WITHIN, Question
    from vmkeep.catalog.recovery_notes import NotedRecovery

_HOMES = {
    "FEWEST": "bounds",
    "HISTORY": "bounds",
    "SNAPSHOTS_WITHIN": "questions",
    "BadPoint": "overview_values",
    "Catalog": "catalog",
    "CatalogEntry": "entries",
    "CataloguedPoint": "capacity_notes",
    "ListedDisk": "overview_values",
    "ListedPoint": "overview_values",
    "NotedCheck": "capacity_notes",
    "NotedDay": "capacity_notes",
    "NotedFailure": "failures",
    "NotedLeaving": "capacity_notes",
    "NotedMark": "overview_values",
    "NotedProof": "overview_values",
    "NotedRecovery": "recovery_notes",
    "NotedRepository": "overview_values",
    "NotedVm": "overview_values",
    "Overview": "overview",
    "PointOrigin": "origins",
    "PolicyTerms": "checking",
    "QualityCheck": "checking",
    "Question": "questions",
    "Refreshed": "catalog",
    "RepositoryNotes": "capacity_notes",
    "SampledDisk": "checking",
    "SampledPoint": "checking",
    "Totals": "capacity_notes",
    "VmStanding": "checking",
    "VmSummary": "overview_values",
    "Wish": "checking",
    "ask_catalog": "catalog",
    "open_catalog": "catalog",
}

__all__ = [
    "FEWEST",
    "HISTORY",
    "SNAPSHOTS_WITHIN",
    "BadPoint",
    "Catalog",
    "CatalogEntry",
    "CataloguedPoint",
    "ListedDisk",
    "ListedPoint",
    "NotedCheck",
    "NotedDay",
    "NotedFailure",
    "NotedLeaving",
    "NotedMark",
    "NotedProof",
    "NotedRecovery",
    "NotedRepository",
    "NotedVm",
    "Overview",
    "PointOrigin",
    "PolicyTerms",
    "QualityCheck",
    "Question",
    "Refreshed",
    "RepositoryNotes",
    "SampledDisk",
    "SampledPoint",
    "Totals",
    "VmStanding",
    "VmSummary",
    "Wish",
    "ask_catalog",
    "open_catalog",
]

if not TYPE_CHECKING:  # or a name that is not at the door would be any to a type checker
    __getattr__ = loaded_on_use(__name__, _HOMES)
