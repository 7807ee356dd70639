"""Turns vSphere's faults into our errors: the class tells what a caller has to do, one line names the object.

Only this module knows the meaning of each fault. A step that treats a fault in its own way catches it before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vmkeep.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    TransientError,
    UnsupportedError,
    VmKeepError,
    VSphereError,
)
from vmkeep.vsphere.api import moref_of, type_name, vim, vmodl

_BUSY = ("TaskInProgress", "HostNotReachable", "HostCommunication", "HostNotConnected", "Timedout", "HostConnectFault")
_EXISTS = ("DuplicateName", "AlreadyExists", "FileAlreadyExists")


@contextmanager
def speaking(what: str) -> Iterator[None]:
    """Turn every vSphere fault of the body into a :class:`VmKeepError` that begins with ``what``."""
    try:
        yield
    except vmodl.MethodFault as fault:
        raise translate(fault, what) from None


def translate(fault: Any, what: str) -> VmKeepError:
    """Return our error for one fault of a call or of a task.

    :param what: the action that failed, with its object, at the beginning of the message.
    """
    name, text = type_name(fault), f"{what}: {message(fault)}"
    if isinstance(fault, vim.fault.InvalidLogin):
        return AuthenticationError(f"{what}: user name or password was refused")
    if isinstance(fault, vim.fault.NotAuthenticated):
        return AuthenticationError(f"{what}: the session is not logged in, and logging in again did not help")
    if isinstance(fault, vim.fault.NoPermission):
        return _denied(fault, what)
    if isinstance(fault, vmodl.fault.ManagedObjectNotFound):
        gone = moref_of(fault.obj) if fault.obj is not None else "the object"
        return NotFoundError(f"{what}: {gone} does not exist (any more)")
    if isinstance(fault, vim.fault.RestrictedVersion):
        return UnsupportedError(
            f"{what}: the server's licence lets programs only look, as that of a free ESXi host does ({name}); give "
            "the host a licence that includes vSphere's API for programs, or put it under a licensed vCenter"
        )
    if name in _EXISTS:
        return ConflictError(text)
    if name in _BUSY:
        return TransientError(text)
    return VSphereError(text, fault=name, keys=_keys(fault))


def message(fault: Any) -> str:
    """Return a fault's own words on one line, with the details that vSphere keeps apart from the message."""
    parts = [_one_line(getattr(fault, "msg", None)) or type_name(fault)]
    for extra in getattr(fault, "faultMessage", None) or ():
        text = _one_line(getattr(extra, "message", None))
        if text and text not in parts:
            parts.append(text)
    for field in ("reason", "file", "datastore", "name", "property", "invalidProperty"):
        value = getattr(fault, field, None)
        if isinstance(value, str) and value and not any(value in part for part in parts):
            parts.append(f"{field} {_one_line(value)}")
    return "; ".join(parts)


def _keys(fault: Any) -> tuple[str, ...]:
    """Return the parts of a fault that depend on no language: keys of its messages, and types of its causes."""
    keys = [str(extra.key) for extra in getattr(fault, "faultMessage", None) or () if getattr(extra, "key", None)]
    cause = getattr(fault, "faultCause", None)
    return tuple(keys) if cause is None else (*keys, type_name(cause), *_keys(cause))


def _denied(fault: Any, what: str) -> PermissionDeniedError:
    privilege = getattr(fault, "privilegeId", None) or "an unnamed privilege"
    target = moref_of(fault.object) if getattr(fault, "object", None) is not None else "the object"
    # Newer servers list all missing privileges, older servers name the first one.
    listed = [
        f"{', '.join(missing.privilegeIds)} on {moref_of(missing.entity)}"
        for missing in getattr(fault, "missingPrivileges", None) or ()
        if missing.entity is not None and missing.privilegeIds
    ]
    told = "; ".join(listed) or f"{privilege} on {target}"
    return PermissionDeniedError(
        f"{what}: the user lacks {told}; give the user a role with that there "
        "('vmkeep vsphere role' lists the rights that are needed)",
        privilege=privilege,
        target=target,
    )


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
