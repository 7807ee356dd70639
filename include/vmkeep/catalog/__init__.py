"""The SQL catalog: a cache over the repository's manifests, for questions across many restore points.

It can be dropped at any time: ``Catalog.refresh`` brings it level with the repository again. ``schema`` has its
tables, which a new version may drop and fill again; ``engine`` finds the database and makes them. ``catalog`` compares
names of manifests, reads only those that the catalog lacks, and answers questions.
"""

from vmkeep.catalog.catalog import Catalog, CatalogEntry, Refreshed, ask_catalog, open_catalog

__all__ = ["Catalog", "CatalogEntry", "Refreshed", "ask_catalog", "open_catalog"]
