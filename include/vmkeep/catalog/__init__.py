"""The SQL catalog: a cache of the repository's manifests, for queries over many restore points.

It can be dropped at any time, because ``Catalog.refresh`` fills it from the repository again. ``schema`` has its
tables, which a new version may drop and refill. ``engine`` connects to the database and makes the tables. ``catalog``
compares the names of manifests, reads only those that the catalog lacks, and answers queries.
"""

from vmkeep.catalog.catalog import Catalog, CatalogEntry, PointOrigin, Refreshed, ask_catalog, open_catalog

__all__ = ["Catalog", "CatalogEntry", "PointOrigin", "Refreshed", "ask_catalog", "open_catalog"]
