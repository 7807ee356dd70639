"""Folders and their children: entering and leaving a folder, and names as the inventory keeps them."""

from typing import Any

from vmlab.api import vim
from vmlab.managed.world.world import World


def adopt(world: World, folder: Any, child: Any) -> None:
    """List a child in its folder."""
    world.update(folder, childEntity=[*(world.get(folder, "childEntity") or []), child])


def abandon(world: World, child: Any) -> None:
    """Take a child out of its folder's list."""
    folder = world.get(child, "parent")  # None for a VM in a vApp
    if folder is not None and world.exists(folder):
        kept = [ref for ref in world.get(folder, "childEntity") or [] if ref != child]
        world.update(folder, childEntity=kept)


def inventory_name(name: str) -> str:
    """Return a name as the inventory keeps it: slash, backslash and percent are escaped."""
    if "%2f" in name.lower() or "%5c" in name.lower() or "%25" in name:
        return name
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


def check_free_name(world: World, folder: Any, name: str, *, besides: Any = None) -> None:
    """Raise the DuplicateName fault if a folder already has a child of that name."""
    for child in world.get(folder, "childEntity") or []:
        if child != besides and str(world.get(child, "name")) == name:
            raise vim.fault.DuplicateName(name=name, object=child, msg=f"The name '{name}' already exists.")
