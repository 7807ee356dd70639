"""Checks a whole repository: its structure, its content if asked, and whether every restore point is complete.

One check finds everything there is to find, because a finding is a value and not an exception. A check changes only the
notes of known damage, so that the next backup stores again what is lost. Running backups and maintenance may make
something look lost, so whatever seems lost is looked for once more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from vmkeep.blobs import BlobInfo, BlobStore, abreast, confirm_lists
from vmkeep.errors import BlobNotFoundError, CorruptError, PermissionDeniedError, RepositoryError, StoreError
from vmkeep.model.job import Progress
from vmkeep.repository.blocks import ReadBuffers
from vmkeep.repository.checks import indexcheck as indexes
from vmkeep.repository.checks.findings import Finding, Findings, Trouble
from vmkeep.repository.checks.indexcheck import IndexCheck, IndexFaults
from vmkeep.repository.checks.packcheck import damaged_frames, good_frames, pack_id_of, read_ends
from vmkeep.repository.checks.pointcheck import PointCheck, check_points, report
from vmkeep.repository.checks.seenpages import SeenPages
from vmkeep.repository.folders import DAMAGE, INDEX, MARKS, PACKS, PLANS, POINTS, SEALED, SWEEPS
from vmkeep.repository.frames import Framer, Kind, PackContents, pack_key
from vmkeep.repository.notes import BadFrame, DamageNotes, PackDamage, PackState, sealednotes
from vmkeep.repository.points import Manifests
from vmkeep.repository.unlock import Slots, descriptor

T = TypeVar("T")

_NOTES = (MARKS, SEALED, PLANS, SWEEPS, DAMAGE)
"""Folders of notes that outlive a run."""
_WHOLE = 16 << 20
"""Size up to which a pack of map pages is read as a whole, in bytes."""


class _OfThread(threading.local):
    """The buffers of one thread, because the first touch of their memory costs more than a read into it."""

    def __init__(self) -> None:
        self.buffers = ReadBuffers()


class Check:
    """One check of one repository."""

    def __init__(
        self,
        store: BlobStore,
        framer: Framer,
        *,
        slots: Slots,
        notes: DamageNotes,
        excused: Callable[[], frozenset[bytes]],
        points: Callable[[], PointCheck],
        reads: Callable[[bytes], bool],
        on_progress: Callable[[Progress], None],
    ) -> None:
        """Prepare the check.

        :param excused: returns the packs that maintenance is deleting, or has deleted.
        :param points: makes the check of the points, from the store and the damage known by then.
        :param reads: returns whether to read a pack's data.
        """
        self._store = store
        self._framer = framer
        self._slots = slots
        self._notes = notes
        self._sealed = sealednotes.SealedNotes(store, framer)
        self._excused = excused
        self._points = points
        self._reads = reads
        self._on_progress = on_progress
        self._findings = Findings()
        self._seen = SeenPages()
        self._sums: dict[bytes, indexes.Sum] = {}
        """The expected sums over the index entries of each pack whose footer is good."""
        known = notes.load()
        self._known, self._known_segments = known.packs, known.segments
        self._condemned = excused()
        self._damage = dict(self._known)
        """The damage that is known so far."""
        self._of_thread = _OfThread()
        self._lock = threading.Lock()
        self._done = self._total = 0

    def run(self) -> list[Finding]:
        """Return every problem that the repository has.

        :raises StoreError: the store lists not all that there is, so that problems would be missing, too.
        """
        confirm_lists(self._store)
        self._check_descriptor()
        self._check_slots()
        self._check_notes()
        packs = list(self._store.list(PACKS))
        self._total = sum(map(self._weight, packs)) + sum(blob.size for blob in self._store.list(INDEX))
        deque(abreast(self._store, self._check_pack, packs, computes=True), maxlen=0)
        self._judge(IndexCheck(self._store, self._framer, read=self._advance).run(self._sums))
        self._remember()
        self._check_points()
        return self._findings.all()

    def _weight(self, pack: BlobInfo) -> int:
        """Return a pack's share of the check's progress: its bytes if its data is read, else a few for its footer."""
        try:
            return pack.size if self._reads(pack_id_of(pack.key)) else 1
        except CorruptError:
            return 1

    def _blame(self, pack: bytes, trouble: Trouble, where: str, what: object) -> None:
        """Add a finding about a pack. If maintenance is about to delete the pack, it counts only for points."""
        if pack not in self._condemned:
            self._findings.add(trouble, where, what)

    def _check_descriptor(self) -> None:
        try:
            descriptor.load(self._store)
        except (CorruptError, RepositoryError) as error:
            self._findings.add(Trouble.STRUCTURE, descriptor.KEY, error)

    def _check_slots(self) -> None:
        for key, why in self._slots.read()[1].items():
            self._findings.add(Trouble.STRUCTURE, key, f"key slot {why}")

    def _check_notes(self) -> None:
        notes = (blob for prefix in _NOTES for blob in self._store.list(prefix))
        deque(abreast(self._store, self._check_note, notes), maxlen=0)

    def _check_note(self, blob: BlobInfo) -> None:
        try:
            if blob.key.startswith(SEALED):
                self._sealed.load(POINTS + blob.key.removeprefix(SEALED))
            else:
                self._framer.unwrap(Kind.NOTE, self._store.get(blob.key), name=blob.key)
        except BlobNotFoundError:
            return
        except CorruptError as error:
            self._findings.add(Trouble.STRUCTURE, blob.key, error)

    def _check_pack(self, blob: BlobInfo) -> None:
        try:
            pack = pack_id_of(blob.key)
        except CorruptError as error:
            self._findings.add(Trouble.STRUCTURE, blob.key, error)
            return
        try:
            contents, tail = read_ends(self._store, self._framer, blob.key, blob.size)
        except BlobNotFoundError:
            return  # removed by maintenance since we listed
        except CorruptError as error:
            self._blame(pack, Trouble.STRUCTURE, blob.key, error)
            self._advance(self._weight(blob))
            with self._lock:
                before = self._known.get(pack)
                self._damage[pack] = PackDamage(
                    pack=pack.hex(),
                    state=PackState.BROKEN,
                    reason=str(error),
                    frames=before.frames if before else (),
                )
            return
        total = indexes.sum_of(contents)
        with self._lock:
            self._sums[pack] = total
        if self._reads(pack):
            self._check_frames(blob.key, contents)
        else:
            self._recall(blob.key, pack)
            if contents.kind is Kind.PAGE:
                self._see(blob, contents, tail)
            self._advance(1)

    def _see(self, blob: BlobInfo, contents: PackContents, tail: bytes) -> None:
        """Read the pages of a pack at once. One that cannot be read is judged when a point needs it."""
        if not contents.count or blob.size > _WHOLE or not self._seen.has_room_for(contents):
            return
        start, stored = blob.size - len(tail), tail
        if start > contents.offsets[0]:
            start = int(contents.offsets[0])
            try:
                stored = self._store.get_range(blob.key, start, blob.size - start)
            except BlobNotFoundError:
                return
        digests = {int(contents.offsets[row]): contents.digest(row) for row in range(contents.count)}
        for offset, content in good_frames(self._framer, blob.key, contents, start, stored):
            self._seen.add(contents.pack_id, offset, digests[offset], content)

    def _check_frames(self, key: str, contents: PackContents) -> None:
        """Read a pack's data.

        A bad frame is read twice, because the transfer may be at fault and not the stored bytes.
        """
        try:
            scratch = self._of_thread.buffers
            bad = dict(damaged_frames(self._store, self._framer, key, contents, self._advance, scratch=scratch))
            if bad:
                again = dict(damaged_frames(self._store, self._framer, key, contents, scratch=scratch))
                bad = {row: reason for row, reason in again.items() if row in bad}
        except BlobNotFoundError:
            return
        for row, reason in bad.items():
            place = key if row < 0 else f"{key}, byte {contents.offsets[row]}"
            self._blame(contents.pack_id, Trouble.DIGEST, place, reason)
        frames = tuple(
            BadFrame(offset=contents.offsets[row], digest=contents.digest(row).hex()) for row in sorted(bad) if row >= 0
        )
        with self._lock:
            self._damage.pop(contents.pack_id, None)
            if frames:
                self._damage[contents.pack_id] = PackDamage(
                    pack=contents.pack_id.hex(), state=PackState.FRAMES, reason="a check read its data", frames=frames
                )

    def _recall(self, key: str, pack: bytes) -> None:
        """Report the damage that an earlier check found in a pack whose data is not read now."""
        if (known := self._known.get(pack)) is None:
            return
        since = f" since {known.since:%Y-%m-%d %H:%M} UTC" if known.since else ""
        for frame in known.frames:
            place = f"{key}, byte {frame.offset}"
            self._blame(pack, Trouble.DIGEST, place, f"known to be damaged{since}; not read now")
        with self._lock:
            self._damage.pop(pack)
            if known.frames:
                self._damage[pack] = PackDamage(
                    pack=known.pack, state=PackState.FRAMES, reason=known.reason, frames=known.frames
                )

    def _judge(self, verdict: IndexFaults) -> None:
        """Report the faults of the index, and the packs that it names although they do not exist."""
        for key, why in verdict.damaged.items():
            self._findings.add(Trouble.STRUCTURE, key, why)
        for pack in sorted(verdict.wrong):
            self._blame(pack, Trouble.STRUCTURE, pack_key(pack), "the index does not say what it holds")
        self._note_segments(verdict.damaged)
        lost = {pack for pack in verdict.listed if pack not in self._sums and not self._exists(pack_key(pack))}
        if lost:
            lost -= self._excused()
        for pack in sorted(lost):
            self._findings.add(Trouble.MISSING, pack_key(pack), "lost: the index points to it")
            self._damage[pack] = PackDamage(pack=pack.hex(), state=PackState.LOST, reason="there is no such pack")
        for pack in [pack for pack in self._damage if pack not in verdict.listed and not self._exists(pack_key(pack))]:
            del self._damage[pack]

    def _exists(self, key: str) -> bool:
        try:
            self._store.size(key)
        except (BlobNotFoundError, CorruptError):  # or it is there and is no file
            return False
        return True

    def _note_segments(self, damaged: dict[str, str]) -> None:
        known = self._known_segments
        with self._writing():
            new = damaged.keys() - known.keys()
            self._for_each(lambda key: self._notes.remember_segment(key, damaged[key]), new)
            self._for_each(self._notes.forget_segment, known.keys() - damaged.keys())

    def _remember(self) -> None:
        """Write down the damage that was found, and remove the notes about what is good again."""
        with self._writing():
            known, found = self._known, self._damage
            self._for_each(lambda pack: self._notes.remember(found[pack], before=known.get(pack)), found)
            self._for_each(self._notes.forget, known.keys() - found.keys())

    def _for_each(self, write: Callable[[T], object], items: Iterable[T]) -> None:
        """Write several notes at a time."""
        for _ in abreast(self._store, write, items):
            pass

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Report a failure to write instead of raising it, because a person who checks may lack the right to write."""
        try:
            yield
        except (StoreError, PermissionDeniedError) as error:
            self._findings.add(Trouble.STRUCTURE, DAMAGE, f"the damage that was found cannot be noted here: {error}")

    def _check_points(self) -> None:
        manifests = Manifests(self._store, self._framer)
        noted = self._sealed.noted()
        blobs = list(self._store.list(POINTS))
        for gone in self._sealed.gone(noted, {blob.key for blob in blobs}):
            self._findings.add(Trouble.MISSING, f"{POINTS}{gone.folder}/", gone.finding)
        looked_at = check_points(self._store, manifests, blobs, self._points, seen=self._seen)
        for key, found in looked_at:
            if isinstance(found, CorruptError):
                self._findings.add(Trouble.STRUCTURE, key, found)
            elif found.damage is not None:
                report(found.damage, self._findings)

    def _advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            event = Progress(phase="check", bytes_done=min(self._done, self._total), bytes_total=self._total)
        self._on_progress(event)
