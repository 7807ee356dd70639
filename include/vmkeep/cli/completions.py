"""Restore points and VMs that a shell offers when the Tab key is pressed.

They come from the catalog in the user's own SQLite file, and from nowhere else: a key press asks no network, opens no
repository, and loads no database library. So points of every repository are offered that this user has listed.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

import click
from click.shell_completion import CompletionItem

from vmkeep.cli.output import one_line

_PREFIX = "sqlite:///"
_PLAIN = re.compile(r"[\w.+-]+")
"""A name that no shell takes apart."""
_PLAIN_REF = re.compile(r"[\w.+/-]+")
"""The ref of a restore point that no shell takes apart."""
_MOST = 200
_POINTS = "SELECT ref, vm_name, taken_at FROM vmkeep2_point WHERE substr(ref, 1, ?) = ? ORDER BY taken_at DESC LIMIT ?"
_NAMES = (
    "SELECT DISTINCT vm_name FROM vmkeep2_point WHERE substr(vm_name, 1, ?) = ? AND ref NOT LIKE 'host-%' "
    "ORDER BY vm_name LIMIT ?"
)
"""Names of VMs only, because the newest point of a host is not found by the host's name."""


def complete_points(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer ``latest:`` of each VM, and the refs of restore points, newest first."""
    latest, colon, name = incomplete.partition(":")
    newest = [f"latest:{name}" for name in _names(name if colon else "")] if "latest".startswith(latest) else []
    # A shell reads one line for each part of an offer, so a line break in a VM's name would begin an offer of its own.
    refs = [
        CompletionItem(ref, help=one_line(f"{vm}, {taken_at[:16]}"))
        for ref, vm, taken_at in _rows(_POINTS, incomplete)
        if _PLAIN_REF.fullmatch(ref)
    ]
    return [*map(CompletionItem, newest), *refs]


def complete_vms(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of VMs that have restore points."""
    return [CompletionItem(name) for name in _names(incomplete)]


def complete_selectors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of VMs that have restore points, also behind ``name:``."""
    prefix = "name:" if incomplete.startswith("name:") else ""
    found = complete_vms(ctx, param, incomplete.removeprefix(prefix))
    return [CompletionItem(f"{prefix}{item.value}") for item in found]


def _names(incomplete: str) -> list[str]:
    return [name for (name,) in _rows(_NAMES, incomplete) if _PLAIN.fullmatch(name) and not name.startswith("-")]


def _rows(query: str, incomplete: str) -> list[tuple[str, ...]]:
    path = _catalog()
    if path is None or not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0.2)) as database:
            return list(database.execute(query, (len(incomplete), incomplete, _MOST)))
    except sqlite3.Error:
        return []  # a shell has nowhere to tell it


def _catalog() -> Path | None:
    from vmkeep.cli.options import catalog_url
    from vmkeep.errors import VmKeepError

    try:
        url = catalog_url()
    except VmKeepError:
        return None
    return Path(unquote(url.removeprefix(_PREFIX))) if url.startswith(_PREFIX) and url != _PREFIX else None
