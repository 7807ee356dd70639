"""Makes the request to restore one VM of a recovery plan. The plan's maps are applied to the parts that the VM has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from vmkeep.errors import NotFoundError
from vmkeep.flows.restore_request import NewVmOptions, RestoreRequest
from vmkeep.flows.restore_saved import SavedVm, load_saved
from vmkeep.recovery import ChosenVm, PowerWish, RecoveryGroup, TargetPlace
from vmkeep.repository import Repository
from vmkeep.vsphere.cards import saved_cards
from vmkeep.vsphere.configspec import parse_config

_OTHERS = "*"
_DATASTORE = re.compile(r"\[([^]]*)\]")


def request_for(
    repository: Repository, group: RecoveryGroup, vm: ChosenVm, *, run: str, drill: str = ""
) -> RestoreRequest:
    """Return the request to restore a VM of a group.

    A VM keeps its identity after a disaster. In a drill it gets a new one, because the original may run.

    :param run: the run of this restore.
    :param drill: the mark of the drill; empty: it is a disaster.
    :raises VmKeepError: the point is gone, or its configuration cannot be read.
    """
    point = repository.load_point(vm.point)
    if "config.xml" not in point.attachments:
        raise NotFoundError(f"{point.ref} holds no config.xml, so that no VM can be made of it")
    saved = load_saved(repository, point)
    config = parse_config(saved.config)
    home = _datastore_in(config.files.vmPathName or "")
    return RestoreRequest(
        point=vm.point,
        run=run,
        new_name=vm.new_name,
        power_on=_power_on(group.power, template=bool(config.template)),
        new_vm=NewVmOptions(
            datastore=_mapped((home,), group.target.datastores) or group.target.datastore,
            disk_datastores=_disks(saved, group.target),
            folder=group.target.folder,
            resource_pool=group.target.resource_pool,
            host=group.target.host,
            networks=_networks(saved, config, group.target),
            # In a drill every card goes to the isolated network, so that nothing meets the original.
            connect_networks=bool(drill),
            keep_identity=not drill,
            drill=drill,
        ),
    )


def _power_on(wish: PowerWish, *, template: bool) -> bool | None:
    if template or wish is PowerWish.OFF:
        return False
    return True if wish is PowerWish.ON else None


def _networks(saved: SavedVm, config: Any, target: TargetPlace) -> tuple[str, ...]:
    cards = saved_cards(config.hardware.device, saved.origin)
    mapped = ((card.label, _mapped((card.label, *card.names), target.networks)) for card in cards)
    return tuple(f"{label}={new}" for label, new in mapped if new is not None)


def _disks(saved: SavedVm, target: TargetPlace) -> tuple[str, ...]:
    """Return the datastore of each disk that a map or the target names one for."""
    if not target.datastores:
        return ()
    found = []
    for disk in saved.point.disks:
        old = _datastore_in(disk.file_name)
        new = _mapped((old,), target.datastores) or target.datastore or old
        if new:
            found.append(f"{disk.address}={new}")
    return tuple(found)


def _mapped(names: Iterable[str], entries: Sequence[str]) -> str | None:
    """Return the new place of a thing with these names; ``None``: no entry is about it."""
    known = tuple(name for name in names if name)
    for name in (*known, _OTHERS):
        for entry in entries:
            if entry.startswith(f"{name}="):
                return entry.removeprefix(f"{name}=")
    return None


def _datastore_in(path: str) -> str:
    """Return the datastore in a datastore path; empty: the path has none."""
    found = _DATASTORE.match(path)
    return found[1] if found else ""
