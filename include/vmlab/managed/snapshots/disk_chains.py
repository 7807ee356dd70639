"""Chains of snapshot links: finds those that are no longer needed, and merges or deletes them.

A link is needed if the VM or a snapshot points at it, or if two others hang over it. Planning is pure and tells which
files will be touched, so that a link that somebody reads can be left alone.
"""

import contextlib
import copy
import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vmlab.disks import DiskError, DiskStore
from vmlab.managed.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Delete `link` (`into` is None), or merge it into its parent `into`, which takes its place."""

    link: str
    into: str | None = None


def plan_collapse(parents: dict[str, str | None], needed: Iterable[str]) -> tuple[list[Step], dict[str, str]]:
    """Plan the steps after which only needed links remain, and the new names of links that are merged into another.

    `parents` maps every link to the one below it.
    """
    parents, wanted, names = dict(parents), set(needed), {name: name for name in needed}
    steps: list[Step] = []
    while (step := _next_step(parents, wanted)) is not None:
        steps.append(step)
        if step.into is not None:
            _swallow(parents, step.link, step.into)
            if step.link in wanted:
                wanted = (wanted - {step.link}) | {step.into}
                names = {old: step.into if now == step.link else now for old, now in names.items()}
        else:
            del parents[step.link]
    return steps, {old: new for old, new in names.items() if old != new}


def _next_step(parents: dict[str, str | None], wanted: set[str]) -> Step | None:
    for link in parents:
        if link in wanted:
            continue
        above = [child for child, parent in parents.items() if parent == link]
        if not above:
            return Step(link=link)
        if len(above) == 1:
            return Step(link=above[0], into=link)
    return None


def _swallow(parents: dict[str, str | None], link: str, into: str) -> None:
    del parents[link]
    for child, parent in parents.items():
        if parent == link:
            parents[child] = into


def carry_out_steps(store: DiskStore, steps: Iterable[Step]) -> Iterator[Step]:
    """Do the steps one by one, and yield each when it is done."""
    for step in steps:
        if step.into is None:
            store.delete(step.link)
        else:
            store.consolidate(step.link)
        yield step


def known_links(store: DiskStore, tops: Iterable[str]) -> dict[str, str | None]:
    """Return every link under some top links, with its parent."""
    parents: dict[str, str | None] = {}
    for top in tops:
        link: str | None = top
        while link is not None and link not in parents:
            parents[link] = store.info(link).parent
            link = parents[link]
    return parents


def stray_links(store: DiskStore, tops: Iterable[str]) -> list[str]:
    """Return the deltas beside some disks that grow from the same base: leftovers of a revert, a removal or a crash."""
    found: list[str] = []
    for top in tops:
        base = store.chain(top)[-1]
        folder = store.path(base)
        for path in sorted(folder.parent.glob(f"{glob.escape(folder.stem)}-[0-9][0-9][0-9][0-9][0-9][0-9].vmdk")):
            link = store.ds_path(path)
            with contextlib.suppress(DiskError):
                if store.chain(link)[-1] == base:
                    found.append(link)
    return found


def touched_links(steps: Iterable[Step]) -> set[str]:
    """Return the files that the steps change or delete."""
    return {name for step in steps for name in (step.link, step.into) if name is not None}


def next_link_name(site: Site, path: str) -> str:
    """A free name for a new delta of a disk: `base-000001.vmdk`, in the folder of the disk."""
    stem = path.removesuffix(".vmdk")
    if len(stem) > 7 and stem[-7] == "-" and stem[-6:].isdigit():
        stem = stem[:-7]
    number = 1
    while site.store.path(f"{stem}-{number:06d}.vmdk").exists():
        number += 1
    return f"{stem}-{number:06d}.vmdk"


def point_backing(site: Site, disk: Any, path: str, *, change_id: str | None = None) -> None:
    """Make a disk device point at a link, with the links below it as its backing's parents."""
    below: Any = None
    for link in reversed(site.store.chain(path)):
        backing = copy.copy(disk.backing)
        info = site.store.info(link)
        backing.fileName, backing.contentId = link, info.content_id
        backing.parent, backing.changeId = below, None
        if hasattr(backing, "deltaDiskFormat") and below is not None:
            backing.deltaDiskFormat = "redoLogFormat"
        below = backing
    below.changeId = change_id
    disk.backing = below
