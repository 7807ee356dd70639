"""Named, immutable byte strings in a folder, in memory, on S3, or behind SSH.

Knows nothing of packs, points or digests: keys and bytes only.
"""

from vmkeep.blobs.metered import Meter, VerbMeter
from vmkeep.blobs.opening import open_store
from vmkeep.blobs.store import (
    BlobInfo,
    BlobStore,
    Bytes,
    close_store,
    is_remote,
    is_there,
    remove_leftovers,
    reserve_of,
    top_names,
)

__all__ = [
    "BlobInfo",
    "BlobStore",
    "Bytes",
    "Meter",
    "VerbMeter",
    "close_store",
    "is_remote",
    "is_there",
    "open_store",
    "remove_leftovers",
    "reserve_of",
    "top_names",
]
