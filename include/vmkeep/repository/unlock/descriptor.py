"""The descriptor ``vmkeep.json``: a repository's identity and settings.

It is written once and in clear. Every program reads it first. docs/format.md describes its fields.
"""

from __future__ import annotations

import json
import secrets
import uuid
from contextlib import suppress
from dataclasses import field
from typing import Any

from blake3 import blake3

from vmkeep.blobs import BlobStore, LockMode, LockRule, hidden_in
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError, RepositoryError, UsageError
from vmkeep.lateclass import dataclass
from vmkeep.repository.frames import Codec, Keys
from vmkeep.repository.unlock.keyservice import KeyService
from vmkeep.repository.unlock.slots import Slots

KEY = "vmkeep.json"
FORMAT_VERSION = 1
MIN_BLOCK = 64 << 10
MAX_BLOCK = 4 << 20
_FORMAT = "vmkeep repository"
_LIMIT = 1 << 20
_DIGEST, _KEYED = "blake3", "blake3-keyed"
_CIPHER = "aes-256-gcm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """The properties of a repository that never change."""

    id: str
    block_size: int
    compression: Codec
    """The codec that writers use. Readers take the codec from each frame's header."""
    created: str
    lock: LockRule | None = None
    """The time for which the store locks each blob that is put; ``None``: it locks none."""
    seal: str | None = None
    """Authentication code of the other fields, made with the master key; ``None``: the repository is not encrypted."""
    sealed: bytes = field(default=b"", repr=False)
    """The bytes that the code authenticates."""

    @property
    def encrypted(self) -> bool:
        """Return whether the repository is encrypted."""
        return self.seal is not None

    def __post_init__(self) -> None:
        """Refuse block sizes that the format does not allow."""
        if not MIN_BLOCK <= self.block_size <= MAX_BLOCK or self.block_size & (self.block_size - 1):
            raise UsageError(f"block size {self.block_size}: choose a power of two from 64 KiB to 4 MiB")


def new_descriptor(*, block_size: int, compression: str, lock: LockRule | None = None) -> Descriptor:
    """Return the descriptor for a new repository."""
    return Descriptor(
        id=str(uuid.uuid4()),
        block_size=block_size,
        compression=Codec.named(compression),
        created=now().isoformat(),
        lock=lock,
    )


def create(store: BlobStore, descriptor: Descriptor, keys: Keys | None = None) -> None:
    """Write the descriptor, unless the place is taken.

    :param keys: the keys of the new repository; ``None``: it is not encrypted.
    :raises RepositoryError: a repository is there already.
    """
    fields: dict[str, object] = {
        "format": _FORMAT,
        "version": FORMAT_VERSION,
        "id": descriptor.id,
        "created": descriptor.created,
        "block_size": descriptor.block_size,
        "compression": descriptor.compression.name.lower(),
    }
    if descriptor.lock is not None:
        fields["lock"] = {"mode": descriptor.lock.mode.value, "days": descriptor.lock.days}
    if keys is None:
        fields |= {"digest": _DIGEST, "key_slots": []}
    else:
        fields |= {"digest": _KEYED, "encryption": {"cipher": _CIPHER, "slots": "keys/"}}
        fields["seal"] = keys.sign(_canonical(fields))
    text = json.dumps({**fields, "check": _check(fields)}, indent=2) + "\n"
    try:
        store.put(KEY, text.encode())
    except ConflictError as error:
        raise RepositoryError(f"{store.location}: is a repository already; nothing was changed") from error


def require_absent(store: BlobStore) -> None:
    """Return if there is no repository here.

    :raises RepositoryError: a repository is there already, perhaps one whose descriptor somebody has hidden.
    """
    with suppress(BlobNotFoundError):
        store.size(KEY)
        raise RepositoryError(f"{store.location}: is a repository already; nothing was changed")
    if what := hidden_in(store, KEY):
        raise RepositoryError(
            f"{store.location}: is a repository already, whose {KEY} was {what}; bring it back with 'vmkeep repo lock "
            "--restore', or choose another prefix; nothing was changed"
        )


