"""Decides who may open a repository, and whether it is the repository it claims to be.

``vmkeep.json``, the *descriptor*, is written once and in clear; it tells the format, the block size, the cipher and
the lock rule (``descriptor``). An encrypted repository has one random master key. Each *key slot*, ``keys/<id>``,
holds a copy of it, wrapped by a passphrase (``passphrases``), a recovery key (``recoverykey``) or a key service
(``keyservice``); any one slot opens the repository, and slots come and go without a rewrite of data (``slots``).

Deriving a key from a passphrase is slow on purpose. ``keycache`` keeps the result for processes that are forked
from one worker, in memory only.

Two questions are asked before anything is trusted: is this place free for a new repository (``empty_folder``), and does
this descriptor belong to the blobs beside it, or did somebody put it there (``descriptor_check``)?
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
