"""Looks at a whole repository: structure, then content (if asked), then whether every restore point is complete.

Changes nothing, and finds all there is to find in one go: a finding is a value, not an exception.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from vmkeep.blobs import BlobInfo, BlobStore
from vmkeep.errors import BlobNotFoundError, CorruptError, RepositoryError
from vmkeep.model.job import Progress
from vmkeep.repository import descriptor, index
from vmkeep.repository.columns import U64, Columns, columns_of
from vmkeep.repository.digests import DIGEST_SIZE, Kind
from vmkeep.repository.findings import Finding, Findings, Trouble
from vmkeep.repository.frames import Framer
from vmkeep.repository.manifests import PREFIX as POINTS
from vmkeep.repository.manifests import Manifests
from vmkeep.repository.packcheck import damaged_frames, pack_id_of, read_contents
from vmkeep.repository.packs import PackContents, pack_key
from vmkeep.repository.pointcheck import PointCheck
from vmkeep.repository.reader import BlockReader
from vmkeep.repository.segments import Segment
from vmkeep.repository.slots import Slots

_LIMIT = 1 << 32
_LOST = "lost with its pack"
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)


class Check:
    """One check of one repository."""

    def __init__(
        self,
        store: BlobStore,
        framer: Framer,
        blocks: BlockReader,
        slots: Slots,
        *,
        read_data: bool,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._store = store
        self._framer = framer
        self._blocks = blocks
        self._slots = slots
        self._read_data = read_data
        self._on_progress = on_progress
        self._findings = Findings()
        self._packs: dict[bytes, tuple[int, int]] = {}
        """Pack → number of frames and a sum over them, of the packs whose footer is good."""
        self._bad_packs: dict[bytes, str] = {}
        """Pack → what is wrong with it as a whole, or that it is lost."""
        self._bad: dict[bytes, str] = {}
        """Digest → where its damaged frame is."""
        self._lock = threading.Lock()
        self._done = self._total = 0

    def run(self) -> list[Finding]:
        """Return everything that is wrong."""
        self._check_descriptor()
        self._check_slots()
        packs = list(self._store.list("packs/"))
        segments = list(self._store.list(index.PREFIX))
        self._total = sum(blob.size for blob in (*packs, *segments)) if self._read_data else len(packs) + len(segments)
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as threads:
            list(threads.map(self._check_pack, packs))
        for segment in segments:
            self._check_segment(segment)
        self._check_points()
        return self._findings.all()

    def _check_descriptor(self) -> None:
        try:
            descriptor.load(self._store)
        except (CorruptError, RepositoryError) as error:
            self._findings.add(Trouble.STRUCTURE, descriptor.KEY, error)

    def _check_slots(self) -> None:
        for key, why in self._slots.read()[1].items():
            self._findings.add(Trouble.STRUCTURE, key, f"key slot {why}")

    def _check_pack(self, blob: BlobInfo) -> None:
        try:
            contents = read_contents(self._store, self._framer, blob.key, blob.size)
        except BlobNotFoundError:
            return  # removed by maintenance since we listed
        except CorruptError as error:
            self._findings.add(Trouble.STRUCTURE, blob.key, error)
            with suppress(CorruptError):  # a name that no pack can have
                self._bad_packs[pack_id_of(blob.key)] = f"in the damaged pack {blob.key}"
            self._advance(blob.size if self._read_data else 1)
            return
        with self._lock:
            self._packs[contents.pack_id] = (contents.count, _sum(_marks(columns_of([contents]))))
        if self._read_data:
            self._check_frames(blob.key, contents)
        else:
            self._advance(1)

    def _check_frames(self, key: str, contents: PackContents) -> None:
        for row, reason in damaged_frames(self._store, self._framer, key, contents, self._advance):
            if row < 0:
                self._findings.add(Trouble.DIGEST, key, reason)
                continue
            place = f"{key}, byte {contents.offsets[row]}"
            self._findings.add(Trouble.DIGEST, place, reason)
            with self._lock:
                self._bad[contents.digest(row)] = place

    def _check_segment(self, blob: BlobInfo) -> None:
        self._advance(blob.size if self._read_data else 1)
        try:
            content = self._framer.unwrap(Kind.INDEX, self._store.get(blob.key), name=blob.key, limit=_LIMIT)
            columns = Segment(content).columns()
        except BlobNotFoundError:
            return
        except CorruptError as error:
            self._findings.add(Trouble.STRUCTURE, blob.key, error)
            return
        order = np.argsort(columns.packs, kind="stable")
        bounds = np.searchsorted(columns.packs[order], np.arange(len(columns.table) + 1))
        marks = _marks(columns)[order]
        for row, (pack, _) in enumerate(columns.table):
            listed = marks[bounds[row] : bounds[row + 1]]
            if pack not in self._packs:
                if self._why_bad(pack) == _LOST:
                    self._findings.add(Trouble.MISSING, pack_key(pack), f"lost: {blob.key} points to it")
            elif self._packs[pack] != (len(listed), _sum(listed)):
                self._findings.add(Trouble.STRUCTURE, blob.key, f"does not say what pack {pack.hex()} holds")

    def _why_bad(self, pack: bytes) -> str | None:
        """Return what is wrong with a pack, if anything; one that is new since we listed them is good."""
        if pack in self._packs:
            return None
        if pack not in self._bad_packs:
            try:
                self._store.size(pack_key(pack))
            except BlobNotFoundError:
                self._bad_packs[pack] = _LOST
        return self._bad_packs.get(pack)

    def _check_points(self) -> None:
        manifests = Manifests(self._store, self._framer)
        points = PointCheck(self._blocks, self._findings, self._bad, self._why_bad)
        for blob in self._store.list(POINTS):
            try:
                points.check(manifests.load(blob.key))
            except BlobNotFoundError:
                continue
            except CorruptError as error:
                self._findings.add(Trouble.STRUCTURE, blob.key, error)

    def _advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            event = Progress(phase="check", bytes_done=min(self._done, self._total), bytes_total=self._total)
        self._on_progress(event)


def _marks(columns: Columns) -> U64:
    """Return a number for each entry that depends on all that the entry says, but for its pack."""
    rests = np.ascontiguousarray(columns.rests).view(np.uint64).reshape(-1, (DIGEST_SIZE - 8) // 8)
    parts = columns.prefixes * _MIX[0]
    for column in range(3):
        parts = (parts ^ rests[:, column]) * _MIX[column + 1]
    places = columns.offsets.astype(np.uint64) << np.uint64(32) | columns.lengths.astype(np.uint64)
    mixed = (parts ^ places) * _MIX[0]
    marks: U64 = (mixed ^ mixed >> np.uint64(29)) * _MIX[1]
    return marks


def _sum(marks: U64) -> int:
    """Return what tells apart lists of entries, whatever their order."""
    return int(marks.sum(dtype=np.uint64))