def unlock(
    store: BlobStore, descriptor: Descriptor, passphrase: str | None, *, service: KeyService | None = None
) -> Keys | None:
    """Return the keys of a repository; ``None``: it is not encrypted.

    :param passphrase: a passphrase, or a recovery key; ``None``: a key service opens the repository, if a slot is for
        one.
    :param service: the key service to ask; by default the one that the environment names.
    :raises RepositoryError: the passphrase is missing or wrong; or one was given and the repository is not encrypted.
    :raises CorruptError: somebody without the key has changed the descriptor, or key slots are damaged.
    """
    if not descriptor.encrypted:
        if passphrase is not None:
            raise RepositoryError(
                f"{store.location}: repository is not encrypted, but a passphrase was given; leave it out, unless "
                f"the repository should be encrypted: then somebody has replaced its {KEY}"
            )
        return None
    slots = Slots(store, descriptor.id)
    master = slots.unlock(passphrase) if passphrase else slots.unlock_by(service or KeyService())
    if master is None:
        raise RepositoryError(
            f"{store.location}: repository is encrypted: set VMKEEP_PASSPHRASE or give --passphrase-file "
            "(in Airflow, the password of its connection)"
        )
    return adopt(store, descriptor, master)


def adopt(store: BlobStore, descriptor: Descriptor, master: bytes) -> Keys:
    """Return the keys of a repository from its master key, after checking the descriptor's code with it.

    :raises RepositoryError: the repository is not encrypted.
    :raises CorruptError: somebody without the key has changed the descriptor.
    """
    if not descriptor.encrypted:
        raise RepositoryError(
            f"{store.location}: repository is not encrypted any more; somebody has replaced its {KEY}"
        )
    keys = Keys(master, repository=descriptor.id)
    if not secrets.compare_digest(keys.sign(descriptor.sealed), descriptor.seal or ""):
        raise CorruptError(f"{store.location}: {KEY} was changed by someone who does not have the key")
    return keys


def load(store: BlobStore) -> Descriptor:
    """Read and check the descriptor.

    :raises RepositoryError: this is no repository, or one of a newer format.
    :raises CorruptError: the descriptor is damaged; or somebody has hidden it, and the store still holds it.
    """
    try:
        return _load(store)
    except (RepositoryError, CorruptError) as error:
        if what := hidden_in(store, KEY):
            raise CorruptError(
                f"{store.location}: {KEY} was {what} by somebody else, and the store still holds the original: bring "
                f"it back with 'vmkeep repo lock --restore' ({error})"
            ) from error
        raise


def _load(store: BlobStore) -> Descriptor:
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
    block_size, name = fields.get("block_size"), fields.get("compression")
    encryption, seal = fields.get("encryption"), fields.get("seal")
    if encryption is None:
        known = fields.get("key_slots") == [] and fields.get("digest") == _DIGEST
    else:
        cipher = encryption.get("cipher") if isinstance(encryption, dict) else None
        known = cipher == _CIPHER and fields.get("digest") == _KEYED and isinstance(seal, str)
    if not known or not isinstance(block_size, int) or not isinstance(name, str):
        raise RepositoryError(f"{location}: {KEY} has settings that this version of vmkeep does not know")
    try:
        return Descriptor(
            id=str(fields.get("id")),
            block_size=block_size,
            compression=Codec.named(name),
            created=str(fields.get("created")),
            lock=_lock(fields.get("lock")),
            seal=None if encryption is None else str(seal),
            sealed=_canonical({key: value for key, value in fields.items() if key not in ("check", "seal")}),
        )
    except UsageError as error:
        raise RepositoryError(f"{location}: {KEY}: {error}") from error


def _lock(plain: Any) -> LockRule | None:
    if plain is None:
        return None
    try:
        return LockRule(mode=LockMode(plain["mode"]), days=int(plain["days"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("lock: neither a mode and days, nor absent") from error


def _parse(text: bytes, location: str) -> dict[str, object]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{location}: {KEY} is damaged: not JSON") from error
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise RepositoryError(f"{location}: is not a vmkeep repository ({KEY} says something else)")
    return fields


def _canonical(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True).encode()


def _check(fields: dict[str, object]) -> str:
    return blake3(_canonical(fields)).hexdigest()
