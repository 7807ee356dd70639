"""Reads properties in few round trips: many of one object, or a few of many objects, page by page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from vmkeep.errors import TransientError, VmKeepError
from vmkeep.vsphere import looks
from vmkeep.vsphere.api import moref_of, vim, vmodl
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.stub import SessionRenewedError

PAGE = 200
"""Number of objects in one answer. A page of 100 VMs with their devices costs each side some 100 ms."""
WHOLE = 10_000
"""Number of objects in one answer, if only a few short properties of each are read."""
Steps = Sequence[tuple[Any, str]]
"""References to follow, each as a type and a property of that type."""
_TRIES = 3
"""Number of times that objects are read while some of them vanish."""


def read(session: Session, managed: Any, *paths: str) -> dict[str, Any]:
    """Return some properties of one object. Unset properties are ``None``.

    If the user may not read a property, vSphere's fault is raised, so that nothing is left out silently. An object that
    the user may not even see has no content: all of its properties are ``None``.
    """
    if (seen := looks.seen(session, managed, paths)) is not None:
        return seen
    collector = vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=managed)],
        propSet=[collector.PropertySpec(type=type(managed), pathSet=list(paths))],
    )
    values: dict[str, Any] = dict.fromkeys(paths)
    for content in _pages(session, spec):
        for missing in content.missingSet or ():
            raise missing.fault
        values = _values(content, paths)
    return values


def read_each(
    session: Session, objects: Iterable[Any], *paths: str, page: int = PAGE
) -> list[tuple[Any, dict[str, Any]]]:
    """Return some properties of several objects in one call. Unreadable and unset properties are ``None``.

    The objects may be of several types that all have these properties. The call names each type, because vSphere looks
    a property up in the type that is named, and ``ManagedEntity`` has no ``summary``.

    :param page: greatest number of objects in one answer.
    """
    listed = list(objects)
    if not listed:
        return []
    seen = [(managed, values) for managed in listed if (values := looks.seen(session, managed, paths)) is not None]
    if len(seen) == len(listed):
        return seen
    collector = vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=managed) for managed in listed],
        propSet=[collector.PropertySpec(type=kind, pathSet=list(paths)) for kind in dict.fromkeys(map(type, listed))],
    )
    return [(content.obj, _values(content, paths)) for content in _pages(session, spec, page)]


def read_chain(session: Session, start: Any, steps: Steps, path: str) -> Mapping[str, Mapping[str, Any]]:
    """Read one property of an object and of all objects that references lead to from it, in one call.

    :param steps: the references to follow, each as a type and a property of that type.
    :returns: the property and the references of each object, by moref. Unset ones are left out, and so is each object
        that the user may not read.
    """
    if looks.seen(session, start, [path, *(name for kind, name in steps if isinstance(start, kind))]) is not None:
        return {moref: values for moref, values in looks.all_seen(session).items() if path in values}
    collector = vmodl.query.PropertyCollector
    asked = {vim.ManagedEntity: [path]}
    for kind, name in steps:
        asked.setdefault(kind, []).append(name)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=start, selectSet=_walks(steps))],
        propSet=[collector.PropertySpec(type=kind, pathSet=names) for kind, names in asked.items()],
    )
    return {
        moref_of(content.obj): {item.name: item.val for item in content.propSet}
        for content in _all_pages(session, spec, start)
        if not content.missingSet
    }


@contextmanager
def look_at(
    session: Session,
    start: Any,
    *paths: str,
    along: Mapping[tuple[str, Any], Sequence[str]] | None = None,
    steps: Steps = (),
    path: str = "name",
) -> Iterator[None]:
    """Read properties as :func:`take_look` does, and answer from them in the body."""
    with looks.looking(take_look(session, start, *paths, along=along, steps=steps, path=path)):
        yield


def take_look(
    session: Session,
    start: Any,
    *paths: str,
    along: Mapping[tuple[str, Any], Sequence[str]] | None = None,
    steps: Steps = (),
    path: str = "name",
) -> looks.Look:
    """Return properties of an object and of those that it refers to, read in one call.

    If the object is gone, nothing is known in the look, so that the first reader who uses it meets the fault.

    :param along: properties to read of the objects to which a property of ``start`` refers, by that property and type.
    :param steps: the references to follow further and further, as in :func:`read_chain`.
    :param path: the property to read of each object on that way.
    """
    collector = vmodl.query.PropertyCollector
    along = along or {}
    asked: dict[Any, list[str]] = {type(start): [*paths, *(name for name, _ in along)]}
    wanted = [*((kind, names) for (_, kind), names in along.items()), *((kind, (name,)) for kind, name in steps)]
    for kind, names in [*wanted, *([(vim.ManagedEntity, (path,))] if steps else [])]:
        asked.setdefault(kind, []).extend(names)
    walks = [collector.TraversalSpec(type=type(start), path=name, skip=False) for name, _ in along]
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=start, selectSet=[*walks, *_walks(steps)])],
        propSet=[
            collector.PropertySpec(type=kind, pathSet=list(dict.fromkeys(names))) for kind, names in asked.items()
        ],
    )
    try:
        found = _all_pages(session, spec, start)
    except vmodl.MethodFault:
        found = []
    return looks.Look(session=session, objects={moref_of(one.obj): _told(one, asked) for one in found})


def _told(content: Any, asked: Mapping[Any, Sequence[str]]) -> dict[str, Any]:
    """Return the properties that were asked of an object, without those that the user may not read."""
    values: dict[str, Any] = {}
    for kind, names in asked.items():
        if isinstance(content.obj, kind):
            values |= dict.fromkeys(names)
    values |= {item.name: item.val for item in content.propSet}
    for missing in content.missingSet or ():
        del values[missing.path]
    return values


def _walks(steps: Steps) -> list[Any]:
    """Return selections that follow each of these references from every object that is reached."""
    collector = vmodl.query.PropertyCollector
    onward = [collector.SelectionSpec(name=f"step {index}") for index in range(len(steps))]
    return [
        collector.TraversalSpec(name=step.name, type=kind, path=name, skip=False, selectSet=onward)
        for step, (kind, name) in zip(onward, steps, strict=True)
    ]


def read_listed(session: Session, owner: Any, listing: str, kind: Any, *paths: str) -> list[tuple[Any, dict[str, Any]]]:
    """Return some properties of the objects that a property of another object lists, in one call.

    If the user may not read the list, its fault is raised. An owner that the user may not even see lists nothing.
    Unreadable or unset properties of the objects are ``None``.

    :param kind: the type of the listed objects.
    """
    if (seen := looks.seen(session, owner, [listing])) is not None:
        listed = [(one, looks.seen(session, one, paths)) for one in seen[listing] or ()]
        if all(values is not None for _, values in listed):
            return [(one, values or {}) for one, values in listed]
    collector = vmodl.query.PropertyCollector
    walk = collector.TraversalSpec(name=listing, type=type(owner), path=listing, skip=False)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=owner, selectSet=[walk])],
        propSet=[
            collector.PropertySpec(type=type(owner), pathSet=[listing]),
            collector.PropertySpec(type=kind, pathSet=list(paths)),
        ],
    )
    found = []
    for content in _all_pages(session, spec, owner):
        if moref_of(content.obj) != moref_of(owner):
            found.append((content.obj, _values(content, paths)))
        elif content.missingSet:
            raise content.missingSet[0].fault
    return found


def read_all(
    session: Session, kind: Any, *paths: str, under: Any = None, page: int = PAGE
) -> list[tuple[Any, dict[str, Any]]]:
    """Return some properties of every object of a type. Unreadable and unset properties are ``None``.

    :param under: the container to look in; ``None``: the root folder.
    :param page: greatest number of objects in one answer.
    """
    return read_types(session, {kind: paths}, under=under, page=page)


def read_types(
    session: Session, paths_of: Mapping[Any, Sequence[str]], under: Any = None, *, page: int = PAGE
) -> list[tuple[Any, dict[str, Any]]]:
    """Return every object of some types with the properties that are listed for its type, in one pass.

    An object whose type is derived from another one of these types may come twice, once for each type.

    :param page: greatest number of objects in one answer.
    """
    generation = session.generation
    try:
        return _read_view(session, paths_of, under, page)
    except (SessionRenewedError, vmodl.fault.ManagedObjectNotFound):
        if session.generation == generation:
            raise
    return _read_view(session, paths_of, under, page)  # again, because the view was lost with the expired session


def _read_view(
    session: Session, paths_of: Mapping[Any, Sequence[str]], under: Any, page: int
) -> list[tuple[Any, dict[str, Any]]]:
    collector = vmodl.query.PropertyCollector
    view = session.content.viewManager.CreateContainerView(under or session.content.rootFolder, list(paths_of), True)
    try:
        walk = collector.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
        spec = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
            propSet=[collector.PropertySpec(type=kind, pathSet=list(paths)) for kind, paths in paths_of.items()],
        )
        found = _all_pages(session, spec, view, page)
        return [(content.obj, _values(content, _paths_of(content.obj, paths_of))) for content in found]
    finally:
        with contextlib.suppress(VmKeepError, vmodl.MethodFault):  # because the view ends with the session anyway
            view.DestroyView()


def _paths_of(managed: Any, paths_of: Mapping[Any, Sequence[str]]) -> Sequence[str]:
    """Return the properties that are asked of an object: those of its type, or of the type it is derived from."""
    if type(managed) in paths_of:
        return paths_of[type(managed)]
    return next((paths for kind, paths in paths_of.items() if isinstance(managed, kind)), ())


def _values(content: Any, paths: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(paths)
    values.update((item.name, item.val) for item in content.propSet)
    return values


def _all_pages(session: Session, spec: Any, start: Any, page: int = PAGE) -> list[Any]:
    """Return the content of all objects. Read again if one that ``start`` only leads to vanished meanwhile.

    Without this, callers would take the fault of such an object for that of the object they asked for.

    :param start: the object that the spec begins with. If it is gone, its fault is raised.
    :raises TransientError: at each try another object vanished.
    """
    for _ in range(_TRIES):
        try:
            return list(_pages(session, spec, page))
        except vmodl.fault.ManagedObjectNotFound as fault:
            if fault.obj is None or moref_of(fault.obj) == moref_of(start):
                raise
            gone = moref_of(fault.obj)
    raise TransientError(f"{session.host}: objects vanish while they are read, {gone} among them: try again")


def _pages(session: Session, spec: Any, page: int = PAGE) -> Iterator[Any]:
    collector = session.content.propertyCollector
    options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=page)
    result = collector.RetrievePropertiesEx([spec], options)
    while result is not None:
        yield from result.objects
        result = collector.ContinueRetrievePropertiesEx(result.token) if result.token else None
