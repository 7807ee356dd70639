"""Restore points as blobs: their names, their manifests, and the way from a person's words to one of them.

A restore point exists when its *manifest* exists: one blob, created once under ``points/<vm>/<name>`` (``manifests``).
Its key follows from the VM, the time and the run (``pointnames``), so a list of keys answers most questions without
reading a manifest. A manifest that cannot be read hides no other.

``lookup`` finds one point by ``latest``, or by the beginning of a reference. ``newest`` orders the points of one VM. It
distrusts points from the future, because a wrong clock must not choose for a person.
"""

from vmkeep.repository.points.lookup import find_point, find_ref, keys_of_vm, latest_point, latest_refs
from vmkeep.repository.points.manifestmemory import ManifestFacts, ManifestLook
from vmkeep.repository.points.manifests import KnownPoints, Manifests, ReadPoint, load_ref, point_id
from vmkeep.repository.points.newest import is_ahead, newest_first, warn_of_the_future
from vmkeep.repository.points.pointnames import PointName, blob_of_ref, folder_of, is_cut, parse_key, safe_name
from vmkeep.repository.points.vmfolders import blobs_of_vms

__all__ = [
    "KnownPoints",
    "ManifestFacts",
    "ManifestLook",
    "Manifests",
    "PointName",
    "ReadPoint",
    "blob_of_ref",
    "blobs_of_vms",
    "find_point",
    "find_ref",
    "folder_of",
    "is_ahead",
    "is_cut",
    "keys_of_vm",
    "latest_point",
    "latest_refs",
    "load_ref",
    "newest_first",
    "parse_key",
    "point_id",
    "safe_name",
    "warn_of_the_future",
]
