"""Claims an existing VM for a run, so that no backup and no other restore begins on it."""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.errors import TransientError
from vmkeep.repository import Repository
from vmkeep.vsphere import claims
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.inventory import VmDescription
from vmkeep.vsphere.session import Session

_LOOKS = 10
"""Number of attempts to claim a VM, because a running guest may change its VM's settings between look and claim."""


def make_claim(session: Session, repository: Repository, run: str, *, made: bool, keep: bool = False) -> VmClaim:
    """Return the claim of a run on a VM that it makes, or that it writes over.

    :param keep: the VM stays as it is if the run fails.
    """
    return VmClaim(run=run, made=made, began=session.server_time(), repository=repository.id, keep=keep)


def claim_existing(session: Session, claim: VmClaim, look: Callable[[], VmDescription]) -> VmDescription:
    """Claim a VM as it was last looked at. Return that look.

    :param look: describes the VM. It raises an error if the VM must not be claimed.
    :raises TransientError: the VM is changed between each look and the claim.
    :raises ConflictError: another run has claimed the VM meanwhile.
    """
    for _ in range(_LOOKS):
        vm = look()
        if claims.hold(session, vm.moref, claim, version=vm.change_version):
            return vm
    raise TransientError(f"VM {vm.ref} is being changed all the time; nothing was touched")
