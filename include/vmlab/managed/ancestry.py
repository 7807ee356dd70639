"""Which object stands above another one: its parent, or the vApp of a VM that has no parent."""

from typing import Any

from vmlab.managed.world import World


def above(world: World, ref: Any) -> Any:
    """The parent; a VM in a vApp has none, and its vApp stands there."""
    return world.get(ref, "parent") or world.get(ref, "parentVApp")
