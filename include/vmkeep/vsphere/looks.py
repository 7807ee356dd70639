"""Reads in one call the facts about a VM that several readers need, and lets each of them ask as if it were alone.

A backup describes its VM, checks rights on it, looks for its datastores and saves its configuration. Each of these
reads some properties of the same few objects, and each call costs vCenter more than its content does. In the body of
:func:`look_at`, the functions of :mod:`vmkeep.vsphere.properties` answer from what the one call brought.

All answers are of the time at which the body begins. So nothing in a body may change the VM, or wait for a change.
A property that the look did not bring, or that the user may not read, is asked for as without a look, and raises its
own fault there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of

_MISSING: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The properties that one call brought, by moref and path. Paths that the user may not read are left out."""

    session: Any
    objects: Mapping[str, Mapping[str, Any]]

    def values_of(self, managed: Any, paths: Sequence[str]) -> dict[str, Any] | None:
        """Return these properties of an object; ``None``: the look does not know all of them."""
        known = self.objects.get(moref_of(managed))
        if known is None:
            return None
        values = {path: _found(known, path) for path in paths}
        return None if any(value is _MISSING for value in values.values()) else values


_current: ContextVar[Look | None] = ContextVar("look", default=None)


@contextmanager
def looking(look: Look) -> Iterator[None]:
    """Answer from a look in the body, in this thread."""
    token = _current.set(look)
    try:
        yield
    finally:
        _current.reset(token)


def seen(session: Any, managed: Any, paths: Sequence[str]) -> dict[str, Any] | None:
    """Return properties of an object from the current look; ``None``: they have to be asked for."""
    look = _current.get()
    return look.values_of(managed, paths) if look is not None and look.session is session else None


def all_seen(session: Any) -> Mapping[str, Mapping[str, Any]]:
    """Return everything that the current look knows, by moref."""
    look = _current.get()
    return look.objects if look is not None and look.session is session else {}


def _found(known: Mapping[str, Any], path: str) -> Any:
    """Return a property, or a part of one that was read as a whole."""
    if path in known:
        return known[path]
    whole, _, part = path.rpartition(".")
    if not whole:
        return _MISSING
    owner = _found(known, whole)
    if owner is _MISSING or owner is None:
        return owner
    return getattr(owner, part, _MISSING)
