"""Tells from a VM's inventory entry whether it can be backed up at all, before anything else is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmkeep.errors import UnsupportedError

PATHS = ("config.version", "config.managedBy", "runtime.connectionState")
"""Properties of a VM that tell it."""

_OUT_OF_REACH = ("disconnected", "inaccessible", "invalid", "orphaned")
"""Connection states in which nothing can be done with a VM, whatever vSphere remembers of it."""


def why_not(values: Mapping[str, Any]) -> str | None:
    """Return why a VM can be no object of a backup; ``None`` where it can.

    :param values: the properties of :data:`PATHS`.
    """
    connection = str(values["runtime.connectionState"] or "") or None
    if values["config.version"] is None:
        return no_configuration(connection)
    if connection in _OUT_OF_REACH:
        return f"vSphere cannot reach it (it is {connection}): look after its host and its datastores"
    return None


def no_configuration(connection: Any) -> str:
    """Return what a person is told of a VM whose configuration is unset; every VM that can be read has one."""
    if connection is None or str(connection) == "connected":
        return "its configuration cannot be read: the user may lack System.Read on it"
    return f"its configuration cannot be read (it is {connection}): its host or its datastore is not reachable"


def manager(managed_by: Any) -> str | None:
    """Return which software manages a VM (``ManagedByInfo``), as one phrase; ``None``: nobody but people."""
    if managed_by is None or not managed_by.extensionKey:
        return None
    return f"{managed_by.extensionKey} ({managed_by.type})" if managed_by.type else str(managed_by.extensionKey)


def require_configuration(config: Any, name: str, connection: Any) -> Any:
    """Return what was read of a VM's configuration.

    :raises UnsupportedError: it is unset, so that nothing is known of the VM but its name.
    """
    if config is None:
        raise UnsupportedError(f"VM {name} is not protectable: {no_configuration(connection)}")
    return config
