"""Snapshots with real delta disks: taking, removing, reverting, consolidating.

The state is the tree of a VM (`snapshot_tree` walks it) and one object per snapshot, whose configuration names the
frozen links. Taking a snapshot puts a new link on each disk (`snapshot_methods`). Removing one leaves links that
nobody needs: `disk_chains` plans which links to delete and which to merge, in which order, and `snapshot_disks`
carries the plan out, unless a backup client reads one of these links.

After a crash, `heal` points VMs past links that were merged without a record.
"""

from vmlab.managed.snapshots import snapshot_methods
from vmlab.managed.snapshots.disk_chains import known_links, point_backing, stray_links
from vmlab.managed.snapshots.snapshot_disks import heal, refuse_open
from vmlab.managed.snapshots.snapshot_tree import snapshot_refs

BEHAVIOURS = (snapshot_methods,)
"""Modules that answer methods or properties: importing them registers their functions."""

__all__ = ["BEHAVIOURS", "heal", "known_links", "point_backing", "refuse_open", "snapshot_refs", "stray_links"]
