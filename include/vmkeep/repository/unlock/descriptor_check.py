"""Tells a descriptor that is not the one of the objects and key slots beside it.

An encrypted descriptor is under the master key. A plain one is under nothing: whoever can write to the store could put
it in the place of an encrypted one. Then all who give no passphrase, because a key service opens the repository, would
store in clear from then on; or under a stranger's key, if he brings key slots too that the service opens for anybody.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.blobs import BlobInfo, BlobStore
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.repository.folders import INDEX, POINTS
from vmkeep.repository.frames import HEADER_SIZE, MAX_SMALL, Cipher, Framer, Kind, parse_header
from vmkeep.repository.unlock.descriptor import KEY, Descriptor
from vmkeep.repository.unlock.slots import Slots

_SAMPLES = 3
_MOST_SAMPLES = 16


def require_own(store: BlobStore, descriptor: Descriptor) -> None:
    """Return if the descriptor fits what is stored beside it: the key slots, and some segments of the index.

    :raises CorruptError: it does not; somebody has replaced it.
    """
    segments = [blob for blob in store.list(INDEX) if blob.size >= HEADER_SIZE]
    owners, damaged = Slots(store, descriptor.id).owners()
    if descriptor.encrypted:
        _require_encrypted(store, descriptor, segments, owners if not damaged else {descriptor.id})
    else:
        _require_plain(store, descriptor, segments, owners, damaged=damaged)


def require_own_key(store: BlobStore, framer: Framer) -> None:
    """Return if the key that a service has opened is that of what is stored; a passphrase needs no such proof.

    One blob that opens is enough, because others may be damaged.

    :raises CorruptError: none of some segments and manifests opens; somebody has replaced descriptor and key slots.
    """
    closed = []
    for prefix, kind in ((INDEX, Kind.INDEX), (POINTS, Kind.MANIFEST)):
        blobs = [blob for blob in store.list(prefix) if blob.size <= MAX_SMALL]
        for blob in sorted(blobs, key=lambda each: each.size)[:_SAMPLES]:
            try:
                framer.unwrap(kind, store.get(blob.key), name=blob.key)
                return
            except BlobNotFoundError:
                continue
            except CorruptError:
                closed.append(blob.key)
    if closed:
        raise _replaced(store, f"has key slots whose key opens nothing that is stored ({', '.join(closed)})")


def _require_encrypted(store: BlobStore, descriptor: Descriptor, segments: list[BlobInfo], owners: set[str]) -> None:
    """Segments in clear among encrypted ones are no reason to refuse: a descriptor that is back again finds some."""
    if owners and descriptor.id not in owners:
        slots = ", ".join(sorted(owners))
        raise _replaced(store, f"is that of repository {descriptor.id}, but the key slots are those of {slots}")
    found = _encrypted(store, segments[:_MOST_SAMPLES])
    first = next(found, None)
    if first is False and not any(found):
        raise _replaced(store, "says that the repository is encrypted, but what is stored is not")


def _require_plain(
    store: BlobStore, descriptor: Descriptor, segments: list[BlobInfo], owners: set[str], *, damaged: bool
) -> None:
    """Slots of another repository, left by an interrupted ``init``, are no reason to refuse once data is in clear."""
    kinds = set(_encrypted(store, segments[:_SAMPLES]))
    if True in kinds:
        raise _replaced(store, "says that the repository is not encrypted, but what is stored is")
    if descriptor.id in owners or ((owners or damaged) and not kinds):
        raise _replaced(store, "says that the repository is not encrypted, but there are key slots (keys/…)")


def _replaced(store: BlobStore, why: str) -> CorruptError:
    return CorruptError(
        f"{store.location}: {KEY} {why}: somebody has replaced it; nothing is read or stored until the right one is "
        "back, from a copy of the repository or an older version of the object"
    )


def _encrypted(store: BlobStore, segments: list[BlobInfo]) -> Iterator[bool]:
    """Yield of each segment whether it is encrypted; of one whose header is damaged nothing."""
    for blob in segments:
        try:
            header = parse_header(store.get_range(blob.key, 0, HEADER_SIZE))
        except (BlobNotFoundError, CorruptError):
            continue
        encrypted = header.cipher is not Cipher.NONE
        if header.frame_length == blob.size and encrypted == (header.stored_length != header.raw_length):
            yield encrypted
