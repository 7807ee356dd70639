"""Imports every family of managed objects, so that all behaviours are registered."""

from vmlab.managed import (
    datastores,
    filters,
    hosts,
    property_collector,
    search,
    service,
    sessions,
    tasks,
    views,
    vm_create,
    vm_info,
    vm_power,
)

__all__ = [
    "datastores",
    "filters",
    "hosts",
    "property_collector",
    "search",
    "service",
    "sessions",
    "tasks",
    "views",
    "vm_create",
    "vm_info",
    "vm_power",
]
