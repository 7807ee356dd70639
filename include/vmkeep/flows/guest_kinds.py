"""Tells the guest system of a restore point, as far as the VM's saved configuration names it."""

from __future__ import annotations

from vmkeep.errors import CorruptError
from vmkeep.hypervisors import Guest, guest_of_id
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository
from vmkeep.vsphere.configspec import parse_config


def guest_of_point(repository: Repository, point: RestorePoint) -> Guest | None:
    """Return the guest system; ``None``: nobody can tell it, because nothing is kept of the machine, or is damaged."""
    if "config.xml" not in point.attachments:
        return None
    try:
        config = parse_config(repository.load_attachment(point, "config.xml"))
    except CorruptError:
        return None
    return guest_of_id(config.guestId) if config.guestId else None
