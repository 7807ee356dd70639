"""The key slots of an encrypted repository: list, add, replace, remove."""

from __future__ import annotations

from vmkeep.repository import KeyService, Repository, Slot
from vmkeep.repository.unlock import share_keys

__all__ = [
    "Slot",
    "add_passphrase",
    "add_recovery_key",
    "add_service_key",
    "list_slots",
    "remove",
    "require_encrypted",
    "require_slot",
    "share_keys",
]


def require_encrypted(repository: Repository) -> None:
    """Return if a repository is encrypted.

    :raises RepositoryError: it is not encrypted.
    """
    repository.master_key()


def list_slots(repository: Repository) -> tuple[list[Slot], dict[str, str]]:
    """Return the slots, oldest first, and for each slot blob that cannot be read its damage.

    :raises RepositoryError: the repository is not encrypted.
    """
    repository.master_key()
    return repository.slots.read()


def require_slot(repository: Repository, text: str) -> Slot:
    """Return the slot whose id begins with a text.

    :raises NotFoundError: no slot's id begins with the text.
    """
    repository.master_key()
    return repository.slots.find(text)


def add_passphrase(repository: Repository, passphrase: str, *, label: str) -> Slot:
    """Add a slot that a passphrase opens."""
    return repository.slots.add_passphrase(repository.master_key(), passphrase, label=label)


def add_recovery_key(repository: Repository, *, label: str) -> tuple[Slot, str]:
    """Add a slot that a new recovery key opens. Return both; the key is stored nowhere."""
    return repository.slots.add_recovery(repository.master_key(), label=label)


def add_service_key(repository: Repository, arn: str, *, label: str) -> Slot:
    """Add a slot that a key of AWS KMS opens."""
    return repository.slots.add_service(repository.master_key(), arn, KeyService(), label=label)


def remove(repository: Repository, text: str) -> Slot:
    """Remove the slot whose id begins with a text, unless it is the last slot. Return the removed slot."""
    repository.master_key()
    return repository.slots.remove(text)
