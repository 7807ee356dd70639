"""The only door to pyVmomi: its types, as ``Any`` because they are made at run time, and its XML codec."""

from __future__ import annotations

from typing import Any, cast

from pyVmomi import SoapAdapter, VmomiSupport
from pyVmomi import pbm as _pbm
from pyVmomi import vim as _vim
from pyVmomi import vmodl as _vmodl

from vmkeep.errors import UnsupportedError

vim: Any = _vim
"""vSphere's types: managed objects, data objects and faults."""
vmodl: Any = _vmodl
"""Base types of ``vim``: faults such as ``ManagedObjectNotFound``, and dynamic data."""
pbm: Any = _pbm
"""Types of vCenter's policy service, which has its own endpoint (``/pbm/sdk``)."""
_codec: Any = SoapAdapter
_tables: Any = VmomiSupport
_NAMESPACE = "urn:vim25"
SoapStubAdapter: Any = _codec.SoapStubAdapter


def serialize(value: Any, version: str) -> bytes:
    """Return a data object as one XML element with its name spaces and types.

    :param version: pyVmomi's name of the API version, e.g. ``vim.version.v8_0_3_0``.
    :raises UnsupportedError: a field that the schema requires is unset, so that pyVmomi refuses to write the object.
    """
    try:
        return cast("bytes", _codec.Serialize(value, version=version))
    except TypeError as error:
        raise UnsupportedError(f"vSphere's {type_name(value)} is incomplete and cannot be saved: {error}") from None


def deserialize(text: bytes, kind: Any, stub: Any = None) -> Any:
    """Parse the text of :func:`serialize`. Malformed text raises any error of expat or of pyVmomi.

    :param stub: sends the calls of managed objects in it.
    """
    return _codec.Deserialize(text, kind, stub)


def type_name(value: Any) -> str:
    """Return a value's vim type as the WSDL names it, e.g. ``ParaVirtualSCSIController``."""
    return cast("str", type(value)._wsdlName)  # noqa: SLF001 - pyVmomi keeps it nowhere else


def privileges_of(method: str) -> list[tuple[Any, str]]:
    """Return the privileges that a method needs, each with the type of the object on which vSphere checks it.

    They come from pyVmomi's tables of methods and parameters. A method whose privileges depend on its arguments has
    none in these tables.
    """
    info = _tables.GetWsdlMethod(_NAMESPACE, method).info
    found = [(_tables.GetVmodlType(info.typeName), info.privId)]
    found += [(parameter.type, parameter.privId) for parameter in info.params]
    return [(kind, privilege) for kind, privileges in found for privilege in (privileges or "").split()]


def moref_of(managed: Any) -> str:
    """Return the managed object id of an object, e.g. ``vm-16``."""
    return cast("str", managed._moId)  # noqa: SLF001 - pyVmomi keeps it nowhere else


def newest_version(offered: list[str]) -> str | None:
    """Return pyVmomi's name of the newest API version that it knows among those that a server offers.

    :param offered: versions, newest first, as ``/sdk/vimServiceVersions.xml`` lists them.
    """
    known: dict[str, str] = VmomiSupport.versionMap
    return next((known[f"vim25/{version}"] for version in offered if f"vim25/{version}" in known), None)
