"""The tree of the inventory: its root folder, and the object that stands above another one."""

from typing import Any

from vmlab.api import vim
from vmlab.managed.world.world import World

ROOT_FOLDER = vim.Folder("group-d1")
"""The root folder of a vCenter."""
HOST_ROOT_FOLDER = vim.Folder("ha-folder-root")
"""The root folder of an ESXi host without vCenter."""


def root_folder(world: World) -> Any:
    """The root folder of this inventory."""
    return HOST_ROOT_FOLDER if world.exists(HOST_ROOT_FOLDER) else ROOT_FOLDER


def above(world: World, ref: Any) -> Any:
    """The parent of an object. A VM in a vApp has no parent, and its vApp is returned."""
    return world.get(ref, "parent") or world.get(ref, "parentVApp")
