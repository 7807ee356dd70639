"""Rows of looks for points: by a name, by an id, and in the catalog."""

from __future__ import annotations

import time
from pathlib import Path

from bench.growth.stock import POINTS_OF_A_VM, Counts, calls, catalog, filled
from vmkeep.catalog import open_catalog
from vmkeep.flows.catalogued import use_catalog
from vmkeep.flows.pointlist import list_points
from vmkeep.repository import open_repository


def latest(folder: Path, vms: int) -> Counts:
    """The newest point of a VM is found by the VM's name, and another one by the beginning of its id."""
    refs = filled(folder, vms)
    with open_repository(str(folder / "repository")) as repository:
        repository.find_point("latest:vm00000")
        named = calls(repository)
    found = {"calls for latest:NAME, no catalog": named}
    for kind in ("that is new", "that knows them"):
        with open_repository(str(folder / "repository")) as repository:
            use_catalog(repository, lambda: catalog(folder)).find_point("latest:vm00000")
            found[f"calls, a catalog {kind}"] = calls(repository)
    with open_repository(str(folder / "repository")) as repository:
        repository.find_point(refs[0].rpartition("-")[2])
        return found | {"calls for an id": calls(repository)}


def rebuild(folder: Path, points: int) -> Counts:
    """The catalog is made anew from manifests."""
    filled(folder, points // POINTS_OF_A_VM)
    with open_repository(str(folder / "repository")) as repository, open_catalog(catalog(folder)) as cache:
        began = time.process_time()
        cache.rebuild(repository)
        spent = time.process_time() - began
    size = (folder / "catalog.db").stat().st_size
    return {"CPU ms for a point": 1000 * spent / points, "bytes for a point": size / points}


def listing(folder: Path, points: int) -> Counts:
    """All points are listed out of a catalog that is complete."""
    filled(folder, points // POINTS_OF_A_VM)
    with open_repository(str(folder / "repository")) as repository:
        list_points(repository, catalog=catalog(folder))
    with open_repository(str(folder / "repository")) as repository:
        began = time.process_time()
        assert len(list_points(repository, catalog=catalog(folder)).entries) == points
        spent = time.process_time() - began
        return {"CPU ms for a point": 1000 * spent / points, "calls": calls(repository)}
