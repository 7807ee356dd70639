"""Notes of recoveries and drills. Maintenance never removes them, because they are evidence.

    recoveries/runs/<run>/<name>   the order of a run, the outcome of each of its VMs, and its report
    recoveries/proofs/<vm>         when the VM was last restored and found healthy
    recoveries/proofs/<vm>,<kind>  when a point of the VM last passed another check

Each is a frame of kind note. No restore needs them. Programs that do not know them leave them alone. The values of runs
are made and read by :mod:`vmkeep.flows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Final
from urllib.parse import unquote

from vmkeep.blobs import BlobStore, abreast
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError, NotFoundError
from vmkeep.model.job import from_json, to_json
from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.repository.folders import RECOVERIES
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.points import safe_name

FUTURE: Final = timedelta(days=1)
"""Time ahead of this machine's clock from which a proof is from the future, because a clock was wrong."""
_RUNS = f"{RECOVERIES}runs/"
_PROOFS = f"{RECOVERIES}proofs/"


class RecoveryNotes:
    """The notes of one repository's recoveries."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer

    def runs(self) -> list[str]:
        """Return the ids of all runs, sorted."""
        return sorted({unquote(blob.key.removeprefix(_RUNS).partition("/")[0]) for blob in self._store.list(_RUNS)})

    def names(self, run: str) -> list[str]:
        """Return the names of all notes of a run, sorted."""
        prefix = f"{_RUNS}{safe_name(run)}/"
        return sorted(unquote(blob.key.removeprefix(prefix)) for blob in self._store.list(prefix))

    def begin(self, run: str, order: bytes) -> bytes:
        """Write the order of a run, unless the run has one. Return the order that counts."""
        key = self._key(run, "order")
        with suppress(ConflictError):  # it was written before
            self._store.put(key, self._framer.wrap(Kind.NOTE, order, name=key))
        return self.load(run, "order")

    def store(self, run: str, name: str, data: bytes) -> None:
        """Write a note of a run; replace an older one of that name."""
        self._replace(self._key(run, name), data)

    def load(self, run: str, name: str) -> bytes:
        """Return a note of a run.

        :raises NotFoundError: there is no such note.
        :raises CorruptError: it is damaged.
        """
        key = self._key(run, name)
        try:
            return self._read(key)
        except BlobNotFoundError as error:
            raise NotFoundError(f"recovery {run}: there is no '{name}' in {self._store.location}") from error

    def discard(self, run: str, name: str) -> None:
        """Remove a note of a run, if it is there."""
        self._store.delete(self._key(run, name))

    def store_proof(self, proof: VmProof) -> bool:
        """Write the last proof of a VM, in place of an older one of its kind, or of one from the future.

        Another process may write a newer one between the look and the write, which is lost then. So a caller who wrote
        looks for a newer proof of a point of the VM afterwards.

        :returns: whether it was written.
        """
        key = f"{_PROOFS}{safe_name(proof.vm_key)}" + ("" if proof.kind is ProofKind.RESTORE else f",{proof.kind}")
        before = self._proof(key)
        if not isinstance(before, VmProof) or before.at <= proof.at or before.at > now() + FUTURE:
            self._replace(key, to_json(proof))
            return True
        return False

    def proofs(self) -> Iterator[VmProof | CorruptError]:
        """Yield the last proof of every VM and kind. For one that cannot be read, yield the error."""
        keys = (blob.key for blob in self._store.list(_PROOFS))
        return (proof for proof in abreast(self._store, self._proof, keys) if proof is not None)

    def _proof(self, key: str) -> VmProof | CorruptError | None:
        try:
            return from_json(VmProof, self._read(key))
        except BlobNotFoundError:
            return None
        except CorruptError as error:
            return error
        except ValueError as error:
            return CorruptError(f"{key} is damaged, delete it if it cannot be put back: {error}")

    def _key(self, run: str, name: str) -> str:
        return f"{_RUNS}{safe_name(run)}/{safe_name(name)}"

    def _replace(self, key: str, data: bytes) -> None:
        self._store.replace(key, self._framer.wrap(Kind.NOTE, data, name=key))

    def _read(self, key: str) -> bytes:
        try:
            return bytes(self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key))
        except CorruptError as error:
            raise CorruptError(f"{key} is damaged, delete it if it cannot be put back: {error}") from error
