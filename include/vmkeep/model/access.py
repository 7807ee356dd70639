"""Access holds on VMs: the job of taking or ending some, and its result.

A module of its own, because a child process that only takes or ends a hold need not import all that a copy needs.
"""

from __future__ import annotations

from vmkeep.lateclass import dataclass
from vmkeep.model.vmref import VmRef


@dataclass(frozen=True, slots=True, kw_only=True)
class VmAccess:
    """A VM, and the identity under which vmkeep keeps Storage vMotion off it."""

    vm: VmRef
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessJob:
    """The order to keep Storage vMotion off some VMs, or to allow it again."""

    vms: tuple[VmAccess, ...]
    prepare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDone:
    """The result of an :class:`AccessJob`."""

    problems: dict[str, str]
    """The errors, by managed object id of the VM that they are about."""
