"""Frozen values that every layer shares; no I/O, no vSphere types, no byte layouts.

This package is a vocabulary: each module is one noun and is imported by itself.
"""

__all__ = [
    "address", "aws", "blockio", "disk", "extents", "job", "place", "point", "references", "selector", "site",
    "transport", "vmref", "wording",
]  # fmt: skip
