"""Creates and opens repositories, encrypted or not, at a location or on a store that is open already."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from vmkeep.blobs import (
    BlobStore,
    LockRule,
    Meter,
    close_store,
    create_store,
    delete_unlocked,
    open_store,
    warn_unless_creates,
)
from vmkeep.errors import UsageError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.aws import AwsCredentials
from vmkeep.model.site import Site
from vmkeep.repository.folders import KEYS
from vmkeep.repository.frames import Framer, Keys, new_master
from vmkeep.repository.index import default_cache
from vmkeep.repository.lockedkeys import begin_locks, require_locks
from vmkeep.repository.repository import Repository
from vmkeep.repository.unlock import KeyService, Slots, require_own, require_own_key, require_vacant
from vmkeep.repository.unlock import descriptor as descriptors

_FIRST = "made with the repository"


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A new encrypted repository."""

    repository: Repository
    recovery_key: str = field(repr=False)
    """A key that opens the repository like a passphrase. Show it once, because it is not kept anywhere."""


def create_repository(
    location: str,
    *,
    block_size: int = 262144,
    compression: str = "zstd",
    lock: LockRule | None = None,
    aws: AwsCredentials | None = None,
) -> Repository:
    """Create a repository at a location as :func:`create_store` takes it. Create only the last folder of a path.

    :param block_size: bytes of a block.
    :param lock: the time for which the store is to lock each blob that is put; ``None``: it locks none.
    :param aws: credentials for S3 and for a key service.
    :raises RepositoryError: a repository or other files are there, or the folder above is missing, or the store cannot
        lock blobs.
    :raises UsageError: the format does not have this block size or compression.
    """
    descriptor = descriptors.new_descriptor(block_size=block_size, compression=compression, lock=lock)
    store = create_store(location, credentials=aws)
    require_vacant(store)
    warn_unless_creates(store)
    require_locks(store, lock)
    descriptors.create(store, descriptor)
    for blob in store.list(KEYS):  # key slots of an encrypted repository whose creation was interrupted
        delete_unlocked(store, blob.key)
    return Repository(store, descriptors.load(store))


def create_encrypted_repository(
    location: str,
    *,
    passphrase: str | None,
    kms_key: str | None = None,
    block_size: int = 262144,
    compression: str = "zstd",
    lock: LockRule | None = None,
    aws: AwsCredentials | None = None,
) -> Created:
    """Create an encrypted repository; otherwise like :func:`create_repository`.

    The new recovery key opens it. So do the passphrase and the key service's key, of which at least one must be given.

    :param kms_key: ARN of a key of Amazon's key service.
    :raises UsageError: the passphrase is too short, or neither a passphrase nor a key is given.
    """
    descriptor = descriptors.new_descriptor(block_size=block_size, compression=compression, lock=lock)
    store = create_store(location, credentials=aws)
    require_vacant(store)
    warn_unless_creates(store)
    return create_encrypted_in(store, descriptor, passphrase=passphrase, kms_key=kms_key, service=KeyService(aws))


def create_encrypted_in(
    store: BlobStore,
    descriptor: descriptors.Descriptor,
    *,
    passphrase: str | None,
    kms_key: str | None = None,
    service: KeyService | None = None,
) -> Created:
    """Create an encrypted repository on a store: first its key slots, then the descriptor, which makes it valid."""
    if not passphrase and not kms_key:
        raise UsageError("an encrypted repository takes a passphrase, or the ARN of a KMS key")
    descriptors.require_absent(store)
    require_locks(store, descriptor.lock)
    master = new_master()
    slots = Slots(store, descriptor.id)
    made = []
    try:
        if passphrase:
            made.append(slots.add_passphrase(master, passphrase, label=_FIRST))
        if kms_key:
            made.append(slots.add_service(master, kms_key, service or KeyService(), label=_FIRST))
        slot, recovery_key = slots.add_recovery(master, label=_FIRST)
        made.append(slot)
        descriptors.create(store, descriptor, Keys(master, repository=descriptor.id))
    except VmKeepError:
        for slot in made:
            delete_unlocked(store, f"{KEYS}{slot.id}")
        raise
    return Created(repository=open_in(store, passphrase=recovery_key), recovery_key=recovery_key)


def open_repository(
    location: str,
    *,
    passphrase: str | None = None,
    master: bytes | None = None,
    aws: AwsCredentials | None = None,
    cache: Path | None = None,
    limit_rate: str | None = None,
) -> Repository:
    """Open the repository at a location as :func:`open_store` takes it.

    :param passphrase: a passphrase or recovery key of an encrypted repository.
    :param master: the master key, if the process that started this one has it from :func:`unlock_site`; no passphrase
        or key service is needed then.
    :param aws: credentials for S3, and for key slots that Amazon's key service opens.
    :param cache: folder for copies of index segments, which can be fetched again; by default the user's cache folder.
    :param limit_rate: limit for reading and writing together, in bytes per second, maybe by time of day; see
        :mod:`vmkeep.blobs.wrappers.rates`.
    :raises RepositoryError: there is no such folder, it is no repository, or this version cannot read it; or the
        passphrase is missing or wrong, or was given for a repository that is not encrypted.
    """
    meter = Meter()
    store = open_store(location, credentials=aws, limit_rate=limit_rate, meter=meter)
    cache = cache or default_cache()
    return open_in(store, passphrase=passphrase, master=master, aws=aws, cache=cache, meter=meter)


def open_in(
    store: BlobStore,
    *,
    passphrase: str | None = None,
    master: bytes | None = None,
    aws: AwsCredentials | None = None,
    cache: Path | None = None,
    meter: Meter | None = None,
) -> Repository:
    """Open the repository on an open store.

    :param meter: counts the calls to the store.
    """
    descriptor = descriptors.load(store)
    begin_locks(store, descriptor.lock)
    fetched = require_own(store, descriptor)
    if master is None:
        keys = _unlock(store, descriptor, passphrase, aws)
    else:
        keys = descriptors.adopt(store, descriptor, master)
    return Repository(store, descriptor, keys=keys, cache=cache, meter=meter, fetched=fetched)


def _unlock(
    store: BlobStore, descriptor: descriptors.Descriptor, passphrase: str | None, aws: AwsCredentials | None
) -> Keys | None:
    keys = descriptors.unlock(store, descriptor, passphrase, service=KeyService(aws))
    if keys is not None and not passphrase:
        require_own_key(store, Framer(codec=descriptor.compression, keys=keys))
    return keys


def open_site_repository(site: Site, *, master: bytes | None = None) -> Repository:
    """Open the repository of a site, with the site's passphrase, credentials and limits.

    :param master: as in :func:`open_repository`.
    """
    return open_repository(
        site.repository, passphrase=site.passphrase, master=master, aws=site.aws, limit_rate=site.limit_rate
    )


def unlock_site(site: Site) -> bytes | None:
    """Return the master key of a site's repository; ``None``: it is not encrypted.

    A parent process calls this and hands the key to its child, so that the child need not unwrap it again.

    :raises RepositoryError: the repository cannot be opened; see :func:`open_repository`.
    """
    store = open_store(site.repository, credentials=site.aws)
    try:
        keys = _unlock(store, descriptors.load(store), site.passphrase, site.aws)
    finally:
        close_store(store)
    return None if keys is None else keys.master


def takes_passphrase(location: str) -> bool:
    """Return whether a person must give a passphrase: the repository is encrypted, and no key service opens it."""
    store = open_store(location)
    descriptor = descriptors.load(store)
    return descriptor.encrypted and not Slots(store, descriptor.id).has_service()
