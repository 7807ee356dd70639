"""Finds a descriptor that does not belong to the blobs and key slots beside it.

The master key authenticates the descriptor of an encrypted repository. Nothing authenticates a plain descriptor, so
somebody who can write to the store could put one in the place of an encrypted one. Programs that give no passphrase,
because a key service opens the repository, would then store data in clear. An attacker who also brings key slots of his
own, which the service opens for anybody, would make them store data under his key.
"""

from __future__ import annotations

from itertools import islice

from vmkeep.blobs import BlobInfo, BlobStore, abreast, together
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.repository.folders import INDEX, POINTS
from vmkeep.repository.frames import HEADER_SIZE, MAX_SMALL, Cipher, Framer, Kind, parse_header
from vmkeep.repository.unlock.descriptor import KEY, Descriptor
from vmkeep.repository.unlock.slots import Slots

_SAMPLES = 3
"""Number of segments, or manifests, that a check looks at."""
_MOST_SAMPLES = 16
"""Number of segments that it looks at before it takes an encrypted repository for replaced."""
_FETCHED_WHOLE = 64 << 10
"""A segment up to this size, in bytes, is fetched whole, because a call for its header takes as long."""


def require_own(store: BlobStore, descriptor: Descriptor) -> dict[str, bytes]:
    """Return if the descriptor fits the key slots and some index segments that are stored beside it.

    :returns: the blobs of small segments that were fetched for this, by key, so that nobody need fetch them again.
    :raises CorruptError: the descriptor does not fit, so somebody has replaced it.
    """

    def sampled() -> list[BlobInfo]:
        # Only those that are looked at are kept, of what may be thousands. A server is asked for the whole list anyway.
        return list(islice((blob for blob in store.list(INDEX) if blob.size >= HEADER_SIZE), _MOST_SAMPLES))

    segments, (owners, damaged) = together(store, sampled, Slots(store, descriptor.id).owners)
    samples = _Samples(store)
    if descriptor.encrypted:
        _require_encrypted(samples, descriptor, segments, owners if not damaged else {descriptor.id})
    else:
        _require_plain(samples, descriptor, segments, owners, damaged=damaged)
    return samples.fetched


def require_own_key(store: BlobStore, framer: Framer) -> None:
    """Return if a key from a key service opens stored data. A person's passphrase needs no such proof.

    One blob that opens is enough, because others may be damaged.

    :raises CorruptError: the key opens none of the segments and manifests that were tried, so somebody has replaced the
        descriptor and the key slots.
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


def _require_encrypted(samples: _Samples, descriptor: Descriptor, segments: list[BlobInfo], owners: set[str]) -> None:
    """Refuse an encrypted descriptor beside another repository's slots, or if all segments are in clear.

    Some segments may be in clear: they were written while a plain descriptor had replaced the right one.
    """
    if owners and descriptor.id not in owners:
        slots = ", ".join(sorted(owners))
        raise _replaced(samples.store, f"is that of repository {descriptor.id}, but the key slots are those of {slots}")
    found = (told for told in map(samples.is_encrypted, segments) if told is not None)
    first = next(found, None)
    if first is False and not any(found):
        raise _replaced(samples.store, "says that the repository is encrypted, but what is stored is not")


def _require_plain(
    samples: _Samples, descriptor: Descriptor, segments: list[BlobInfo], owners: set[str], *, damaged: bool
) -> None:
    """Refuse a plain descriptor beside encrypted segments, or beside key slots.

    Once data is stored in clear, slots of another repository are allowed: an interrupted ``init`` may have left them.
    """
    told = abreast(samples.store, samples.is_encrypted, segments[:_SAMPLES])
    kinds = {kind for kind in told if kind is not None}
    if True in kinds:
        raise _replaced(samples.store, "says that the repository is not encrypted, but what is stored is")
    if descriptor.id in owners or ((owners or damaged) and not kinds):
        raise _replaced(samples.store, "says that the repository is not encrypted, but there are key slots (keys/…)")


def _replaced(store: BlobStore, why: str) -> CorruptError:
    return CorruptError(
        f"{store.location}: {KEY} {why}: somebody has replaced it; nothing is read or stored until the right one is "
        "back, from a copy of the repository or an older version of the object"
    )


class _Samples:
    """The segments that a check looks at."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self.fetched: dict[str, bytes] = {}
        """The blobs of small segments, by key."""

    def is_encrypted(self, segment: BlobInfo) -> bool | None:
        """Return whether a segment is encrypted; ``None``: it is gone, or has a damaged header."""
        try:
            header = parse_header(self._begin(segment))
        except (BlobNotFoundError, CorruptError):
            return None
        encrypted = header.cipher is not Cipher.NONE
        is_sound = header.frame_length == segment.size and encrypted == (header.stored_length != header.raw_length)
        return encrypted if is_sound else None

    def _begin(self, segment: BlobInfo) -> bytes:
        if segment.size > _FETCHED_WHOLE:
            return self.store.get_range(segment.key, 0, HEADER_SIZE)
        blob = self.fetched[segment.key] = self.store.get(segment.key)
        return blob
