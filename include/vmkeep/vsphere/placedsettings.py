"""Decides about the settings of a saved VM that not every place, and not every user, can give to a new VM.

Such a setting is taken over if nothing speaks against it. Else it is left out, and a note names the reason before
anything is made. vSphere would refuse the whole VM because of one such setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.purpose import Purpose
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.properties import read_each
from vmkeep.vsphere.rights import On, When
from vmkeep.vsphere.rightscheck import missing_when
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.specvapp import vapp_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """A member of a saved configuration whose place decides about it."""

    words: Callable[[Any], str]
    """Names the setting, with its value where that helps."""
    matters: Callable[[Any], object]
    """Tells whether the saved value means anything."""
    when: When | None = None
    """The circumstance that needs a right; ``None``: it needs none that not every new VM needs."""
    value: Callable[[Any], Any] = lambda saved: saved
    """Makes the value in a spec out of the saved one."""


def _affinity(what: str) -> _Setting:
    return _Setting(
        words=lambda saved: f"{what} affinity ({', '.join(map(str, saved.affinitySet))})",
        matters=lambda saved: saved.affinitySet,
    )


SETTINGS: Mapping[str, _Setting] = {
    "swapPlacement": _Setting(
        words=lambda saved: f"where its swap file goes ({saved})",
        matters=lambda saved: saved != "inherit",
        when=When.OWN_SWAP,
    ),
    "vAppConfig": _Setting(
        words=lambda saved: f"vApp properties ({len(saved.property)}), products and licence texts",
        matters=lambda _: True,
        when=When.VAPP,
        value=vapp_spec,
    ),
    "managedBy": _Setting(
        words=lambda saved: f"the extension that manages it ({saved.extensionKey})",
        matters=lambda saved: saved.extensionKey,
        when=When.MANAGED,
    ),
    "deviceSwap": _Setting(
        words=lambda _: "the ban on replacing its LSI Logic controllers by PVSCSI",
        matters=lambda saved: saved.lsiToPvscsi is not None and saved.lsiToPvscsi.enabled is False,
        when=When.NO_SWAP_OF_DEVICES,
        value=lambda _: vim.vm.VirtualDeviceSwap(lsiToPvscsi=vim.vm.VirtualDeviceSwap.DeviceSwapInfo(enabled=False)),
    ),
    "cpuAffinity": _affinity("CPU"),
    "memoryAffinity": _affinity("memory"),
}


def refused_settings(
    session: Session, config: Any, folder: Any, hosts: Iterable[Any], *, copied: bool
) -> dict[str, str]:
    """Return the reason why a new VM cannot have a setting, for each saved setting that it cannot have.

    :param hosts: all hosts on which the new VM may be made.
    :param copied: the new VM is a copy with an identity of its own.
    """
    meant = dict(_meant(config))
    refused = {name: why for name in meant if (why := _unfit(session, config, name, hosts, copied=copied))}
    for name in meant.keys() - refused.keys():
        when = SETTINGS[name].when
        if when and (lacking := missing_when(session, Purpose.RESTORE_NEW, when, {On.FOLDER: folder})):
            refused[name] = f"the user lacks {', '.join(lacking)}"
    return refused


def place_settings(spec: Any, config: Any, refused: Mapping[str, str]) -> Iterator[str]:
    """Set the saved settings in a spec, and yield a note for each that is refused."""
    for name, saved in _meant(config):
        if name in refused:
            yield f"not taken over: {SETTINGS[name].words(saved)}, because {refused[name]}"
        else:
            setattr(spec, name, SETTINGS[name].value(saved))


def _meant(config: Any) -> Iterator[tuple[str, Any]]:
    for name, setting in SETTINGS.items():
        saved = getattr(config, name)
        if saved is not None and setting.matters(saved):
            yield name, saved


def _unfit(session: Session, config: Any, name: str, hosts: Iterable[Any], *, copied: bool) -> str:
    """Return the reason why the place has no such setting; empty: it has."""
    match name:
        case "vAppConfig" if not session.is_vcenter:
            return "an ESXi host without vCenter has none"
        case "managedBy" if copied:
            return "it manages the VM that was backed up, and knows no copy of it"
        case "managedBy" if not _is_registered(session, config.managedBy.extensionKey):
            return "it is not registered here"
        case "cpuAffinity":
            return _beyond(session, hosts, config.cpuAffinity, "hardware.cpuInfo.numCpuThreads", "CPUs")
        case "memoryAffinity":
            return _beyond(session, hosts, config.memoryAffinity, "hardware.numaInfo.numNodes", "NUMA nodes")
    return ""


def _is_registered(session: Session, key: str) -> bool:
    manager = session.content.extensionManager
    return manager is not None and manager.FindExtension(key) is not None


def _beyond(session: Session, hosts: Iterable[Any], affinity: Any, path: str, what: str) -> str:
    for _, values in read_each(session, hosts, "name", path):
        if max(affinity.affinitySet) >= (values[path] or 0):
            return f"host {values['name']} has {values[path] or 'an unknown number of'} {what}, counted from 0"
    return ""
