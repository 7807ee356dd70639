"""Reads properties by path: stored, computed, or a neutral default; through nested objects and keyed arrays.

`config.hardware.device[2000].backing.fileName` follows the run-time type at every step. A list gets the declared array
type, because an anyType answer needs one. The caller holds the world's lock.
"""

from functools import lru_cache
from typing import Any

from vmlab.api import F_OPTIONAL, DataObject, default_for, type_of, vmodl
from vmlab.managed.properties.unreachable_vms import hides
from vmlab.managed.site import Site, find_computed


def _kind(value: Any) -> Any:
    return type(value)


@lru_cache(maxsize=4096)
def _property_info(kind: Any, name: str) -> Any:
    try:
        return kind._GetPropertyInfo(name)
    except AttributeError:
        return None


@lru_cache(maxsize=256)
def property_names(kind: Any) -> tuple[str, ...]:
    """All property names of a managed object's type."""
    return tuple(info.name for info in kind._GetPropertyList())


def declared(kind: Any, path: str) -> Any:
    """Return the type of a path in a managed type, or None if it depends on the type of a value on the way.

    Raises the InvalidProperty fault if the managed type has no such property.
    """
    names = [name for name, _ in split(path)]
    info = _property_info(kind, names[0])
    if info is None:
        raise vmodl.query.InvalidProperty(name=path, msg=f"{kind.__name__} has no property {path}")
    for name in names[1:]:
        inner = getattr(info.type, "Item", info.type)
        info = _property_info(inner, name) if issubclass(inner, DataObject) else None
        if info is None:
            return None
    return info.type


def read_property(site: Site, ref: Any, name: str) -> Any:
    """Read one whole property. Raises the InvalidProperty and ManagedObjectNotFound faults."""
    entry = site.world.entry(ref)
    info = _property_info(_kind(entry.ref), name)
    if info is None:
        raise vmodl.query.InvalidProperty(name=name, msg=f"{type_of(entry.ref).__name__} has no property {name}")
    if hides(site, entry.ref, name):
        return None
    if name in entry.props:
        value = entry.props[name]
    elif compute := find_computed(type(entry.ref), name):
        value = compute(site, entry.ref)
    else:
        value = None if info.flags & F_OPTIONAL else default_for(info.type)
    return _retyped(value, info.type)


def read_path(site: Site, ref: Any, path: str, known: dict[str, Any] | None = None) -> Any:
    """Return the value that a property path names, or None if something on the way is not set.

    `known` keeps whole properties of this object for the next path, and parts that are worked out by themselves: many
    paths lead through one `summary.config`.
    """
    segments = split(path)
    known = {} if known is None else known
    value, done = _start(site, ref, segments, known)
    for name, key in segments[done:]:
        if value is None:
            return None
        info = _property_info(_kind(value), name) if isinstance(value, DataObject) else None
        if info is None:
            raise vmodl.query.InvalidProperty(name=path, msg=f"{name}: no such property in path {path}")
        value = _select(_retyped(getattr(value, info.name), info.type), key)
        if isinstance(value, list) and not value:
            value = None
    return value


def _start(site: Site, ref: Any, segments: tuple[tuple[str, str], ...], known: dict[str, Any]) -> tuple[Any, int]:
    """Return the value at which a path begins, and the number of segments that lead to it.

    That is a whole property, or a part of one that is worked out by itself, if the property is not known as a whole.
    """
    name, key = segments[0]
    if name not in known and not key and len(segments) > 1:
        part, key_of_part = segments[1]
        where = f"{name}.{part}"
        if where in known:
            return _select(known[where], key_of_part), 2
        if compute := find_computed(type(site.world.entry(ref).ref), where):
            known[where] = compute(site, ref)
            return _select(known[where], key_of_part), 2
    if name not in known:
        known[name] = read_property(site, ref, name)
    return _select(known[name], key), 1


@lru_cache(maxsize=4096)
def split(path: str) -> tuple[tuple[str, str], ...]:
    """`a.b["x.y"].c` → (("a", ""), ("b", "x.y"), ("c", ""))."""
    segments: list[tuple[str, str]] = []
    rest = path
    while rest:
        stop = min((index for index in (rest.find("."), rest.find("[")) if index >= 0), default=len(rest))
        name, rest, key = rest[:stop], rest[stop:], ""
        if rest.startswith("["):
            end = rest.find('"]', 2) + 1 if rest.startswith('["') else rest.find("]")
            if end <= 0:
                break
            key, rest = rest[1:end].strip('"'), rest[end + 1 :]
        segments.append((name, key))
        rest = rest.removeprefix(".")
    return tuple(segments) or (("", ""),)


def _select(value: Any, key: str) -> Any:
    if not key or not isinstance(value, list):
        return value
    return next((item for item in value if str(getattr(item, "key", getattr(item, "_moId", None))) == key), None)


def _retyped(value: Any, kind: Any) -> Any:
    """Return a value as its declared type, because an anyType answer carries it, and an int is no long."""
    if isinstance(value, list):
        return value if isinstance(value, kind) else kind(value)
    plain = type(value)
    if plain in (int, str) and kind is not plain and isinstance(kind, type) and issubclass(kind, plain):
        return kind(value)
    return value
