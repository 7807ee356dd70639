"""Encrypted repositories for suites that run over both forms."""

from __future__ import annotations

from vmkeep.blobs import BlobStore
from vmkeep.repository import Repository, open_in
from vmkeep.repository.unlock import descriptor

PASSPHRASE = "correct horse battery"
CHEAP = {"t": 1, "m": 8, "p": 1}
"""Argon2id's cost where a test is not about it."""


def opened(store: BlobStore) -> Repository:
    """Open what is on a store, encrypted or not."""
    return open_in(store, passphrase=PASSPHRASE if descriptor.load(store).encrypted else None)


def remove_on_purpose(store: BlobStore, ref: str) -> None:
    """Do what a person does who wants to be rid of a point without a prune: remove its note and its manifest."""
    store.delete(f"sealed/{ref}")
    store.delete(f"points/{ref}")


def store_file(repository: Repository, content: bytes, *, run: str, begun: str | None = None) -> tuple[str, int]:
    """Store the bytes of one file; return the root of their map and their number."""
    return repository.store_attachments({"": content}, run=run, begun=begun)[""]
