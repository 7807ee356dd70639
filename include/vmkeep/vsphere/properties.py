"""Reads properties in few round trips: many of one object, or a few of many objects, page by page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vmkeep.errors import TransientError, VmKeepError
from vmkeep.vsphere.api import moref_of, vim, vmodl
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.stub import SessionRenewedError

PAGE = 200
"""Number of objects in one answer. A page of 100 VMs with their devices costs each side some 100 ms."""
_TRIES = 3
"""Number of times that objects are read while some of them vanish."""


def read(session: Session, managed: Any, *paths: str) -> dict[str, Any]:
    """Return some properties of one object. Unset properties are ``None``.

    If the user may not read a property, vSphere's fault is raised, so that nothing is left out silently. An object that
    the user may not even see has no content: all of its properties are ``None``.
    """
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


def read_each(session: Session, objects: Iterable[Any], *paths: str) -> list[tuple[Any, dict[str, Any]]]:
    """Return some properties of several objects in one call. Unreadable and unset properties are ``None``.

    The objects may be of several types that all have these properties. The call names each type, because vSphere looks
    a property up in the type that is named, and ``ManagedEntity`` has no ``summary``.
    """
    listed = list(objects)
    if not listed:
        return []
    collector = vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=managed) for managed in listed],
        propSet=[collector.PropertySpec(type=kind, pathSet=list(paths)) for kind in dict.fromkeys(map(type, listed))],
    )
    return [(content.obj, _values(content, paths)) for content in _pages(session, spec)]


def read_chain(session: Session, start: Any, steps: Sequence[tuple[Any, str]], path: str) -> dict[str, dict[str, Any]]:
    """Read one property of an object and of all objects that references lead to from it, in one call.

    :param steps: the references to follow, each as a type and a property of that type.
    :returns: the property and the references of each object, by moref. Unset ones are left out, and so is each object
        that the user may not read.
    """
    collector = vmodl.query.PropertyCollector
    onward = [collector.SelectionSpec(name=f"step {index}") for index in range(len(steps))]
    walks = [
        collector.TraversalSpec(name=step.name, type=kind, path=name, skip=False, selectSet=onward)
        for step, (kind, name) in zip(onward, steps, strict=True)
    ]
    asked = {vim.ManagedEntity: [path]}
    for kind, name in steps:
        asked.setdefault(kind, []).append(name)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=start, selectSet=walks)],
        propSet=[collector.PropertySpec(type=kind, pathSet=names) for kind, names in asked.items()],
    )
    return {
        moref_of(content.obj): {item.name: item.val for item in content.propSet}
        for content in _all_pages(session, spec, start)
        if not content.missingSet
    }


def read_listed(session: Session, owner: Any, listing: str, kind: Any, *paths: str) -> list[tuple[Any, dict[str, Any]]]:
    """Return some properties of the objects that a property of another object lists, in one call.

    If the user may not read the list, its fault is raised. An owner that the user may not even see lists nothing.
    Unreadable or unset properties of the objects are ``None``.

    :param kind: the type of the listed objects.
    """
    collector = vmodl.query.PropertyCollector
    walk = collector.TraversalSpec(name=listing, type=type(owner), path=listing, skip=False)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=owner, selectSet=[walk])],
        propSet=[
            collector.PropertySpec(type=type(owner), pathSet=[listing]),
            collector.PropertySpec(type=kind, pathSet=list(paths)),
        ],
    )
    listed = []
    for content in _all_pages(session, spec, owner):
        if moref_of(content.obj) != moref_of(owner):
            listed.append((content.obj, _values(content, paths)))
        elif content.missingSet:
            raise content.missingSet[0].fault
    return listed


def read_all(session: Session, kind: Any, *paths: str, under: Any = None) -> list[tuple[Any, dict[str, Any]]]:
    """Return some properties of every object of a type. Unreadable and unset properties are ``None``.

    :param under: the container to look in; ``None``: the root folder.
    """
    return read_types(session, {kind: paths}, under=under)


def read_types(
    session: Session, paths_of: Mapping[Any, Sequence[str]], under: Any = None
) -> list[tuple[Any, dict[str, Any]]]:
    """Return every object of some types with the properties that are listed for its type, in one pass.

    An object whose type is derived from another one of these types may come twice, once for each type.
    """
    generation = session.generation
    try:
        return _read_view(session, paths_of, under)
    except (SessionRenewedError, vmodl.fault.ManagedObjectNotFound):
        if session.generation == generation:
            raise
    return _read_view(session, paths_of, under)  # again, because the view was lost with the expired session


def _read_view(session: Session, paths_of: Mapping[Any, Sequence[str]], under: Any) -> list[tuple[Any, dict[str, Any]]]:
    collector = vmodl.query.PropertyCollector
    view = session.content.viewManager.CreateContainerView(under or session.content.rootFolder, list(paths_of), True)
    try:
        walk = collector.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
        spec = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
            propSet=[collector.PropertySpec(type=kind, pathSet=list(paths)) for kind, paths in paths_of.items()],
        )
        found = _all_pages(session, spec, view)
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


def _all_pages(session: Session, spec: Any, start: Any) -> list[Any]:
    """Return the content of all objects. Read again if one that ``start`` only leads to vanished meanwhile.

    Without this, callers would take the fault of such an object for that of the object they asked for.

    :param start: the object that the spec begins with. If it is gone, its fault is raised.
    :raises TransientError: at each try another object vanished.
    """
    for _ in range(_TRIES):
        try:
            return list(_pages(session, spec))
        except vmodl.fault.ManagedObjectNotFound as fault:
            if fault.obj is None or moref_of(fault.obj) == moref_of(start):
                raise
            gone = moref_of(fault.obj)
    raise TransientError(f"{session.host}: objects vanish while they are read, {gone} among them: try again")


def _pages(session: Session, spec: Any) -> Iterator[Any]:
    collector = session.content.propertyCollector
    options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=PAGE)
    result = collector.RetrievePropertiesEx([spec], options)
    while result is not None:
        yield from result.objects
        result = collector.ContinueRetrievePropertiesEx(result.token) if result.token else None
