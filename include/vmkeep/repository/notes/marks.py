"""Stores the marks that people and checks put on restore points after the seal.

The marks are the notes ``marks/<vm>/<point>/pin``, ``…/damaged``, ``…/suspect`` and ``…/trusted``. They are not in
manifests, because manifests never change. This module knows nothing of retention and deletes no restore point. A mark
that cannot be read still counts: a pin still holds the point, and a mark of damage or suspicion still warns.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from vmkeep.blobs import BlobInfo, BlobStore, abreast, confirm_lists, is_there
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError, NotFoundError, UsageError
from vmkeep.model.job import from_plain, to_plain
from vmkeep.repository.folders import MARKS, POINTS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.notes.forgetting import Forgettings
from vmkeep.repository.notes.markvalues import Damage, Lost, Marks, Pin, Suspicion, Trust, is_later, joined
from vmkeep.repository.points import Manifests, blob_of_ref, blobs_of_vms, folder_of, is_cut, parse_key

_PIN = "pin"
_DAMAGED = "damaged"
_SUSPECT = "suspect"
_TRUSTED = "trusted"
_ALL = (_DAMAGED, _SUSPECT, _TRUSTED, _PIN)

M = TypeVar("M")


class PointMarks:
    """The marks of one repository's restore points. Thread-safe; a new mark replaces an older one of its kind."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer
        self._manifests = Manifests(store, framer)
        self._forgettings = Forgettings(store, framer)

    def pin(self, ref: str, *, reason: str, by: str, until: datetime | None = None) -> Pin:
        """Pin a restore point, in place of any pin it has.

        The pin is written first. Then the running prunes and the point itself are looked for. So the pin holds from
        the moment this returns, whatever runs meanwhile; see decision 0008.

        :param ref: a full ref.
        :param until: the time at which the pin ends; ``None``: it holds until somebody takes it off.
        :raises NotFoundError: the point does not exist, or was deleted meanwhile.
        :raises ConflictError: the pin came too late, because a prune has decided to delete the point.
        :raises UsageError: ``until`` is not in the future.
        """
        since = now()
        pin = Pin(reason=reason, by=by, since=since, until=until)
        if not pin.holds(since):
            raise UsageError(f"{ref}: a pin until {until:%Y-%m-%d %H:%M:%S %Z} would be over already")
        confirm_lists(self._store)  # a prune that is missing in a list would delete the point all the same
        before = self.pin_of(ref)
        self._set(ref, _PIN, pin)
        if not self._forgettings.spare(ref):
            if before is None:
                self._clear(ref, _PIN)
            else:
                self._set(ref, _PIN, before)
            raise ConflictError(
                f"{ref}: the pin came too late: a prune that runs, or died within the last week, has decided to delete "
                "this restore point; as long as it is there, 'vmkeep repo copy' brings it to another repository"
            )
        self._require(ref)
        return pin

    def unpin(self, ref: str) -> bool:
        """Take a pin off; return whether there was one."""
        return self._clear(ref, _PIN)

    def pin_of(self, ref: str) -> Pin | None:
        """Return a point's pin, also one that is over. A pin whose blob is damaged never ends."""
        return self._load(ref, _PIN, Pin, lambda why: Pin(reason=why, by="unknown", since=None))

    def is_pinned(self, ref: str, *, at: datetime) -> bool:
        """Return whether a point is pinned at a time, by its blob as stored now, because the caller may delete next."""
        pin = self.pin_of(ref)
        return pin is not None and pin.holds(at)

    def mark_damaged(self, ref: str, lost: Iterable[Lost], *, reason: str = "a check found damage") -> Damage:
        """Mark a point as damaged, in place of an older mark of damage. No increment continues the point from now on.

        :param lost: the lost parts; empty: they are not known.
        :raises NotFoundError: there is no such point.
        """
        damage = Damage(reason=reason, since=now(), lost=tuple(lost))
        self._set(ref, _DAMAGED, damage)
        return damage

    def clear_damaged(self, ref: str) -> bool:
        """Remove a point's mark of damage, because it is whole again; return whether it had one."""
        return self._clear(ref, _DAMAGED)

    def damage_of(self, ref: str) -> Damage | None:
        """Return a point's known loss. A mark that cannot be read stands for a loss of unknown size."""
        return self._load(ref, _DAMAGED, Damage, lambda why: Damage(reason=why, since=None))

    def suspect(self, ref: str, disk: str, *, reason: str) -> Suspicion:
        """Mark one disk of a point as suspect, beside those that are marked already. No increment continues the point.

        :param disk: the disk's label.
        :raises NotFoundError: there is no such point.
        """
        before = self.suspicion_of(ref)
        disks = () if before is not None and not before.disks else (*(before.disks if before else ()), disk)
        suspicion = Suspicion(reason=reason, since=now(), disks=tuple(dict.fromkeys(disks)))
        self._set(ref, _SUSPECT, suspicion)
        return suspicion

    def suspect_ahead(self, ref: str, disks: Iterable[str], *, reason: str) -> None:
        """Mark disks of a point that is about to be sealed, so that nobody ever sees the point without the mark.

        If the point is not sealed after all, its mark stays behind and harms nothing.

        :param disks: the labels of the disks.
        """
        self._put(ref, _SUSPECT, Suspicion(reason=reason, since=now(), disks=tuple(disks)))

    def suspicion_of(self, ref: str) -> Suspicion | None:
        """Return the doubt about a point. A mark that cannot be read stands for a doubt about all its disks."""
        return self._load(ref, _SUSPECT, Suspicion, lambda why: Suspicion(reason=why, since=None))

    def trust(self, ref: str, *, reason: str, by: str) -> Trust | None:
        """Take the suspicion off a point, and keep the reason. Return ``None`` if the point is not suspect.

        The reason is written first, so that no suspicion ends without one.
        """
        suspicion = self.suspicion_of(ref)
        if suspicion is None:
            return None
        trust = Trust(reason=reason, by=by, since=now(), disks=suspicion.disks)
        self._set(ref, _TRUSTED, trust)
        self._clear(ref, _SUSPECT)
        return trust

    def trust_of(self, ref: str) -> Trust | None:
        """Return the reason why a suspicion of the point was taken off last."""
        return self._load(ref, _TRUSTED, Trust, lambda why: Trust(reason=why, by="unknown", since=None))

    def take_over(self, ref: str, theirs: Marks) -> None:
        """Take over the doubt about a point, or its end, from the repository that the point was copied from.

        The later word counts: a suspicion that was taken off here after it arose there stays off. A pin is not taken
        over, because each repository has its own, and damage is not, because a copy is read back.
        """
        ours = self.of(ref)
        if theirs.suspicion is not None:
            both = joined(ours.suspicion, theirs.suspicion)
            if both != ours.suspicion and not is_later(ours.trust, theirs.suspicion):
                self._set(ref, _SUSPECT, both)
        elif theirs.trust is not None and ours.suspicion is not None and is_later(theirs.trust, ours.suspicion):
            self._set(ref, _TRUSTED, theirs.trust)
            self._clear(ref, _SUSPECT)

    def all(self, vm_key: str | None = None) -> dict[str, Marks]:
        """Return the marks by ref: of all points that have any, or of one VM's points. Include points that are gone.

        Foreign files below ``marks/`` are left out.

        :raises StoreError: the store lists not all that there are. A damaged point would count as good.
        """
        confirm_lists(self._store)
        return self._read(self._store.list(MARKS if vm_key is None else f"{MARKS}{folder_of(vm_key)}/"))

    def of_vms(self, vm_keys: Collection[str]) -> dict[str, Marks]:
        """Return the marks of the points of some VMs, as :meth:`all` does."""
        confirm_lists(self._store)
        return self._read(blobs_of_vms(self._store, MARKS, vm_keys))

    def of(self, ref: str) -> Marks:
        """Return all marks of one point."""
        return self._of(ref, _ALL)

    def _read(self, blobs: Iterable[BlobInfo]) -> dict[str, Marks]:
        """Return the marks that were listed, by ref. Each costs one call."""
        listed: defaultdict[str, set[str]] = defaultdict(set)
        for blob in blobs:
            if (key := _marked(blob.key)) is not None:
                listed[key].add(blob.key.rpartition("/")[2])
        kinds = {ref: listed[key] for key, ref in self._refs(listed)}
        found = abreast(self._store, lambda ref: self._of(ref, kinds[ref]), sorted(kinds))
        return {ref: marks for ref, marks in zip(sorted(kinds), found, strict=True) if marks != Marks()}

    def _of(self, ref: str, kinds: Collection[str]) -> Marks:
        """Return the marks of one point, of some kinds. The marks of other kinds are not asked for."""
        return Marks(
            pin=self.pin_of(ref) if _PIN in kinds else None,
            damage=self.damage_of(ref) if _DAMAGED in kinds else None,
            suspicion=self.suspicion_of(ref) if _SUSPECT in kinds else None,
            trust=self.trust_of(ref) if _TRUSTED in kinds else None,
        )

    def forget(self, ref: str) -> None:
        """Remove all marks of a point that is gone."""
        there = {blob.key for blob in self._store.list(_folder(ref))}
        for key in (_key(ref, name) for name in _ALL):
            if key in there:
                self._store.delete(key)

    def _refs(self, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield the keys of manifests, and the refs that listings show for these points."""
        names = list(map(parse_key, keys))
        cut = {name.vm_key for name in names if is_cut(name.vm_key)}
        whole = {name.blob: name.ref for name in self._manifests.names_of(cut)} if cut else {}
        yield from ((name.blob, whole.get(name.blob, name.ref)) for name in names)

    def _set(self, ref: str, name: str, mark: Pin | Damage | Suspicion | Trust) -> None:
        self._require(ref)
        key = self._put(ref, name, mark)
        try:
            self._require(ref)
        except NotFoundError:
            self._store.delete(key)
            raise

    def _put(self, ref: str, name: str, mark: Pin | Damage | Suspicion | Trust) -> str:
        """Store a mark, and return its key."""
        key = _key(ref, name)
        content = json.dumps({"mark": name, "point": ref, **to_plain(mark)}, separators=(",", ":"))
        self._store.replace(key, self._framer.wrap(Kind.NOTE, content.encode(), name=key))
        return key

    def _require(self, ref: str) -> None:
        if not is_there(self._store, blob_of_ref(ref)):
            raise NotFoundError(f"no restore point '{ref}'; see 'vmkeep point list'")

    def _clear(self, ref: str, name: str) -> bool:
        key = _key(ref, name)
        if not is_there(self._store, key):
            return False
        self._store.delete(key)
        return True

    def _load(self, ref: str, name: str, kind: type[M], unreadable: Callable[[str], M]) -> M | None:
        key = _key(ref, name)
        try:
            blob = self._store.get(key)
            fields = json.loads(bytes(self._framer.unwrap(Kind.NOTE, blob, name=key)))
            if not isinstance(fields, dict) or (fields.get("mark"), fields.get("point")) != (name, ref):
                raise CorruptError("it is another point's")
            return from_plain(kind, fields)
        except BlobNotFoundError:
            return None
        except (CorruptError, ValueError) as error:
            return unreadable(f"{key} cannot be read: {str(error).splitlines()[0]}")


def _key(ref: str, name: str) -> str:
    return f"{_folder(ref)}{name}"


def _folder(ref: str) -> str:
    return f"{MARKS}{blob_of_ref(ref).removeprefix(POINTS)}/"


def _marked(key: str) -> str | None:
    """Return the key of the manifest that a mark is about; ``None``: the key is not that of a mark."""
    marked, _, name = key.removeprefix(MARKS).rpartition("/")
    point = parse_key(POINTS + marked)
    return point.blob if name in _ALL and point.vm_key and point.taken_at is not None else None
