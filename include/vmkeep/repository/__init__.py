"""The repository: its format, and all code that depends on the layout of its bytes.

A repository is a set of blobs on one store, with a descriptor. Blocks of disks lie in packs, an index finds them by
their digests, a map names the blocks of one disk, and a manifest names the maps of one restore point. All of these are
immutable and never overwritten, so any number of processes can write at once without a lock. ``docs/format.md``
describes every byte and every rule.

The rooms from the ground up; each imports only rooms below it:

``frames``    digests, frames and packs
``unlock``    the descriptor, the keys, and the checks that a repository is the one it claims to be
``index``     the way from a digest to the place of its frame
``points``    the names and manifests of restore points
``notes``     small blobs by which runs, people and maintenance inform each other
``blocks``    writing blocks into packs and reading them back
``maps``      a disk as a tree of digests
``sealing``   the commit of a restore point while maintenance may be deleting
``checks``    the search for damaged and missing data

:class:`Repository` is the front of these rooms; ``opening`` makes and opens one, and ``loading`` loads its index.
``folders`` names the folders, ``lockedkeys`` says which blobs are locked, and ``twins`` recognises a point that was
copied from another repository. Import a name from a room's door, its ``__init__``. The modules behind the door are
private to the room.
"""

from vmkeep.repository.blocks import Batch, BlockReader, BlockWriter, ReadBuffers, Wanted
from vmkeep.repository.checks import Finding, Trouble
from vmkeep.repository.frames import ZERO, Kind, decode_extents, encode_extents
from vmkeep.repository.index import Location
from vmkeep.repository.lockedkeys import LOCKED_FOLDERS, is_locked, locked_by_age, require_visible
from vmkeep.repository.maps import DiskMap, MapBuilder
from vmkeep.repository.notes import (
    BEGUN,
    DISKS,
    KEPT_PROOFS,
    WRITTEN,
    Damage,
    FileIndexHead,
    IndexedVolume,
    Lease,
    Lost,
    Marks,
    OpenUse,
    Pin,
    PointMarks,
    PointProofs,
    ProofName,
    RunArea,
    Suspicion,
    Trust,
    Use,
    note_begun,
    used_words,
)
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
from vmkeep.repository.points import point_id
from vmkeep.repository.repository import Repository, RepositoryStats
from vmkeep.repository.twins import copied_run, find_twin, share_digests
from vmkeep.repository.unlock import KeyService, Slot

__all__ = [
    "BEGUN",
    "DISKS",
    "KEPT_PROOFS",
    "LOCKED_FOLDERS",
    "WRITTEN",
    "ZERO",
    "Batch",
    "BlockReader",
    "BlockWriter",
    "Created",
    "Damage",
    "DiskMap",
    "FileIndexHead",
    "Finding",
    "IndexedVolume",
    "KeyService",
    "Kind",
    "Lease",
    "Location",
    "Lost",
    "MapBuilder",
    "Marks",
    "OpenUse",
    "Pin",
    "PointMarks",
    "PointProofs",
    "ProofName",
    "ReadBuffers",
    "Repository",
    "RepositoryStats",
    "RunArea",
    "Slot",
    "Suspicion",
    "Trouble",
    "Trust",
    "Use",
    "Wanted",
    "copied_run",
    "create_encrypted_repository",
    "create_repository",
    "decode_extents",
    "encode_extents",
    "find_twin",
    "folders",
    "is_locked",
    "locked_by_age",
    "note_begun",
    "open_in",
    "open_repository",
    "open_site_repository",
    "point_id",
    "require_visible",
    "share_digests",
    "takes_passphrase",
    "unlock_site",
    "used_words",
]
