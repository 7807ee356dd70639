"""Typed vSphere values to and from XML, and the versions the lab speaks.

The tables are pyVmomi's. Refuses to know what any value means: it fills required fields, serialises, parses, no more.
Values are `Any` on purpose: pyVmomi creates its classes at run time and carries no annotations.
"""

import functools
import re
from datetime import UTC, datetime
from typing import Any

from vmlab.api.types import F_OPTIONAL, DataObject, Enum, ManagedObject, SoapAdapter, support, vim

API_VERSION = "8.0.3.0"
"""The newest API version of the lab's usual release; newer fields are dropped by the serializer itself."""

VERSIONS: tuple[str, ...] = tuple(
    version
    for version in support.GetServiceVersions("vim25")
    if re.fullmatch(r"[\d.]+", support.versionIdMap[version]) and support.versionIdMap[version] <= API_VERSION
)
VERSION_IDS: tuple[str, ...] = tuple(support.versionIdMap[version] for version in VERSIONS)
NEWEST = VERSIONS[0]
_STARTED = datetime.now(UTC)
"""One time for all unset fields, because a new one at each reading would look like a change."""


@functools.cache
def offered_versions(newest: str) -> dict[str, str]:
    """The API versions that a server offers up to its newest one, newest first: id → pyVmomi's name."""
    known = ((support.versionIdMap[version], version) for version in support.GetServiceVersions("vim25"))
    return {number: name for number, name in known if re.fullmatch(r"[\d.]+", number) and number <= newest}


def version_of(soap_action: str, newest: str = API_VERSION) -> str:
    """Return the API version that a SOAPAction header asks for, or a server's newest if it offers none of that name."""
    offered = offered_versions(newest)
    match = re.search(r"vim25/([\w.]+)", soap_action)
    return offered.get(match.group(1) if match else newest, offered[newest])


def fill(value: Any, depth: int = 0) -> Any:
    """Give every required, unset field of a data object (recursively) a neutral default; return the object.

    The serializer refuses an incomplete object, and strict clients refuse its XML.
    """
    for info in value._GetPropertyList():
        current = getattr(value, info.name)
        if isinstance(current, DataObject):
            fill(current, depth + 1)
        elif isinstance(current, list):
            if not current and not info.flags & F_OPTIONAL:
                current.extend(item for item in [default_for(info.type.Item, depth)] if item is not None)
            for item in current:
                if isinstance(item, DataObject):
                    fill(item, depth + 1)
        elif current is None and not info.flags & F_OPTIONAL and info.name != "dynamicType":
            made = default_for(info.type, depth)
            if made is not None:
                setattr(value, info.name, made)
    return value


def default_for(kind: Any, depth: int = 0) -> Any:
    """A neutral value of a type: an empty filled object, the first enum member, zero, the empty string, the start."""
    if depth > 12 or issubclass(kind, ManagedObject):
        return None
    if issubclass(kind, list):
        return kind()
    if issubclass(kind, DataObject):
        return fill(kind(), depth + 1)
    if issubclass(kind, Enum):
        return kind.values[0]
    if kind is datetime:
        return _STARTED
    if kind is object:
        return ""
    if kind is type:
        return vim.vm.device.VirtualDevice
    return kind() if issubclass(kind, (bool, int, float, str, bytes)) else None


def dump(value: Any) -> str:
    """Write one value as an XML element that carries its own type (`xsi:type`)."""
    return str(SoapAdapter.SerializeToStr(value, version=NEWEST))


def load(xml: str, kind: Any = object) -> Any:
    """Read back a value that `dump` wrote; `kind` is the type of a list at the top."""
    return SoapAdapter.Deserialize(xml, kind)


def wsdl_name(kind: Any) -> str:
    """The name a type has on the wire, e.g. `VirtualMachine`."""
    return str(kind._wsdlName)


def moid(ref: Any) -> str:
    """The id of a managed object reference, e.g. `vm-1001`."""
    return str(ref._moId)


def type_named(name: str) -> Any:
    """Return the type with a WSDL name (`VirtualMachine`) or VMODL name (`vim.fault.InvalidState`).

    Raises KeyError if there is none.
    """
    if "." in name:
        return support.GetVmodlType(name)
    try:
        return support.GetWsdlType("urn:vim25", name)
    except KeyError:
        return support.GetWsdlType("urn:vim25", name.removesuffix("Fault"))


def type_of(value: Any) -> Any:
    """The pyVmomi type of a value."""
    return support.Type(value)
