"""The names of proofs. They tell most of what a look at all points asks, so that few proofs have to be read."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from vmkeep.blobs import BlobStore
from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.repository.folders import POINTS, PROOFS
from vmkeep.repository.points import blob_of_ref, parse_key

_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"
_PARTS: Final = 4
"""Parts of a proof's own name. One more is the name of a file that is kept with it."""


@dataclass(frozen=True, slots=True)
class ProofName:
    """The facts about a proof that the name of its blob tells, before the blob is read."""

    manifest: str
    """Blob key of the point's manifest."""
    kind: ProofKind
    at: datetime
    result: ProofResult
    id: str
    blob: str
    files: tuple[str, ...] = ()
    """The names of the small files that are kept with it."""

    @property
    def series(self) -> str:
        """Digest of the proof's series; empty: it has none."""
        return self.id.rpartition(",")[2].partition("-")[2]


def prefix_of(ref: str) -> str:
    """Return the prefix of the proofs of a point."""
    return f"{PROOFS}{blob_of_ref(ref).removeprefix(POINTS)}/"


def new_identity(proof: PointProof) -> str:
    """Return a name for a proof that no other one has."""
    suffix = f"-{hashlib.sha256(proof.series.encode()).hexdigest()[:8]}" if proof.series else ""
    return f"{proof.kind},{proof.at.strftime(_STAMP)},{proof.result},{secrets.token_hex(4)}{suffix}"


def names_below(store: BlobStore, prefix: str) -> Iterator[ProofName]:
    """Yield the names of the proofs below a prefix. List blobs without reading any."""
    return parsed(blob.key for blob in store.list(prefix))


def parsed(keys: Iterable[str]) -> Iterator[ProofName]:
    """Yield the proofs among some keys. Leave out kinds of newer programs, foreign blobs, and files without a proof.

    :param keys: sorted, so that the files of a proof follow it.
    """
    for blob, listed in groupby(keys, key=_proof_of):
        if next(listed) == blob:
            files = tuple(key.removeprefix(f"{blob},") for key in listed)
            if (name := _parse(blob, files)) is not None:
                yield name


def _proof_of(key: str) -> str:
    """Return the key of the proof that a key belongs to: its own, or that of the file's proof."""
    point, _, identity = key.rpartition("/")
    return f"{point}/{','.join(identity.split(',')[:_PARTS])}"


def _parse(key: str, files: tuple[str, ...]) -> ProofName | None:
    point, _, identity = key.removeprefix(PROOFS).rpartition("/")
    parts = identity.split(",")
    if len(parts) != _PARTS:
        return None
    try:
        at = datetime.strptime(parts[1], _STAMP).replace(tzinfo=UTC)
        return ProofName(POINTS + point, ProofKind(parts[0]), at, ProofResult(parts[2]), identity, key, files)
    except ValueError:
        return None


def unread_failure(name: ProofName, why: str) -> PointProof:
    """Return all that the name of a failed check tells. Its damage must not make the point good."""
    remedy = f"put {name.blob} back, or delete it if it is lost, and check the point again"
    return PointProof(
        kind=name.kind,
        result=name.result,
        at=name.at,
        text=f"the proof of this failure cannot be read ({why}): {remedy}",
        point=parse_key(name.manifest).ref,
        id=name.id,
    )
