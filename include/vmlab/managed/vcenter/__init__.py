"""The vCenter itself: the service instance, its managers, and the answers that belong to no host and no VM.

`managers` makes every manager that the API's tables name, because a client takes a vCenter without one for broken.
`service` is what a client meets first. `session_manager` logs in and out, `task_manager` and `history` tell of tasks
and events, `authorization` reads and writes roles and permissions, `custom_fields` keeps the attributes that people
define, `tags` keeps tags, and `key_providers` holds keys for encrypted VMs.

`manager_answers` answers for the managers whose work the lab does not do: with an empty list, or with a refusal.
"""

from vmlab.managed.vcenter import (
    authorization,
    custom_fields,
    history,
    key_providers,
    manager_answers,
    managers,
    service,
    session_manager,
    task_manager,
)
from vmlab.managed.vcenter.key_providers import knows_key
from vmlab.managed.vcenter.manager_answers import knows_extension
from vmlab.managed.vcenter.managers import HOST_MANAGERS, MANAGER_PARTS, add_companions, host_of_manager
from vmlab.managed.vcenter.service import add_services
from vmlab.managed.vcenter.tags import Tagging, TaggingError

BEHAVIOURS = (
    authorization,
    custom_fields,
    history,
    key_providers,
    manager_answers,
    managers,
    service,
    session_manager,
    task_manager,
)
"""Modules that answer methods or properties: importing them registers their functions."""

__all__ = [
    "BEHAVIOURS",
    "HOST_MANAGERS",
    "MANAGER_PARTS",
    "Tagging",
    "TaggingError",
    "add_companions",
    "add_services",
    "host_of_manager",
    "knows_extension",
    "knows_key",
]
