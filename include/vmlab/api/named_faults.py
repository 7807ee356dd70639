"""Make a fault from its name, a message, and plain values for its fields."""

from collections.abc import Mapping
from typing import Any

from vmlab.api.types import F_OPTIONAL, DataObject, Enum, ManagedObject, vmodl
from vmlab.api.values import fill, type_named, wsdl_name


def fault_named(name: str, message: str, fields: Mapping[str, Any] | None = None) -> Any:
    """Make a fault with the given fields. Other required fields are filled; a reference among them names no object.

    Raises ValueError if no fault has that name, the fault has no such field, or a value does not fit.
    """
    try:
        kind = type_named(name)
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{name}: no such type in the vSphere API") from error
    if not issubclass(kind, vmodl.MethodFault):
        raise ValueError(f"{name}: is a type of the vSphere API but not a fault")  # noqa: TRY004  (a bad name, like the one above)
    fault = kind(msg=message)
    _set(fault, fields or {})
    fill(fault)
    _point_nowhere(fault)
    return fault


def _set(value: Any, fields: Mapping[str, Any]) -> None:
    known = {info.name: info.type for info in value._GetPropertyList() if info.name not in ("dynamicType", "msg")}
    for name, given in fields.items():
        if name not in known:
            raise ValueError(f"{type(value).__name__} has no field '{name}'; it has {', '.join(sorted(known))}")
        try:
            setattr(value, name, _typed(known[name], given))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{type(value).__name__}.{name}: {given!r} does not fit: {error}") from error


def _typed(kind: Any, given: Any) -> Any:
    """A plain value as the type of a field: an object's id as a reference, a JSON object as a data object."""
    if issubclass(kind, list):
        if not isinstance(given, list):
            raise TypeError("a list belongs here")
        return kind([_typed(kind.Item, item) for item in given])
    if issubclass(kind, ManagedObject):
        if not isinstance(given, str) or not given:
            raise TypeError(f"the id of a {wsdl_name(kind)} belongs here")
        return kind(given)
    if issubclass(kind, Enum):
        if given not in kind.values:
            raise ValueError(f"one of {', '.join(kind.values)} belongs here")
        return given
    if issubclass(kind, DataObject) and isinstance(given, dict):
        made = kind()
        _set(made, given)
        return made
    return given


def _point_nowhere(value: Any) -> None:
    """Give each required reference that is unset the id of no object, because an unset one cannot be sent."""
    for info in value._GetPropertyList():
        current = getattr(value, info.name)
        for item in current if isinstance(current, list) else [current]:
            if isinstance(item, DataObject):
                _point_nowhere(item)
        kind = info.type.Item if issubclass(info.type, list) else info.type
        if not current and not info.flags & F_OPTIONAL and issubclass(kind, ManagedObject):
            nobody = kind(f"{wsdl_name(kind).lower()}-0")
            setattr(value, info.name, info.type([nobody]) if issubclass(info.type, list) else nobody)
