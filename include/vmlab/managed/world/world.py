"""All managed objects of a site: references with properties, one lock, one revision, lasting transactions.

Properties are replaced and never changed in place, so a value that was read under the lock may be kept. Refuses to know
what a property means. `site.calls` has the computed ones.
"""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vmlab.api import vmodl
from vmlab.managed.world.database import Database


@dataclass(slots=True, kw_only=True)
class Entry:
    """One managed object. A lasting one is kept across restarts; views, filters and tasks are not."""

    ref: Any
    props: dict[str, Any] = field(default_factory=dict)
    lasting: bool = True


def gone(ref: Any) -> Any:
    """The fault for a reference to an object that does not exist (any more)."""
    message = "The object has already been deleted or has not been completely created"
    return vmodl.fault.ManagedObjectNotFound(obj=ref, msg=f"{message}: {ref._moId}")


class World:
    """The objects by id. Every read and every change happens under `lock`."""

    def __init__(self, database: Database) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.revision = 0
        self.stopping = False
        self._database = database
        self._entries: dict[str, Entry] = {}
        self._by_kind: dict[Any, list[Any]] = {}
        self._depth = 0
        self._dirty: set[str] = set()
        self._meta_dirty: dict[str, Any] = {}
        for ref, props in database.objects():
            self._entries[ref._moId] = Entry(ref=ref, props=props)
        self._meta: dict[str, Any] = {}
        self._passing = itertools.count(1)

    # -- reading ------------------------------------------------------------------------------------------------

    def entry(self, ref: Any) -> Entry:
        """The object behind a reference. Raises the ManagedObjectNotFound fault."""
        entry = self._entries.get(ref._moId)
        if entry is None:
            raise gone(ref)
        return entry

    def exists(self, ref: Any) -> bool:
        """Return whether the object behind a reference exists."""
        return ref._moId in self._entries

    def get(self, ref: Any, name: str) -> Any:
        """A stored property, or None if it is not set."""
        return self.entry(ref).props.get(name)

    def all(self, kind: Any) -> list[Any]:
        """References of all objects of a type, in order of creation."""
        if kind not in self._by_kind:
            self._by_kind[kind] = [entry.ref for entry in self._entries.values() if isinstance(entry.ref, kind)]
        return list(self._by_kind[kind])

    def meta(self, name: str) -> Any:
        """A small persistent JSON value, or None."""
        if name not in self._meta:
            self._meta[name] = self._database.meta(name)
        return self._meta[name]

    # -- changing -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make changes inside it persistent, and visible to waiting clients, together at the outermost end."""
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._commit()

    def add(self, ref: Any, *, lasting: bool = True, **props: Any) -> Any:
        """Enter an object; returns its reference."""
        with self.transaction():
            self._entries[ref._moId] = Entry(ref=ref, props=props, lasting=lasting)
            self._forget_kinds(ref)
            self._dirty.add(ref._moId)
        return ref

    def update(self, ref: Any, **props: Any) -> None:
        """Replace some properties of an object."""
        with self.transaction():
            self.entry(ref).props.update(props)
            self._dirty.add(ref._moId)

    def remove(self, ref: Any) -> None:
        """Forget an object."""
        with self.transaction():
            self.entry(ref)
            del self._entries[ref._moId]
            self._forget_kinds(ref)
            self._dirty.add(ref._moId)

    def set_meta(self, name: str, value: Any) -> None:
        """Replace a small persistent JSON value."""
        with self.transaction():
            self._meta[name] = self._meta_dirty[name] = value

    def next_number(self) -> int:
        """Return a number that this site has never given before."""
        with self.transaction():
            number = int(self.meta("next_number") or 1001)
            self.set_meta("next_number", number + 1)
        return number

    def new_ref(self, kind: Any, prefix: str) -> Any:
        """Return a reference that was never used: `vm-1001`."""
        return kind(f"{prefix}-{self.next_number()}")

    def passing_ref(self, kind: Any, prefix: str) -> Any:
        """Return a reference for an object that ends with the server (view, filter, task)."""
        return kind(f"{prefix}-{next(self._passing)}")

    def touch(self) -> None:
        """Tell waiting clients that some computed property may have changed."""
        with self.lock:
            self.revision += 1
            self.changed.notify_all()

    def stop(self) -> None:
        """Wake every waiting client, and let none wait again."""
        with self.lock:
            self.stopping = True
            self.changed.notify_all()

    def _forget_kinds(self, ref: Any) -> None:
        """Forget the lists that a reference belongs to; most calls ask for one of them, and few objects come and go."""
        for kind in [kind for kind in self._by_kind if isinstance(ref, kind)]:
            del self._by_kind[kind]

    def _commit(self) -> None:
        if not self._dirty and not self._meta_dirty:
            return
        entries = {moid: self._entries[moid] for moid in self._dirty if moid in self._entries}
        changed = {moid: (entry.ref, entry.props) for moid, entry in entries.items() if entry.lasting}
        removed = self._dirty - set(self._entries)
        if changed or removed or self._meta_dirty:
            self._database.commit(changed, removed, self._meta_dirty)
        self._dirty.clear()
        self._meta_dirty = {}
        self.touch()
