"""Values held against the API's own tables, of the version that client and lab agree on."""

from pyVmomi.VmomiSupport import F_OPTIONAL, DataObject, Enum, ManagedMethod

from vmlab.api import VERSIONS

KNOWN = frozenset(VERSIONS)


def wrong(value, kind, where):
    """Yield the places inside a value where it is not what the tables say of its type."""
    if isinstance(value, list):
        item = kind.Item if issubclass(kind, list) else object
        for number, one in enumerate(value):
            yield from wrong(one, item, f"{where}[{number}]")
    elif not fits(value, kind):
        yield f"{where}: {type(value).__name__} where {kind.__name__} belongs"
    elif isinstance(value, DataObject):
        yield from wrong_fields(value, where)


def fits(value, kind):
    if kind is object:
        return True
    if kind in (type, ManagedMethod):
        return isinstance(value, kind | str)  # the name of a type or method is all that goes over the wire
    if issubclass(kind, Enum):
        return value in kind.values
    if kind is type:
        return isinstance(value, type)
    return isinstance(value, kind)


def wrong_fields(value, where):
    for info in value._GetPropertyList():
        field = getattr(value, info.name)
        at = f"{where}.{info.name}"
        if field is None or (isinstance(field, list) and not field):
            if not info.flags & F_OPTIONAL and info.name != "dynamicType" and info.version in KNOWN:
                yield f"{at}: required and not set"
        else:
            yield from wrong(field, info.type, at)


def wrong_properties(ref, props):
    for info in type(ref)._GetPropertyList():
        at = f"{type(ref).__name__}.{info.name}"
        if info.name in props:
            yield from wrong(props[info.name], info.type, at)
        elif not info.flags & F_OPTIONAL and info.version in KNOWN and not issubclass(info.type, list):
            yield f"{at}: required and not set"
