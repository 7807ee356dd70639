"""Stores the proofs of restore points: which check found what, when, and by which run.

    proofs/<vm>/<point>/<kind>,<time>,<result>,<random>          a proof
    proofs/<vm>/<point>/<kind>,<time>,<result>,<random>,<name>   a small file that is kept with it, e.g. a picture

A proof never changes; a later check adds another one. The random part ends with ``-`` and a digest of the proof's
series, if it has one. Of each kind, series and result the newest few stay, so that daily checks of an old point do not
fill the store, and a failure is not pushed out by later successes. A proof that cannot be read counts as none, unless
its name tells of a failure. If a check passes, the VM's own note of its last proof is written too
(:mod:`.recoveries`), because it outlives the point.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

from vmkeep.blobs import BlobStore, Bytes, abreast, confirm_lists, is_there
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, CorruptError, NotFoundError
from vmkeep.model.job import from_json, to_json
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult, VmProof
from vmkeep.model.wording import size as size_words
from vmkeep.repository.folders import PROOFS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.notes.proofnames import ProofName, names_below, new_identity, prefix_of, unread_failure
from vmkeep.repository.notes.recoveries import FUTURE, RecoveryNotes
from vmkeep.repository.points import Manifests, blob_of_ref, folder_of, load_ref

KEPT_PROOFS: Final = 3
"""Number of proofs that stay, of each kind, series and result of a point."""
MAX_DETAILS: Final = 1 << 20
"""Largest details of a proof, as JSON, in bytes."""
MAX_FILE: Final = 8 << 20
"""Largest file that can be kept with a proof, in bytes."""
_FILE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")

log = logging.getLogger(__name__)


class PointProofs:
    """The proofs of one repository's restore points. Thread-safe."""

    def __init__(self, store: BlobStore, framer: Framer, *, repository: str) -> None:
        """Prepare; read nothing.

        :param repository: id of the repository.
        """
        self._store = store
        self._framer = framer
        self._repository = repository
        self._manifests = Manifests(store, framer)
        self._recoveries = RecoveryNotes(store, framer)

    def add(self, ref: str, proof: PointProof, files: Mapping[str, Bytes] | None = None) -> PointProof:
        """Keep a proof with a point; return it with all fields. If it passed, note it as the VM's last one, too.

        No scan for malware is noted so, because a later find takes its word back.

        The proof is written first, and then the point is looked for, so that no proof outlives its point.
        The largest details are left out until all have less than :data:`MAX_DETAILS`, and a file of more than
        :data:`MAX_FILE` is, because the result matters more.

        :param ref: a full ref.
        :param proof: ``point``, ``id`` and ``files`` are filled in; and ``repository``, unless it is a copy's.
        :param files: the content of small files, by name: letters, digits, ``.`` and ``-``.
        :raises NotFoundError: there is no such point.
        :raises CorruptError: the point's manifest cannot be read, so that the point cannot have passed.
        :raises ValueError: a file has no such name.
        """
        proof = self._behind_the_newest(ref, proof)
        files = {name: content for name, content in (files or {}).items() if _is_kept(name, content)}
        identity = new_identity(proof)
        kept = replace(
            proof,
            point=ref,
            id=identity,
            repository=proof.repository or self._repository,
            files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
            details=_bounded(proof),
        )
        key = prefix_of(ref) + identity
        for name, content in files.items():
            self._put(f"{key},{name}", content)
        self._put(key, to_json(kept))
        try:
            if kept.passed and kept.kind is not ProofKind.MALWARE:
                self._note_vm(kept)
            elif not is_there(self._store, blob_of_ref(ref)):
                raise NotFoundError(f"no restore point '{ref}'; see 'vmkeep point list'")
        except (NotFoundError, CorruptError):
            self._remove(key, files)
            raise
        self._trim(ref, proof.kind)
        return kept

    def of(self, ref: str) -> tuple[PointProof, ...]:
        """Return the proofs of a point, the newest first. One that cannot be read is left out, with a warning."""
        return tuple(self._load_all(prefix_of(ref)))

    def load(self, names: Iterable[ProofName]) -> tuple[PointProof, ...]:
        """Return the proofs of some names, the newest first; see :meth:`of`."""
        return tuple(self._load_named(names))

    def all(self, vm_key: str | None = None) -> dict[str, tuple[PointProof, ...]]:
        """Return the proofs of all points, or of one VM's points, by ref; see :meth:`of`.

        In a large repository this reads many blobs; :meth:`names` and :meth:`latest` read few.
        """
        found: defaultdict[str, list[PointProof]] = defaultdict(list)
        for proof in self._load_all(PROOFS if vm_key is None else f"{PROOFS}{folder_of(vm_key)}/"):
            found[proof.point].append(proof)
        return {ref: tuple(proofs) for ref, proofs in found.items()}

    def names(self, vm_key: str | None = None) -> Iterator[ProofName]:
        """Yield the names of all proofs, or of those of one VM's points. List blobs without reading any.

        :raises StoreError: the store lists not all that there are. A point that failed a check would count as good.
        """
        confirm_lists(self._store)
        yield from names_below(self._store, PROOFS if vm_key is None else f"{PROOFS}{folder_of(vm_key)}/")

    def latest(self) -> dict[str, dict[ProofKind, VmProof]]:
        """Return the last proof of each kind that passed, by the key of the VM. Its point may be gone by now.

        One that cannot be read counts as none, with a warning. So does one that is more than a day from the future,
        because a wrong clock would silence each alarm until that time.
        """
        found: defaultdict[str, dict[ProofKind, VmProof]] = defaultdict(dict)
        latest = now() + FUTURE
        for proof in self._recoveries.proofs():
            if isinstance(proof, CorruptError):
                log.warning("the last proof of a VM cannot be read, and counts as none: %s", proof)
            elif proof.at > latest:
                log.warning(
                    "the last proof %s of %s is of %s, in the future, and counts as none", proof.kind, proof.vm_name,
                    proof.at,
                )  # fmt: skip
            elif proof.counts:
                found[proof.vm_key][proof.kind] = proof
        return dict(found)

    def file(self, proof: PointProof, name: str) -> bytes:
        """Return a file that is kept with a proof.

        :raises NotFoundError: the proof has no such file, or it was removed meanwhile.
        :raises CorruptError: it is damaged.
        """
        if name not in proof.files:
            has = ", ".join(proof.files) or "none"
            raise NotFoundError(f"{proof.kind} proof of {proof.point}: there is no file '{name}'; it has {has}")
        key = f"{prefix_of(proof.point)}{proof.id},{name}"
        try:
            content = bytes(self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key))
        except BlobNotFoundError as error:
            raise NotFoundError(f"{key}: the file of a proof was removed") from error
        if hashlib.sha256(content).hexdigest() != proof.files[name]:
            raise CorruptError(f"{key}: it is the file of another proof")
        return content

    def forget(self, ref: str) -> None:
        """Remove all proofs of a point that is gone."""
        for blob in list(self._store.list(prefix_of(ref))):
            self._store.delete(blob.key)

    def _behind_the_newest(self, ref: str, proof: PointProof) -> PointProof:
        """Return a failure with a time behind all proofs of its kind, if the clock here is behind another machine's.

        Bad news must not look older than a success that came before it. A success keeps the time of the wrong clock,
        and so takes nothing back.
        """
        if proof.result is not ProofResult.FAILED or proof.repository:  # a copy keeps the time of its original
            return proof
        confirm_lists(self._store)  # a failure would get a time before a success that is missing in the list
        names = names_below(self._store, prefix_of(ref))
        newest = max((name.at for name in names if name.kind is proof.kind), default=None)
        if newest is None or newest <= now():
            return proof
        told = f"{proof.text} (by the clock of that machine at {proof.at:%Y-%m-%d %H:%M:%S} UTC, which is behind)"
        return replace(proof, at=newest + timedelta(microseconds=1), text=told)

    def _note_vm(self, proof: PointProof) -> None:
        """Note a proof that passed as the last one of its VM, unless a newer one is noted.

        Two processes may each find an older note, and the one with the older proof may write last. But each has put its
        proof before it wrote the note. So whoever has written looks whether there is a newer proof by now, and notes
        that one. The last one who writes a note sees the proofs of all who wrote one before.

        :raises NotFoundError: there is no such point.
        :raises CorruptError: the point's manifest cannot be read.
        """
        if self._recoveries.store_proof(self._of_vm(proof)) and (newer := self._newer_than(proof)) is not None:
            with suppress(NotFoundError, CorruptError):  # its point is gone, or cannot be read to name its time
                self._note_vm(newer)

    def _newer_than(self, proof: PointProof) -> PointProof | None:
        """Return the newest proof of the same kind and VM that passed, if it is newer than this one."""
        confirm_lists(self._store)
        latest = now() + FUTURE
        newer = (
            name
            for name in names_below(self._store, f"{PROOFS}{folder_of(proof.point.rpartition('/')[0])}/")
            if name.kind is proof.kind and name.result is ProofResult.PASSED and proof.at < name.at <= latest
        )
        return next(self._load_named(newer), None)

    def _of_vm(self, proof: PointProof) -> VmProof:
        point = load_ref(self._manifests, proof.point)
        probes = proof.details.get("probes", ()) if proof.kind is ProofKind.RESTORE else ()
        return VmProof(
            vm_key=point.vm.key,
            vm_name=point.vm.name,
            point=proof.point,
            taken_at=point.taken_at,
            at=proof.at,
            run=proof.run,
            drill=bool(proof.details.get("drill")),
            probes=tuple(map(str, probes)),
            kind=proof.kind,
        )

    def _load_all(self, prefix: str) -> Iterator[PointProof]:
        """Yield the proofs below a prefix, the newest first."""
        confirm_lists(self._store)
        return self._load_named(names_below(self._store, prefix))

    def _load_named(self, names: Iterable[ProofName]) -> Iterator[PointProof]:
        newest_first = sorted(names, key=lambda name: name.at, reverse=True)
        return filter(None, abreast(self._store, self._load, newest_first))

    def _load(self, name: ProofName) -> PointProof | None:
        try:
            content = self._framer.unwrap(Kind.NOTE, self._store.get(name.blob), name=name.blob)
            proof = from_json(PointProof, bytes(content))
            if proof.id != name.id or blob_of_ref(proof.point) != name.manifest:
                raise CorruptError("it is another point's")
        except BlobNotFoundError:
            return None  # it was removed just now
        except (CorruptError, NotFoundError, ValueError) as error:
            why = str(error).splitlines()[0]
            if name.result is ProofResult.FAILED:
                return unread_failure(name, why)
            log.warning("%s: a proof cannot be read, and counts as none: %s", name.blob, why)
            return None
        return proof

    def _trim(self, ref: str, kind: ProofKind) -> None:
        """Remove the oldest proofs of a kind, beyond those that are kept of each series and result."""
        alike: defaultdict[tuple[ProofResult, str], list[ProofName]] = defaultdict(list)
        for name in names_below(self._store, prefix_of(ref)):
            if name.kind is kind:
                alike[name.result, name.series].append(name)
        for names in alike.values():
            for old in sorted(names, key=lambda name: name.at)[:-KEPT_PROOFS]:
                self._remove(old.blob, old.files)

    def _remove(self, key: str, files: Iterable[str]) -> None:
        """Remove a proof, and then its files, so that no proof is seen without its files."""
        self._store.delete(key)
        for name in files:
            self._store.delete(f"{key},{name}")

    def _put(self, key: str, content: Bytes) -> None:
        self._store.put(key, self._framer.wrap(Kind.NOTE, content, name=key))


def _is_kept(name: str, content: Bytes) -> bool:
    if _FILE_NAME.fullmatch(name) is None:
        raise ValueError(f"not the name of a proof's file: {name!r}")
    if len(content) <= MAX_FILE:
        return True
    log.warning("%s has %s, too many to be kept with a proof, and is left out", name, size_words(len(content)))
    return False


def _bounded(proof: PointProof) -> dict[str, object]:
    """Return the details without the largest ones, if all together are too large to keep."""
    kept = dict(proof.details)
    lengths = {name: len(to_json(value)) for name, value in kept.items()}
    left = []
    while lengths and len(to_json(kept)) > MAX_DETAILS:
        largest = max(lengths, key=lambda name: lengths[name])
        left.append(f"{largest} had {size_words(lengths.pop(largest))}, too many to keep")
        del kept[largest]
        kept["left_out"] = left
    return kept
