"""Brings proofs about the content of points to the repository that has copies of the points.

A copy has the same content on its disks, because every block was copied by its digest. So a boot test of the original
proves the copy, too. A proof about stored bytes does not: the copy has bytes of its own, and a check there reads them.
Points are checked long after they were copied, so the proofs of all points that both repositories have are looked at.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import replace

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.model.proofs import ABOUT_CONTENT, PointProof
from vmkeep.repository import ProofName, Repository, find_twin

log = logging.getLogger(__name__)


def bring_proofs(source: Repository, target: Repository) -> None:
    """Bring the proofs that the target lacks, with their files. One that cannot be read stays behind with a warning."""
    there = defaultdict(set)
    for name in target.proofs.names():
        there[name.manifest].add(_facts(name))
    lacking: defaultdict[str, set[str]] = defaultdict(set)
    for name in source.proofs.names():
        if name.kind in ABOUT_CONTENT and _facts(name) not in there[name.manifest]:
            lacking[name.manifest].add(name.id)
    held = {point.blob for point in target.manifests.names()} if lacking else set()
    for point in source.manifests.names() if lacking else ():
        if point.blob in held and (ids := lacking.get(point.blob)):
            _bring_those(point.ref, ids, source, target)


def _bring_those(ref: str, ids: set[str], source: Repository, target: Repository) -> None:
    try:
        if find_twin(source.load_point(ref), source, target) is None:
            return  # another point of that name
        for proof in reversed(source.proofs.of(ref)):
            if proof.id in ids:
                _bring(ref, proof, source, target)
    except (CorruptError, NotFoundError) as error:
        log.warning("proofs of %s stay in %s: %s", ref, source.location, error)


def _bring(ref: str, proof: PointProof, source: Repository, target: Repository) -> None:
    files = {}
    for name in proof.files:
        try:
            files[name] = source.proofs.file(proof, name)
        except (CorruptError, NotFoundError) as error:
            log.warning("a file of a proof stays behind: %s", error)
    target.proofs.add(ref, replace(proof, files={}), files)


def _facts(name: ProofName) -> tuple[object, ...]:
    return name.kind, name.at, name.result
