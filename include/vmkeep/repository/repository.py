"""An open repository on one blob store: the front of all rooms of this package."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from vmkeep.blobs import BlobStore, Meter, abreast, close_store, keep_reserve, together
from vmkeep.errors import (
    BlobNotFoundError,
    CorruptError,
    NotFoundError,
    RepositoryError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.job import Progress
from vmkeep.model.limits import Limit, Usage
from vmkeep.model.point import RestorePoint
from vmkeep.repository.blocks import BlockReader, BlockWriter
from vmkeep.repository.checks import Finding, Places, PointCheck, Slice
from vmkeep.repository.folders import INDEX, PACKS, RUNS
from vmkeep.repository.frames import Framer, Keys
from vmkeep.repository.index import Index
from vmkeep.repository.loading import LoadedIndex
from vmkeep.repository.maps import ROOT_SIZE, DiskMap, MapBuilder, Shape, parse_root, read_content, write_content
from vmkeep.repository.notes import (
    DamageNotes,
    FileLists,
    Forgettings,
    Permits,
    PointMarks,
    PointProofs,
    PointUses,
    RecoveryNotes,
    SealedNotes,
    SweepRecords,
    runs,
    tries,
    usages,
)
from vmkeep.repository.points import (
    Manifests,
    PointName,
    ReadPoint,
    blob_of_ref,
    find_point,
    find_ref,
    keys_of_vm,
    latest_point,
    latest_refs,
    load_ref,
    newest_first,
)
from vmkeep.repository.sealing import commit, handshake, root_digest
from vmkeep.repository.unlock import Descriptor, Slots

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryStats:
    """Counts and sizes of a repository's contents."""

    points: int
    vms: int
    packs: int
    pack_bytes: int
    index_segments: int
    index_bytes: int
    blocks: int
    """Entries of the index: stored blocks and map pages. One that is stored twice counts twice."""
    run_blobs: int


