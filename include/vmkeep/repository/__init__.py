"""The repository format and everything that knows a byte of it: packs, index, maps, manifests, runs."""

from vmkeep.repository.digests import ZERO, Kind
from vmkeep.repository.extents import decode_extents, encode_extents
from vmkeep.repository.findings import Finding, Trouble
from vmkeep.repository.keyservice import KeyService
from vmkeep.repository.leases import Lease
from vmkeep.repository.manifests import point_id
from vmkeep.repository.mapbuilder import MapBuilder
from vmkeep.repository.maps import DiskMap
from vmkeep.repository.marks import Damage, Lost, Marks, Pin, PointMarks
from vmkeep.repository.opening import (
    Created,
    create_encrypted_repository,
    create_repository,
    open_in,
    open_repository,
    open_site_repository,
    takes_passphrase,
    unlock_site,
)
from vmkeep.repository.reader import Batch, BlockReader, Scratch, Wanted
from vmkeep.repository.repository import Repository, RepositoryStats
from vmkeep.repository.runs import RunArea
from vmkeep.repository.segments import Location
from vmkeep.repository.slots import Slot
from vmkeep.repository.writer import BlockWriter

__all__ = [
    "ZERO",
    "Batch",
    "BlockReader",
    "BlockWriter",
    "Created",
    "Damage",
    "DiskMap",
    "Finding",
    "KeyService",
    "Kind",
    "Lease",
    "Location",
    "Lost",
    "MapBuilder",
    "Marks",
    "Pin",
    "PointMarks",
    "Repository",
    "RepositoryStats",
    "RunArea",
    "Scratch",
    "Slot",
    "Trouble",
    "Wanted",
    "create_encrypted_repository",
    "create_repository",
    "decode_extents",
    "encode_extents",
    "open_in",
    "open_repository",
    "open_site_repository",
    "point_id",
    "takes_passphrase",
    "unlock_site",
]
