"""Finds out whether a repository is whole: its structure, its content, and each restore point.

``check`` walks packs, index segments, notes and manifests, and reports every problem as a *finding*, a value; it never
stops at the first (``findings``). ``packcheck`` reads packs without an index. ``indexcheck`` compares the index with
the footers of the packs. ``pointcheck`` follows every map and says in bytes which part of a disk is lost; ``places``
tells it whether a frame can be read. ``salvage`` reads the frames of a pack that has lost its footer.

A check changes nothing but the notes of known damage, so that the next backup stores again what is lost. Large
repositories are read in *slices*, one a day, so that all data is read within a chosen number of days (``slices``).

``check`` and ``indexcheck`` load numpy and are doors of their own.
"""

from vmkeep.repository.checks.findings import Finding, Trouble
from vmkeep.repository.checks.packcheck import MAX_RAW, is_pack, pack_id_of, read_contents
from vmkeep.repository.checks.places import Places
from vmkeep.repository.checks.pointcheck import PointCheck, PointDamage, check_points
from vmkeep.repository.checks.salvage import salvage_pack
from vmkeep.repository.checks.slices import Slice, parse_slice, slice_of_day

__all__ = [
    "MAX_RAW",
    "Finding",
    "Places",
    "PointCheck",
    "PointDamage",
    "Slice",
    "Trouble",
    "check",
    "check_points",
    "indexcheck",
    "is_pack",
    "pack_id_of",
    "parse_slice",
    "read_contents",
    "salvage_pack",
    "slice_of_day",
]
