"""``vmkeep --version``: the versions that somebody asks for who is to help."""

from __future__ import annotations

from typing import Any

import click

from vmkeep.cli.configuration import value_of
from vmkeep.cli.output import print_json
from vmkeep.cli.settings import VDDK
from vmkeep.errors import UsageError


def show_versions(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    """Print the versions and end, if they are asked for."""
    if not asked or context.resilient_parsing:
        return
    from vmkeep.flows.about import versions  # takes time to import

    try:
        found = versions(value_of(VDDK))
    except UsageError as error:  # a broken configuration file spoils no other version
        found = versions(None) | {"vddk": {"problem": str(error)}}
    if context.params.get("as_json"):
        print_json(found)
    else:
        click.echo("\n".join(_lines(found)))
    context.exit()


def _lines(found: dict[str, Any]) -> list[str]:
    vddk = found["vddk"] or {"problem": "no folder is set"}
    return [
        f"vmkeep {found['vmkeep']}",
        f"Python {found['python']}",
        *(f"{name} {version or 'is not installed'}" for name, version in found["libraries"].items()),
        f"VDDK {vddk['version']} in {vddk['folder']}" if "version" in vddk else f"VDDK: {vddk['problem']}",
        f"repository format {found['repository_format']}",
    ]