class Repository:
    """An open repository. Thread-safe. It holds no lock, so any number of processes may open one at the same time."""

    def __init__(
        self,
        store: BlobStore,
        descriptor: Descriptor,
        *,
        keys: Keys | None = None,
        cache: Path | None = None,
        meter: Meter | None = None,
        fetched: Mapping[str, bytes] | None = None,
    ) -> None:
        """Read nothing.

        :param fetched: blobs of index segments that were fetched already, by key.
        """
        if descriptor.encrypted != (keys is not None):
            raise RepositoryError(f"{store.location}: an encrypted repository, and no other, takes keys")
        self.descriptor = descriptor
        self.id = descriptor.id
        self.location = store.location
        self.block_size = descriptor.block_size
        self.blobs = store
        self.meter = meter
        self.framer = Framer(codec=descriptor.compression, keys=keys)
        self.slots = Slots(store, descriptor.id)
        self._keys = keys
        self.manifests = Manifests(store, self.framer)
        self.marks = PointMarks(store, self.framer)
        self.proofs = PointProofs(store, self.framer, repository=descriptor.id)
        self.uses = PointUses(store, self.framer)
        self.file_lists = FileLists(store, self.framer)
        self.sealed_notes = SealedNotes(store, self.framer)
        self.forgettings = Forgettings(store, self.framer)
        self.sweep_records = SweepRecords(store, self.framer)
        self.damage = DamageNotes(store, self.framer)
        self.cache = None if cache is None else cache / "vmkeep" / descriptor.id / "index"
        self._index = LoadedIndex(
            store,
            self.framer,
            cache=self.cache,
            damage=self.damage,
            sweep_records=self.sweep_records,
            fetched=fetched,
        )
        self._blocks = BlockReader(store, self.framer, self._index.held)
        self._own_tries: dict[str, list[str]] = defaultdict(list)
        """By run, the tries that writers of this object began. They end when the run seals its point here."""
        self._ended_tries: set[str] = set()
        self._just_begun: set[str] = set()
        """Tries of this object for which no writer was opened yet. Whether they stand need not be asked."""

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Log the counts of the store's calls, and close its connections. Later calls open new connections."""
        close_store(self.blobs)
        if self.meter is not None and (counts := str(self.meter)):
            log.info("%s: %s", self.location, counts)

    @property
    def encrypted(self) -> bool:
        """Whether the repository is encrypted."""
        return self._keys is not None

    def master_key(self) -> bytes:
        """Return the master key, which a new key slot wraps.

        :raises RepositoryError: the repository is not encrypted.
        """
        if self._keys is None:
            raise RepositoryError(f"{self.location}: repository is not encrypted; it has no keys")
        return self._keys.master

    @property
    def index(self) -> Index:
        """The index. It is loaded at the first use."""
        return self._index.get()

    @property
    def stored_index(self) -> Index:
        """The index as it is, for maintenance that opens its segments one by one and looks nothing up."""
        return self._index.held

    def fresh_index(self) -> Index:
        """Load the index anew and return it, for callers that need its state as of now."""
        return self._index.fresh()

    def begin_run(self, run: str) -> str:
        """Record that a try of a run begins; return its id, for :meth:`open_writer` and :meth:`seal`.

        Call this before looking up anything on which the run's restore points may build. If blocks that the try finds
        later are deleted before it seals, :meth:`seal` notices that.
        """
        return tries.begin(self.blobs, self.framer, run)

    @contextmanager
    def at_work(self, run: str) -> Iterator[str]:
        """Begin a try that this process carries out alone, and hold a lease for it until the context is left."""
        with tries.at_work(self.blobs, self.framer, run, ended=self._ended_tries) as begun:
            self._just_begun.add(begun)
            yield begun

    def open_writer(self, *, run: str, begun: str | None = None, alone: bool = False) -> BlockWriter:
        """Return a writer of blocks and map pages for one copy of a run; use it as a context manager.

        :param begun: the id of the try that the writer is part of; ``None``: begin a try for this writer.
        :param alone: leave no block to other writers, because the caller tells the index what to avoid.
        :raises RepositoryError: the repository cannot be written to.
        """
        try:
            if begun in self._just_begun:  # whose blob could be written
                keep_reserve(self.blobs)
            else:
                together(self.blobs, self.blobs.check_writable, lambda: keep_reserve(self.blobs))
        except (StoreFullError, StoreReadOnlyError):
            raise
        except StoreError as error:
            raise RepositoryError(f"{self.location}: cannot be written to for run {run}: {error}") from error
        return self._open_writer(run, begun, None if alone else self._index.refresh)

    def open_mover(self, *, run: str, begun: str | None = None) -> BlockWriter:
        """Return a writer for maintenance, which moves stored content.

        It does not check for a full store, and leaves nothing to other writers.
        """
        return self._open_writer(run, begun, None)

    def _open_writer(self, run: str, begun: str | None, refresh: Callable[[], None] | None) -> BlockWriter:
        stands = begun in self._just_begun
        begun_try = tries.BegunTry(self.blobs, self.framer, run, begun, stands=stands)  # before the index is loaded
        self._just_begun.discard(begun_try.id)
        if begun_try.id != begun:
            self._own_tries[run].append(begun_try.id)
        self._index.refresh()
        return BlockWriter(self.blobs, self.framer, self._index.held, begun_try, refresh=refresh)

    def open_blocks(self) -> BlockReader:
        """Return the reader of blocks."""
        self._index.get()
        return self._blocks

    def open_map(self, root: str, *, what: str | None = None) -> DiskMap:
        """Return the map with a root.

        :param what: the owner of the map, for errors.
        :raises CorruptError: the map is not in the repository, or is damaged.
        """
        try:
            reader = self.open_blocks()
            digest = root_digest(root)
            content = reader.get_pages([digest], size=ROOT_SIZE)[digest]
            shape, top = parse_root(content)
        except CorruptError as error:
            if what is None:
                raise
            raise CorruptError(f"{what}: map root: {error}") from error
        return DiskMap(root, shape, top, lambda digests, size: reader.get_pages(digests, size=size))

    def build_map(self, writer: BlockWriter, *, capacity: int, base: DiskMap | None = None) -> MapBuilder:
        """Return a builder for the map of a disk of ``capacity`` bytes.

        :param base: the map to start from; ``None``: zeros.
        """
        shape = Shape(capacity=capacity, block_size=self.block_size)
        return MapBuilder(shape, writer, self.framer.digester, base=base)

    def seal(self, point: RestorePoint, *, begun: str | None = None) -> str:
        """Commit a restore point and return its ref. From then on the point exists.

        Before the commit, this makes sure that everything the point names is there and stays, even if maintenance runs
        at the same time; see :mod:`vmkeep.repository.sealing.handshake`. A second seal in the same run returns the
        first one's point, because retries share the id that :func:`~vmkeep.repository.points.point_id` gives.

        :param begun: the id of the try in which everything was found and stored that the point names; the try ends
            with this call. ``None``: walk all maps of the point.
        :raises CorruptError: a map that the point names is not in the repository.
        :raises StaleError: maintenance deleted data that the run had found; the run has to start again.
        """
        sealed = commit(self, point, begun)
        self.sealed_notes.try_to_remember(blob_of_ref(sealed), point.vm.name)
        for ended in (*self._own_tries.pop(point.run, ()), begun):
            if ended is not None and tries.end(self.blobs, point.run, ended):
                self._ended_tries.add(ended)
        return sealed

    def require_unswept(self, roots: Sequence[str], *, run: str, begun: str | None) -> None:
        """Return if maintenance has deleted no data of maps that are not sealed yet, or were forgotten meanwhile.

        Only :meth:`seal` settles this for good. Before the seal, call this to explain why data can be missing.

        :raises StaleError: maintenance has deleted data of these maps.
        """
        if not handshake.is_unswept(self.blobs, self.framer, run, begun):
            handshake.walk(self.blobs, self.framer, roots, self.fresh_index)

    def points(self, vm_key: str | None = None) -> Iterator[RestorePoint]:
        """Yield all restore points, or those of one VM, sorted by VM and then by time."""
        for name in self.manifests.names(vm_key):
            with suppress(BlobNotFoundError):  # the point was removed after the listing
                yield self.manifests.load(name.blob)

    def point_refs(self, vm_key: str | None = None) -> Iterator[str]:
        """Yield the refs of all points, or of one VM's points. List blobs without reading any."""
        for name in self.manifests.names(vm_key):
            yield name.ref

    def load_point(self, ref: str) -> RestorePoint:
        """Return the restore point that a full ref names.

        :raises NotFoundError: there is no such point.
        """
        return load_ref(self.manifests, ref)

    def load_points(self, refs: Iterable[str]) -> Iterator[tuple[str, RestorePoint | CorruptError | NotFoundError]]:
        """Yield each of some full refs with its restore point, or with the error. Read several at a time."""

        def load(ref: str) -> tuple[str, RestorePoint | CorruptError | NotFoundError]:
            try:
                return ref, self.load_point(ref)
            except (CorruptError, NotFoundError) as error:
                return ref, error

        return abreast(self.blobs, load, refs, small=True)

    def find_point(self, text: str) -> RestorePoint:
        """Return the point that a person means; see :func:`~vmkeep.repository.points.lookup.find_point`."""
        return find_point(self.manifests, text)

    def find_ref(self, text: str) -> str:
        """Return the ref of the point that a person means, also if its manifest is damaged."""
        return find_ref(self.manifests, text)

    def latest_point(self, vm_key: str) -> RestorePoint | None:
        """Return a VM's newest restore point; ``None``: it has none."""
        return latest_point(self.manifests, vm_key)

    def newest_first(self, vm_key: str, names: Iterable[PointName] | None = None) -> Iterator[ReadPoint]:
        """Yield a VM's restore points, the newest first; see `points.newest.newest_first`."""
        return newest_first(self.manifests, vm_key, names)

    def latest_refs(self, vm_key: str, names: Iterable[PointName] | None = None) -> list[str]:
        """Return the ref of the newest restore point of each VM that has a key; see `points.lookup.latest_refs`."""
        return latest_refs(self.manifests, vm_key, names)

    def keys_of_vm(self, vm: str) -> list[str]:
        """Return the keys of the VMs that a key, a name or an inventory path means."""
        return keys_of_vm(self.manifests, vm)

    def store_attachments(
        self, files: Mapping[str, bytes], *, run: str, begun: str | None = None
    ) -> dict[str, tuple[str, int]]:
        """Store several files together; return the map root and the size in bytes of each, by its name.

        :param begun: the id of the try that this is part of; ``None``: begin one.
        """
        with self.open_writer(run=run, begun=begun) as writer:
            stored = {name: (self.write_attachment(writer, data), len(data)) for name, data in files.items()}
            writer.flush()
        return stored

    def write_attachment(self, writer: BlockWriter, data: bytes) -> str:
        """Add a file's bytes to a writer; return the root of their map. It can be read once the writer is flushed."""
        return write_content(self.build_map(writer, capacity=len(data)), writer, self.framer.digester, data)

    def load_attachment(self, point: RestorePoint, name: str) -> bytes:
        """Return a file that was saved with a restore point, after checking its digests.

        :raises NotFoundError: the point has no file of that name.
        :raises CorruptError: the file is damaged.
        """
        if (root := point.attachments.get(name)) is None:
            has = ", ".join(sorted(point.attachments)) or "none"
            raise NotFoundError(f"restore point {point.ref} has no '{name}'; it has {has}")
        try:
            return read_content(self.open_map(root), self._blocks)
        except CorruptError as error:
            raise CorruptError(f"restore point {point.ref}: '{name}': {error}") from error

    def run(self, run: str) -> runs.RunArea:
        """Return the area of one run."""
        return runs.RunArea(self.blobs, self.framer, run)

    @property
    def recoveries(self) -> RecoveryNotes:
        """The notes of recoveries and drills."""
        return RecoveryNotes(self.blobs, self.framer)

    def permits(self, limit: Limit) -> Permits:
        """Return the permits of one limit."""
        return Permits(self.blobs, self.framer, limit)

    def usages(self) -> list[Usage]:
        """Return the use of every limit for which a permit was taken not long ago, by name."""
        return usages(self.blobs, self.framer)

    def check(
        self,
        *,
        read_data: bool = False,
        part: Slice | None = None,
        on_progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> list[Finding]:
        """Check that the structure of everything is right and complete. Read stored bytes only if asked to.

        Damaged packs are noted. So the next backup that meets one of their blocks stores it again.

        :param read_data: read every stored byte.
        :param part: read every byte of the packs of this slice; ``None``: as ``read_data`` says.
        :returns: the problems that were found; empty: there are none.
        """
        from vmkeep.repository.checks.check import Check  # imported here, because it loads numpy, which takes long

        check = Check(
            self.blobs,
            self.framer,
            slots=self.slots,
            notes=self.damage,
            excused=self.sweep_records.avoided,
            points=self.point_check,
            reads=(lambda _pack: read_data) if part is None else part.holds,
            on_progress=on_progress,
        )
        return check.run()

    def point_check(self) -> PointCheck:
        """Return a checker of points, which uses the index and the known damage as of now."""
        self._index.refresh()
        return PointCheck(self._blocks, Places(self.blobs, self._index.held, self._blocks, self.damage.load().packs))

    def stats(self) -> RepositoryStats:
        """Count the contents of the repository, and sum up their sizes."""
        names = list(self.manifests.names())
        packs = [blob.size for blob in self.blobs.list(PACKS)]
        segments = [blob.size for blob in self.blobs.list(INDEX)]
        return RepositoryStats(
            points=len(names),
            vms=len({name.vm_key for name in names if not is_host_key(name.vm_key)}),
            packs=len(packs),
            pack_bytes=sum(packs),
            index_segments=len(segments),
            index_bytes=sum(segments),
            blocks=self.index.entries,
            run_blobs=sum(1 for _ in self.blobs.list(RUNS)),
        )
