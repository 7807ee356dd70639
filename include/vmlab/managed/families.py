"""Imports every family of managed objects, so that all behaviours are registered."""

from vmlab.managed import (
    datastores,
    filters,
    hosts,
    property_collector,
    search,
    service,
    sessions,
    snapshots,
    tasks,
    views,
    vm_changes,
    vm_create,
    vm_info,
    vm_power,
    vm_reconfigure,
)

__all__ = [
    "datastores",
    "filters",
    "hosts",
    "property_collector",
    "search",
    "service",
    "sessions",
    "snapshots",
    "tasks",
    "views",
    "vm_changes",
    "vm_create",
    "vm_info",
    "vm_power",
    "vm_reconfigure",
]
