"""``vmkeep.json``: what kind of repository this is; written once, in clear, the first thing that anyone reads."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from blake3 import blake3

from vmkeep.blobs import BlobStore
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError, RepositoryError, UsageError
from vmkeep.repository.codecs import Codec

KEY = "vmkeep.json"
FORMAT_VERSION = 1
MIN_BLOCK = 64 << 10
MAX_BLOCK = 4 << 20
_FORMAT = "vmkeep repository"
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What holds for a repository as long as it lives."""

    id: str
    block_size: int
    compression: Codec
    """What writers use; every frame says for itself how to read it."""
    created: str
    key_slots: tuple[object, ...] = ()
    """Empty: not encrypted."""

    def __post_init__(self) -> None:
        """Refuse block sizes that the format does not have."""
        if not MIN_BLOCK <= self.block_size <= MAX_BLOCK or self.block_size & (self.block_size - 1):
            raise UsageError(f"block size {self.block_size}: choose a power of two from 64 KiB to 4 MiB")


def new_descriptor(*, block_size: int, compression: str) -> Descriptor:
    """Return the descriptor of a repository about to be created."""
    codec = Codec.named(compression)
    return Descriptor(id=str(uuid.uuid4()), block_size=block_size, compression=codec, created=now().isoformat())


def create(store: BlobStore, descriptor: Descriptor) -> None:
    """Write the descriptor, unless the place is taken.

    :raises RepositoryError: there is a repository already.
    """
    fields = {
        "format": _FORMAT,
        "version": FORMAT_VERSION,
        "id": descriptor.id,
        "created": descriptor.created,
        "block_size": descriptor.block_size,
        "compression": descriptor.compression.name.lower(),
        "digest": "blake3",
        "key_slots": list(descriptor.key_slots),
    }
    text = json.dumps({**fields, "check": _check(fields)}, indent=2) + "\n"
    try:
        store.put(KEY, text.encode())
    except ConflictError as error:
        raise RepositoryError(f"{store.location}: is a repository already; nothing was changed") from error


def load(store: BlobStore) -> Descriptor:
    """Read and check the descriptor.

    :raises RepositoryError: not a repository, of a newer format, or encrypted.
    :raises CorruptError: the descriptor is damaged.
    """
    try:
        text = store.get_range(KEY, 0, _LIMIT)
    except BlobNotFoundError as error:
        raise RepositoryError(
            f"{store.location}: is not a vmkeep repository (no {KEY}); create one with 'vmkeep repo init'"
        ) from error
    fields = _parse(text, store.location)
    version = fields.get("version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise RepositoryError(
            f"{store.location}: repository has format {version}, this program knows up to {FORMAT_VERSION}; "
            "use a newer vmkeep"
        )
    if _check({key: value for key, value in fields.items() if key != "check"}) != fields.get("check"):
        raise CorruptError(f"{store.location}: {KEY} is damaged: it does not match its own digest")
    return _from_fields(fields, store.location)


def _from_fields(fields: dict[str, object], location: str) -> Descriptor:
    if fields.get("key_slots") != []:
        raise RepositoryError(f"{location}: repository is encrypted, which this version of vmkeep cannot read")
    block_size, name = fields.get("block_size"), fields.get("compression")
    if fields.get("digest") != "blake3" or not isinstance(block_size, int) or not isinstance(name, str):
        raise RepositoryError(f"{location}: {KEY} asks for something that this version of vmkeep does not know")
    try:
        return Descriptor(
            id=str(fields.get("id")),
            block_size=block_size,
            compression=Codec.named(name),
            created=str(fields.get("created")),
        )
    except UsageError as error:
        raise RepositoryError(f"{location}: {KEY}: {error}") from error


def _parse(text: bytes, location: str) -> dict[str, object]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{location}: {KEY} is damaged: not JSON") from error
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise RepositoryError(f"{location}: is not a vmkeep repository ({KEY} says something else)")
    return fields


def _check(fields: dict[str, object]) -> str:
    return blake3(json.dumps(fields, sort_keys=True).encode()).hexdigest()
