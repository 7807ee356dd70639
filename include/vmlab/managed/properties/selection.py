"""Selects for a property filter: objects that a traversal reaches, and their properties. Reads only, under the lock."""

from typing import Any

from vmlab.api import vmodl
from vmlab.managed.properties.filter_specs import check_filter_spec
from vmlab.managed.properties.reading import property_names, read_path
from vmlab.managed.site import Sight, Site

PC = vmodl.query.PropertyCollector


def select(site: Site, spec: Any, sees: Sight) -> dict[str, Any]:
    """Return the objects that a filter spec reaches and asks properties of: id → reference, in order of discovery."""
    found: dict[str, Any] = {}
    for start in spec.objectSet:
        named: dict[str, Any] = {}
        _collect_names(start.selectSet, named)
        _walk(site, start.obj, start.selectSet, named, skip=bool(start.skip), found=found, seen=set(), sees=sees)
    return {moid: ref for moid, ref in found.items() if any(isinstance(ref, wanted.type) for wanted in spec.propSet)}


def paths(spec: Any, ref: Any) -> list[str]:
    """The property paths a filter spec asks of one object."""
    names: dict[str, None] = {}
    for wanted in spec.propSet:
        if isinstance(ref, wanted.type):
            every = getattr(wanted, "all", False)
            names.update(dict.fromkeys(property_names(wanted.type) if every else wanted.pathSet))
    return list(names)


def content(site: Site, spec: Any, ref: Any, sees: Sight) -> Any:
    """Return one object with the values asked for. Unset values are left out, as a vCenter does.

    A property that the caller may not read is listed as missing, with its fault.
    """
    answer = PC.ObjectContent(obj=ref)
    known: dict[str, Any] = {}
    for path in paths(spec, ref):
        if (fault := sees.refusal(ref, path)) is not None:
            answer.missingSet.append(PC.MissingProperty(path=path, fault=fault))
            continue
        value = read_path(site, ref, path, known)
        if value is not None:
            answer.propSet.append(vmodl.DynamicProperty(name=path, val=value))
    return answer


def retrieve(site: Site, specs: list[Any], sees: Sight) -> list[Any]:
    """The contents of every filter spec, one after the other."""
    for spec in specs:
        check_filter_spec(spec)
    return [content(site, spec, ref, sees) for spec in specs for ref in select(site, spec, sees).values()]


def _collect_names(selections: list[Any], named: dict[str, Any]) -> None:
    for selection in selections:
        if isinstance(selection, PC.TraversalSpec):
            if selection.name:
                named[selection.name] = selection
            _collect_names(selection.selectSet, named)


def _walk(
    site: Site,
    ref: Any,
    selections: list[Any],
    named: dict[str, Any],
    *,
    skip: bool,
    found: dict[str, Any],
    seen: set[Any],
    sees: Sight,
) -> None:
    ref = site.world.entry(ref).ref
    if not sees(ref):
        return
    if not skip:
        found.setdefault(ref._moId, ref)
    for selection in selections:
        if not isinstance(selection, PC.TraversalSpec):
            if selection.name not in named:
                raise vmodl.fault.InvalidArgument(
                    invalidProperty="selectSet", msg=f"no selection named {selection.name}"
                )
            selection = named[selection.name]
        if not isinstance(ref, selection.type) or (ref._moId, id(selection)) in seen:
            continue
        seen.add((ref._moId, id(selection)))
        if sees.refusal(ref, selection.path) is not None:
            continue
        value = read_path(site, ref, selection.path)
        for target in value if isinstance(value, list) else [] if value is None else [value]:
            if site.world.exists(target):
                _walk(
                    site,
                    target,
                    selection.selectSet,
                    named,
                    skip=bool(selection.skip),
                    found=found,
                    seen=seen,
                    sees=sees,
                )
