"""The links under a VM and its snapshots: merges those that nobody needs, and puts names right after a crash."""

import copy
from typing import Any

from vmlab.api import vim
from vmlab.disks import DiskError
from vmlab.managed import ds_paths
from vmlab.managed.machine import backing_chain, disks, in_snapshots
from vmlab.managed.site import Site
from vmlab.managed.snapshots.disk_chains import (
    Step,
    carry_out_steps,
    known_links,
    plan_collapse,
    point_backing,
    stray_links,
    touched_links,
)
from vmlab.managed.snapshots.snapshot_tree import snapshot_refs
from vmlab.managed.vms import write_vm_files


def collapse(site: Site, vm: Any) -> None:
    """Merge or delete links that nobody needs. Raises FileLocked if one is being read, and notes that work is left."""
    steps = _needed_steps(site, vm)
    try:
        refuse_open(site, touched_links(steps))
    except vim.fault.FileLocked:
        set_consolidation(site, vm)
        raise
    names: dict[str, str] = {}
    for step in carry_out_steps(site.store, steps):
        if step.into is not None:
            names = {old: step.into if new == step.link else new for old, new in names.items()} | {step.link: step.into}
            _rename_links(site, vm, names)
    _rename_links(site, vm, names)
    set_consolidation(site, vm, needed=False)


def _needed_steps(site: Site, vm: Any) -> list[Step]:
    """Return the steps of a consolidation."""
    world = site.world
    current = [disk.backing.fileName for disk in disks(world.get(vm, "config"))]
    frozen = [
        disk.backing.fileName
        for ref in snapshot_refs(world.get(vm, "snapshot"))
        for disk in disks(world.get(ref, "config"))
    ]
    links = known_links(site.store, [*current, *frozen, *stray_links(site.store, current)])
    folders = {ds_paths.folder_of(path) for path in (*current, *frozen)}
    of_others = [link for link in links if ds_paths.folder_of(link) not in folders]  # below a linked clone
    return plan_collapse(links, [*current, *frozen, *of_others])[0]


def heal(site: Site, vm: Any) -> None:
    """After a crash, point past links that were merged without a record, and note whether consolidation is needed."""
    for ref in (vm, *snapshot_refs(site.world.get(vm, "snapshot"))):
        config = copy.deepcopy(site.world.get(ref, "config"))
        merged = [disk for disk in disks(config) if not site.store.path(disk.backing.fileName).exists()]
        for disk in merged:
            left = [link for link in backing_chain(disk.backing) if site.store.path(link.fileName).exists()]
            if left:
                point_backing(site, disk, left[0].fileName, change_id=disk.backing.changeId)
        if merged:
            site.world.update(ref, config=config)
    try:
        set_consolidation(site, vm, needed=bool(_needed_steps(site, vm)))
    except DiskError:
        set_consolidation(site, vm)


def _rename_links(site: Site, vm: Any, names: dict[str, str]) -> None:
    """Let the VM and its snapshots point at the present links, parents included."""
    world = site.world
    with world.transaction():
        for ref in (vm, *snapshot_refs(world.get(vm, "snapshot"))):
            config = copy.deepcopy(world.get(ref, "config"))
            for disk in disks(config):
                if in_snapshots(disk):
                    path = names.get(disk.backing.fileName, disk.backing.fileName)
                    point_backing(site, disk, path, change_id=disk.backing.changeId)
            world.update(ref, config=config)
    write_vm_files(site, world.get(vm, "config"))


def refuse_open(site: Site, links: set[str]) -> None:
    """Raise FileLocked if a backup client holds one of some links open, or a link above it."""
    open_links = {link for path in site.open_disks() for link in _safe_chain(site, path)}
    for path in sorted(links & open_links):
        raise vim.fault.FileLocked(file=path, msg=f"Unable to access file {path} since it is locked")


def _safe_chain(site: Site, path: str) -> list[str]:
    try:
        return site.store.chain(path)
    except DiskError:
        return [path]


def set_consolidation(site: Site, vm: Any, *, needed: bool = True) -> None:
    """Note whether links wait to be merged."""
    runtime = copy.deepcopy(site.world.get(vm, "runtime"))
    if bool(runtime.consolidationNeeded) != needed:
        runtime.consolidationNeeded = needed
        site.world.update(vm, runtime=runtime)
