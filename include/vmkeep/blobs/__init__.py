"""Named, immutable byte strings in a folder, on S3, or behind SSH.

A store has few verbs (``store``): put if absent, read, list, delete, and replace for notes. It knows only keys and
bytes, and nothing of packs, points or digests. ``opening`` turns a location, as users write it, into a store with its
wrappers. ``local`` is the store in a folder. The rooms below hold one kind of store each (``s3``, ``ssh``), the
wrappers (``wrappers``), and Amazon's credentials (``aws``).
"""

from vmkeep.blobs.creation import require_creates, warn_unless_creates
from vmkeep.blobs.files import opened, sync_folder
from vmkeep.blobs.local import LocalStore
from vmkeep.blobs.locking import LockMode, LockRule, Locks, Versions, delete_unlocked, hidden_in, locks_of
from vmkeep.blobs.naming import name_if_free
from vmkeep.blobs.opening import create_store, open_store, open_uploads
from vmkeep.blobs.parallel import abreast, together
from vmkeep.blobs.reserve import (
    LEAST_RESERVE,
    hold_reserve,
    is_reserve_in_use,
    keep_reserve,
    reserve_of,
    spend_reserve,
)
from vmkeep.blobs.store import (
    RESERVE,
    TEMPORARY,
    BlobInfo,
    BlobStore,
    Bytes,
    Space,
    check_key,
    check_prefix,
    close_store,
    confirm_lists,
    is_remote,
    is_there,
    remove_leftovers,
    space_of,
    top_names,
)
from vmkeep.blobs.wrappers import Meter, VerbMeter, change_rate

__all__ = [
    "LEAST_RESERVE",
    "RESERVE",
    "TEMPORARY",
    "BlobInfo",
    "BlobStore",
    "Bytes",
    "LocalStore",
    "LockMode",
    "LockRule",
    "Locks",
    "Meter",
    "Space",
    "VerbMeter",
    "Versions",
    "abreast",
    "change_rate",
    "check_key",
    "check_prefix",
    "close_store",
    "confirm_lists",
    "create_store",
    "delete_unlocked",
    "hidden_in",
    "hold_reserve",
    "is_remote",
    "is_reserve_in_use",
    "is_there",
    "keep_reserve",
    "locks_of",
    "name_if_free",
    "open_store",
    "open_uploads",
    "opened",
    "remove_leftovers",
    "require_creates",
    "reserve_of",
    "space_of",
    "spend_reserve",
    "sync_folder",
    "together",
    "top_names",
    "warn_unless_creates",
]
