"""``vmkeep config``: the settings as they are, and where each value comes from."""

from __future__ import annotations

from collections.abc import Callable

import click

from vmkeep.cli.configuration import Found, config_path, find
from vmkeep.cli.options import catalog_url, json_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Verbs
from vmkeep.cli.settings import CACHE, CATALOG, POLICIES, SETTINGS, TIME_ZONE, Setting


def _cache() -> str:
    from vmkeep.flows.repositories import cache_folder  # takes time to import

    return str(cache_folder() or "none, because this user has no home folder")


def _policies() -> str:
    from vmkeep.policy import default_folder  # takes time to import

    return str(default_folder())


_DEFAULTS: dict[Setting, Callable[[], str]] = {
    CATALOG: catalog_url,
    TIME_ZONE: lambda: "UTC",
    CACHE: _cache,
    POLICIES: _policies,
}


@click.group(cls=Verbs)
def config() -> None:
    """Show the settings, and where each value comes from."""


@config.command(
    "show", examples={"Show the settings that another file gives": "VMKEEP_CONFIG=lab.toml vmkeep config show"}
)
@json_option
def show(as_json: bool) -> None:
    """Show each setting with its value and its source.

    Secrets are not shown. An option of a command comes before all of these. See also 'vmkeep help environment'.
    """
    path = config_path()
    rows = [(setting, _found(setting)) for setting in SETTINGS]
    if as_json:
        settings = {setting.key: {"value": _value(found), "source": found.source} for setting, found in rows}
        print_json({"file": str(path) if path else None, "settings": settings})
        return
    there = path is not None and path.exists()
    click.echo(
        f"configuration file: {path or 'none, because this user has no home folder'}{'' if there else ' (missing)'}"
    )
    print_table(
        ("setting", "value", "comes from"),
        [(setting.key, _value(found), found.source) for setting, found in rows],
        none="there is no setting",
    )


def _found(setting: Setting) -> Found:
    found = find(setting)
    if found.value is None and setting in _DEFAULTS:
        return Found(value=_DEFAULTS[setting](), source="default")
    return found


def _value(found: Found) -> str | None:
    return "(not shown)" if found.hidden else found.value
