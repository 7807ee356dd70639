"""Tells from a few properties whether a VM can be backed up at all, before anything else is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmkeep.errors import UnsupportedError

PATHS = ("config.version", "config.managedBy", "config.ftInfo", "runtime.connectionState")
"""Names of these properties."""

_PRIMARY = 1
"""The role of a fault-tolerant VM that people work with."""
_OUT_OF_REACH = ("disconnected", "inaccessible", "invalid", "orphaned")
"""Connection states in which vSphere can do nothing with a VM, even if it still knows the configuration."""


def why_not(values: Mapping[str, Any]) -> str | None:
    """Return the reason why a VM cannot be backed up; ``None``: it can.

    :param values: the properties of :data:`PATHS`.
    """
    connection = str(values["runtime.connectionState"] or "") or None
    if values["config.version"] is None:
        return no_configuration(connection)
    if connection in _OUT_OF_REACH:
        return f"vSphere cannot reach it (it is {connection}): look after its host and its datastores"
    if is_secondary(values["config.ftInfo"]):
        return "it is a secondary of a fault-tolerant VM, and holds the same data: back up the primary"
    return None


def is_secondary(fault_tolerance: Any) -> bool:
    """Return whether a VM only follows another one step by step (``FaultToleranceConfigInfo``; role 1 leads)."""
    return fault_tolerance is not None and (fault_tolerance.role or _PRIMARY) != _PRIMARY


def no_configuration(connection: Any) -> str:
    """Return the reason why a VM's configuration is unset. Every VM that the user can read has a configuration.

    :param connection: the VM's connection state.
    """
    if connection is None or str(connection) == "connected":
        return "its configuration cannot be read: the user may lack System.Read on it"
    return f"its configuration cannot be read (it is {connection}): its host or its datastore is not reachable"


def manager(managed_by: Any) -> str | None:
    """Return the software that manages a VM (``ManagedByInfo``), as a phrase; ``None``: only people do."""
    if managed_by is None or not managed_by.extensionKey:
        return None
    return f"{managed_by.extensionKey} ({managed_by.type})" if managed_by.type else str(managed_by.extensionKey)


def require_configuration(config: Any, name: str, connection: Any) -> Any:
    """Return a VM's configuration, if it was set.

    :raises UnsupportedError: the configuration is unset, so that only the VM's name is known.
    """
    if config is None:
        raise UnsupportedError(f"VM {name} is not protectable: {no_configuration(connection)}")
    return config
