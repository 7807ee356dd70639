"""Opens repositories: checks a person's or a service's key, and that the repository is the one it claims to be.

``vmkeep.json``, the *descriptor*, is written once and in clear; it tells the format, the block size, the cipher and
the lock rule (``descriptor``). An encrypted repository has one random master key. Each *key slot*, ``keys/<id>``,
holds a copy of it, wrapped by a passphrase (``passphrases``), a recovery key (``recoverykey``) or a key service
(``keyservice``). Any one slot opens the repository. Adding or removing a slot rewrites no data (``slots``).

Deriving a key from a passphrase is slow on purpose. ``keycache`` keeps the result for all processes that are forked
from one worker, in memory only.

Two checks come before anything is trusted. ``empty_folder`` checks that a place is free for a new repository.
``descriptor_check`` checks that a descriptor belongs to the blobs beside it, because somebody may have replaced it.
"""

from vmkeep.repository.unlock.descriptor import KEY, Descriptor
from vmkeep.repository.unlock.descriptor_check import require_own, require_own_key
from vmkeep.repository.unlock.empty_folder import require_vacant
from vmkeep.repository.unlock.keycache import share_keys
from vmkeep.repository.unlock.keyservice import KeyService
from vmkeep.repository.unlock.slots import Slot, Slots

__all__ = [
    "KEY",
    "Descriptor",
    "KeyService",
    "Slot",
    "Slots",
    "descriptor",
    "require_own",
    "require_own_key",
    "require_vacant",
    "share_keys",
]
