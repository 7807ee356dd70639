"""Reading properties in few round trips: many of one object, or few of many objects, page by page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vmkeep.errors import VmKeepError
from vmkeep.vsphere.api import vim, vmodl
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.stub import SessionRenewedError

PAGE = 200
"""Objects per answer: a page of 100 VMs costs both sides some 100 ms when devices are asked for."""


def read(session: Session, managed: Any, *paths: str) -> dict[str, Any]:
    """Return the given properties of one object; those that are unset are ``None``.

    A property that the user may not read raises the fault vSphere gives for it; nothing is left out silently.
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
    """Return some properties of several objects, in one go; unreadable or unset ones are ``None``.

    The objects may be of several types, which all have these properties. Each type is named: vSphere looks a property
    up in the type that is asked for, and ``summary`` of a ManagedEntity is no property.
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


def read_all(session: Session, kind: Any, *paths: str, under: Any = None) -> list[tuple[Any, dict[str, Any]]]:
    """Return every object of a type below a container with some properties; unreadable or unset ones are ``None``."""
    return read_types(session, {kind: paths}, under=under)


def read_types(
    session: Session, paths_of: Mapping[Any, Sequence[str]], under: Any = None
) -> list[tuple[Any, dict[str, Any]]]:
    """Return every object of some types below a container, with the properties of its type, in one pass.

    An object of a type that is derived from another one of them may come twice, once for each type.
    """
    generation = session.generation
    try:
        return _read_view(session, paths_of, under)
    except (SessionRenewedError, vmodl.fault.ManagedObjectNotFound):
        if session.generation == generation:
            raise
    return _read_view(session, paths_of, under)  # the view went with the session that had expired


def _read_view(session: Session, paths_of: Mapping[Any, Sequence[str]], under: Any) -> list[tuple[Any, dict[str, Any]]]:
    collector = vmodl.query.PropertyCollector
    view = session.content.viewManager.CreateContainerView(under or session.content.rootFolder, list(paths_of), True)
    try:
        walk = collector.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
        spec = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
            propSet=[collector.PropertySpec(type=kind, pathSet=list(paths)) for kind, paths in paths_of.items()],
        )
        return [(content.obj, _values(content, _paths_of(content.obj, paths_of))) for content in _pages(session, spec)]
    finally:
        with contextlib.suppress(VmKeepError, vmodl.MethodFault):  # it ends with the session anyway
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


def _pages(session: Session, spec: Any) -> Iterator[Any]:
    collector = session.content.propertyCollector
    options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=PAGE)
    result = collector.RetrievePropertiesEx([spec], options)
    while result is not None:
        yield from result.objects
        result = collector.ContinueRetrievePropertiesEx(result.token) if result.token else None
