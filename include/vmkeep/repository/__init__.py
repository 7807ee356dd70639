"""The repository format and everything that knows a byte of it: packs, index, maps, manifests, runs."""

from vmkeep.repository.digests import ZERO, Kind
from vmkeep.repository.extents import decode_extents, encode_extents
from vmkeep.repository.findings import Finding, Trouble
from vmkeep.repository.leases import Lease
from vmkeep.repository.manifests import point_id
from vmkeep.repository.mapbuilder import MapBuilder
from vmkeep.repository.maps import DiskMap
from vmkeep.repository.reader import Batch, BlockReader, Scratch, Wanted
from vmkeep.repository.repository import Repository, RepositoryStats, create_repository, open_repository
from vmkeep.repository.runs import RunArea
from vmkeep.repository.writer import BlockWriter

__all__ = [
    "ZERO",
    "Batch",
    "BlockReader",
    "BlockWriter",
    "DiskMap",
    "Finding",
    "Kind",
    "Lease",
    "MapBuilder",
    "Repository",
    "RepositoryStats",
    "RunArea",
    "Scratch",
    "Trouble",
    "Wanted",
    "create_repository",
    "decode_extents",
    "encode_extents",
    "open_repository",
    "point_id",
]
