"""Prepares a process from which the processes of many steps are forked, so that each of them does less."""

from __future__ import annotations

from vmkeep.flows.connect import share_probes
from vmkeep.lateclass import compile_methods
from vmkeep.repository.unlock import share_keys
from vmkeep.transfer import find_drivers
from vmkeep.vsphere.tickets import share_log_ins

__all__ = ["prepare_worker"]


def prepare_worker() -> None:
    """Share keys, log-ins and tries of drivers with forked processes, find the disk drivers, and compile methods.

    It may be called again. A driver that is installed later is found by workers that start later.
    """
    share_keys()
    share_log_ins()
    share_probes()
    find_drivers()
    compile_methods()
