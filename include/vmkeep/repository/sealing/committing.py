"""Commits a restore point: makes sure that everything it names is there and stays, then puts its manifest.

It carries out the sealer's side of the handshake with maintenance (:mod:`vmkeep.repository.sealing.handshake`). The
intent is put before anything is looked up. Right before and right after the commit, the sealer looks whether the intent
still stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from vmkeep.blobs import BlobStore
from vmkeep.errors import BlobNotFoundError, CorruptError, LockedError, StaleError, VmKeepError
from vmkeep.model.point import RestorePoint
from vmkeep.repository.blocks import BlockReader
from vmkeep.repository.frames import DIGEST_SIZE, ZERO, Framer, Kind
from vmkeep.repository.index import Index
from vmkeep.repository.maps import ROOT_SIZE, parse_root
from vmkeep.repository.notes import PointMarks, SealedNotes, SweepRecords
from vmkeep.repository.points import Manifests, blob_of_ref
from vmkeep.repository.sealing import handshake
from vmkeep.repository.sealing.handshake import StandingIntent


class Sealable(Protocol):
    """The parts of a repository that a seal works with; :class:`vmkeep.repository.Repository` has them."""

    @property
    def blobs(self) -> BlobStore:
        """The store."""

    @property
    def framer(self) -> Framer:
        """The writer and reader of frames."""

    @property
    def sweep_records(self) -> SweepRecords:
        """The records of sweeps."""

    @property
    def manifests(self) -> Manifests:
        """The restore points."""

    @property
    def sealed_notes(self) -> SealedNotes:
        """The notes of sealed points."""

    @property
    def marks(self) -> PointMarks:
        """The known damage of points."""

    def fresh_index(self) -> Index:
        """Load the index anew and return it."""

    def open_blocks(self) -> BlockReader:
        """Return a reader of blocks and pages."""


def commit(repository: Sealable, point: RestorePoint, begun: str | None) -> str:
    """Commit a point; return the ref of its run's point, which another try may have sealed. See `Repository.seal`.

    Whether another try has sealed it is looked for right before the manifest is put, and before a walk, because that
    may take long.
    """
    store, framer = repository.blobs, repository.framer
    maps = _maps(point)
    for name, root in maps:
        with _cannot_be_sealed(point, name):
            root_digest(root)
    roots = [root for _, root in maps]
    with handshake.intent(store, framer, point.run, point.vm.key, roots) as intent:
        if handshake.is_unswept(store, framer, point.run, begun):
            _require_unswept_maps(repository, point, roots, intent)
        elif (before := repository.manifests.sealed_by(point)) is not None:
            return _require_sealed(repository, before)
        else:
            if begun is None and not repository.sweep_records.over():
                _require_maps(repository, point)  # no pack was ever swept, so a missing block was never there
            handshake.walk(store, framer, roots, repository.fresh_index)
        if not intent.stands:
            raise StaleError(
                f"{point.vm.name}: nothing is sealed, because maintenance took this process for dead: it stood still "
                f"for days; start run {point.run} again"
            )
        sealed = repository.manifests.seal(point)
        if not sealed.ours:
            return _require_sealed(repository, sealed.ref)
        if not intent.stands:
            _look_again(repository, point, roots)
    return sealed.ref


def _require_unswept_maps(
    repository: Sealable, point: RestorePoint, roots: Sequence[str], intent: StandingIntent
) -> None:
    try:
        _require_maps(repository, point)
    except CorruptError:
        if not intent.stands:  # maintenance took this process for dead, so the data was deleted and is not damaged
            handshake.walk(repository.blobs, repository.framer, roots, repository.fresh_index)
        raise


def _look_again(repository: Sealable, point: RestorePoint, roots: Sequence[str]) -> None:
    """Walk a point that was sealed although its intent was removed; take the point back if its data is not complete.

    The intent is removed when maintenance takes this process for dead, and may then delete packs. A prune, or a retry
    of the run, may have put the point's note meanwhile. So the note is removed as when a point is forgotten: before the
    manifest, and again after it.
    """
    try:
        handshake.walk(repository.blobs, repository.framer, roots, repository.fresh_index)
    except VmKeepError:
        manifest = blob_of_ref(point.ref)
        repository.sealed_notes.forget(manifest)
        try:
            repository.blobs.delete(manifest)
        except LockedError:
            repository.marks.mark_damaged(point.ref, (), reason="maintenance deleted blocks of it while it was sealed")
        else:
            repository.sealed_notes.forget(manifest)
        raise


def _require_sealed(repository: Sealable, ref: str) -> str:
    """Return the ref of a point that another try has sealed, if it is complete, because that try may take it back.

    :raises StaleError: the point is gone or not complete; the run has to start again.
    """
    manifest = blob_of_ref(ref)
    try:
        roots = [root for _, root in _maps(repository.manifests.load(manifest))]
        handshake.walk(repository.blobs, repository.framer, roots, repository.fresh_index)
        repository.blobs.size(manifest)
    except BlobNotFoundError as error:
        raise StaleError(f"{ref}: was sealed, and forgotten or taken back meanwhile; start the run again") from error
    return ref


def _require_maps(repository: Sealable, point: RestorePoint) -> None:
    """Require that the root of each map can be read. Read them together, because one pack mostly has several."""
    blocks = repository.open_blocks()
    digests = [(name, root_digest(root)) for name, root in _maps(point)]
    pages: Mapping[bytes, bytes] = {}
    with suppress(CorruptError):  # it does not tell which map: each one is read by itself then
        pages = blocks.get_pages([digest for _, digest in digests], size=ROOT_SIZE)
    for name, digest in digests:
        with _cannot_be_sealed(point, name):
            content = pages.get(digest) or blocks.get_pages([digest], size=ROOT_SIZE)[digest]
            shape, top = parse_root(content)
            if top != ZERO:
                blocks.locate(Kind.PAGE if shape.levels else Kind.BLOCK, top)


def _maps(point: RestorePoint) -> list[tuple[str, str]]:
    """Return the name and the root of every map that a point names."""
    return [(image.disk.label, image.root) for image in point.images] + list(point.attachments.items())


@contextmanager
def _cannot_be_sealed(point: RestorePoint, name: str) -> Iterator[None]:
    try:
        yield
    except CorruptError as error:
        raise CorruptError(f"{point.vm.name}: '{name}' cannot be sealed: {error}") from error


def root_digest(root: str) -> bytes:
    """Return the digest of a map's root page.

    :param root: the digest in hex.
    :raises CorruptError: the text is not a digest in hex.
    """
    try:
        digest = bytes.fromhex(root)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_SIZE:
        raise CorruptError(f"not the digest of a map: {root!r}")
    return digest
