"""Walks the tree of a VM's snapshots and finds nodes. Pure: works on the `SnapshotInfo` object."""

from collections.abc import Iterator
from typing import Any


def walk_tree(nodes: list[Any]) -> Iterator[Any]:
    """Every node of a snapshot tree, children before parents."""
    for node in nodes:
        yield from walk_tree(node.childSnapshotList)
        yield node


def snapshot_refs(info: Any) -> list[Any]:
    """The references of all snapshots of a tree."""
    return [node.snapshot for node in walk_tree(info.rootSnapshotList)] if info is not None else []


def find_node(info: Any, ref: Any) -> Any:
    """The node of a snapshot, or None."""
    return next((node for node in walk_tree(info.rootSnapshotList) if node.snapshot == ref), None)


def parent_node(info: Any, ref: Any) -> Any:
    """The node a snapshot hangs under, or None."""
    nodes = walk_tree(info.rootSnapshotList)
    return next((node for node in nodes if any(child.snapshot == ref for child in node.childSnapshotList)), None)


def tree_depth(info: Any) -> int:
    """Return the number of snapshots under the current state."""
    count = 0
    node = find_node(info, info.currentSnapshot) if info is not None and info.currentSnapshot is not None else None
    while node is not None:
        count += 1
        node = parent_node(info, node.snapshot)
    return count
