"""Asks this machine, as the proxy that copies disks: its disk driver, its LVM, and room for temporary files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vmkeep.flows.connect import check_driver
from vmkeep.flows.doctor import spaces
from vmkeep.flows.doctor.examination import Answers, Subject
from vmkeep.flows.doctor.values import Answer, ok, unknown, warning
from vmkeep.model.site import Site
from vmkeep.proxy import read_machine
from vmkeep.scratch import scratch_folder

_DRIVER, _LVM, _SCRATCH, _CACHE = "disk driver", "LVM", "scratch space", "index cache"
_LEAST: Final = 256 << 20


def machine_subject(site: Site, *, cache: Path | None) -> Subject:
    """Return this machine as a subject.

    :param site: names VDDK's folder and the disk drivers; the rest of it is not used.
    :param cache: folder of the index cache; ``None``: this user has none.
    """
    return Subject(
        about="this machine",
        names=(_DRIVER, _LVM, _SCRATCH, _CACHE),
        ask=lambda answers: _ask(answers, site, cache),
    )


def _ask(answers: Answers, site: Site, cache: Path | None) -> None:
    answers.ask(_SCRATCH, lambda: _room(scratch_folder(), "the folder for temporary files"))
    answers.ask(_CACHE, lambda: _cache(cache))
    answers.ask(_LVM, _lvm)
    answers.ask(_DRIVER, lambda: _driver(site))


def _driver(site: Site) -> Answer:
    """Start the disk driver in a child process, as each copy does."""
    if not site.vddk and not site.disk_drivers:
        return warning(
            "no folder of VDDK is set, so that this machine copies no disks",
            "on a proxy, set VMKEEP_VDDK or --vddk; a machine that only serves Airflow or the repository needs none",
        )
    probe = check_driver(site)
    modes = f", transports {', '.join(probe.transports)}" if probe.transports else ""
    return ok(f"{probe.launch.title} starts{modes}")


def _lvm() -> Answer:
    machine = read_machine()
    if machine.why_lvm is None:
        return ok("the LVM of this machine leaves disks of guests alone")
    if not machine.lvm_known:
        return unknown(f"{machine.why_lvm}; until then, disks are not read by hotadd")
    return warning(f"{machine.why_lvm}; until then, disks are not read by hotadd")


def _room(folder: Path, what: str) -> Answer:
    found = os.statvfs(folder)
    unit = found.f_frsize
    return spaces.judge(found.f_bavail * unit, found.f_blocks * unit, f"{what}, {folder},", least=_LEAST)


def _cache(folder: Path | None) -> Answer:
    if folder is None:
        return warning(
            "this user has no folder for caches, so that every command fetches the index anew", "set VMKEEP_CACHE"
        )
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))
    if not os.access(there, os.W_OK):
        return warning(
            f"the index cache, {folder}, cannot be written", "let this user write there, or set VMKEEP_CACHE"
        )
    return _room(there, "the index cache")
