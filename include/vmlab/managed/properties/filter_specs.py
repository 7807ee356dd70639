"""Checks a filter spec before anything is read: every path must exist in the type that the spec declares for it.

A vCenter knows a property by the `type` of the spec, and not by the object that is found. `summary` of a ManagedEntity
is therefore no property, although every VM has one. Within a data object the run-time type counts, see
`reading.read_path`.
"""

from typing import Any

from vmlab.api import ManagedObject, vmodl
from vmlab.managed.properties.reading import declared

PC = vmodl.query.PropertyCollector


def check_filter_spec(spec: Any) -> None:
    """Raise InvalidProperty or InvalidArgument for a filter spec that could not work with any object."""
    for wanted in spec.propSet:
        _check_type(wanted.type, "propSet.type")
        for path in wanted.pathSet:
            declared(wanted.type, path)
    for start in spec.objectSet:
        _check_selections(start.selectSet)


def _check_selections(selections: list[Any]) -> None:
    for selection in selections:
        if not isinstance(selection, PC.TraversalSpec):
            continue
        _check_type(selection.type, "selectSet.type")
        if not _leads_to_objects(selection.type, selection.path):
            raise vmodl.query.InvalidProperty(
                name=selection.path, msg=f"{selection.path} of {selection.type.__name__} leads to no managed object"
            )
        _check_selections(selection.selectSet)


def _check_type(kind: Any, where: str) -> None:
    if not (isinstance(kind, type) and issubclass(kind, ManagedObject)):
        raise vmodl.fault.InvalidArgument(invalidProperty=where, msg=f"{kind} is no type of managed objects")


def _leads_to_objects(kind: Any, path: str) -> bool:
    found = declared(kind, path)
    return found is None or issubclass(getattr(found, "Item", found), ManagedObject)
