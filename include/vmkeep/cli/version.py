"""``vmkeep --version``: the versions that somebody asks for who is to help."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import click

from vmkeep import __version__
from vmkeep.cli.output import print_json

_LIBRARIES = ("pyvmomi", "zstandard", "blake3", "obstore")
_JSON = "as_json"


def show_versions(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    """Print the versions and end, if they are asked for."""
    if not asked or context.resilient_parsing:
        return
    found = versions()
    if context.params.get(_JSON):
        print_json(found)
    else:
        click.echo("\n".join(_lines(found)))
    context.exit()


def versions() -> dict[str, Any]:
    """Return the versions of this program, of what it works with, and of the repository format that it writes."""
    from vmkeep.repository.unlock.descriptor import FORMAT_VERSION  # takes time to import

    return {
        "vmkeep": __version__,
        "python": platform.python_version(),
        "libraries": {name: _installed(name) for name in _LIBRARIES},
        "vddk": _vddk(),
        "repository_format": FORMAT_VERSION,
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _vddk() -> dict[str, str] | None:
    """Return VDDK's version and folder, or why it cannot be told; nothing where no folder is set."""
    from vmkeep.cli.configuration import value_of
    from vmkeep.cli.settings import VDDK
    from vmkeep.errors import UsageError
    from vmkeep.vddk.folder import find_library

    try:
        if not (folder := value_of(VDDK)):
            return None
        library = find_library(folder)
    except UsageError as error:
        return {"problem": str(error)}
    return {"version": library.version, "folder": str(library.folder)}


def _lines(found: dict[str, Any]) -> list[str]:
    vddk = found["vddk"] or {"problem": "no folder is set"}
    return [
        f"vmkeep {found['vmkeep']}",
        f"Python {found['python']}",
        *(f"{name} {version or 'is not installed'}" for name, version in found["libraries"].items()),
        f"VDDK {vddk['version']} in {vddk['folder']}" if "version" in vddk else f"VDDK: {vddk['problem']}",
        f"repository format {found['repository_format']}",
    ]
