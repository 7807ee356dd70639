"""Frozen values that every layer shares. This package has no I/O, no vSphere types and no byte layouts.

Each module defines one noun and is imported by itself.
"""

__all__ = [
    "access", "address", "arrayhook", "audit", "aws", "blockio", "changedown", "disk", "diskaccess", "diskrule",
    "exports", "extents", "fetched", "fieldwords", "fullreason", "guest", "guestfiles", "hostconfig", "imagekeys",
    "job", "knownpoint", "limits", "lun", "overwrite", "place", "point",
    "portable", "prints", "proofs", "purpose", "quiescing", "rdm", "references", "room",
    "samefiles", "scanfacts", "scanning", "selector", "serving", "sinks", "site", "sizes", "transport", "vmref",
    "wording", "writeway",
]  # fmt: skip
