"""The names of imported machines, and the key under which the points of each are kept."""

from __future__ import annotations

import re

from blake3 import blake3

_LONGEST_SLUG = 144
"""Longer ones would make a key that a store's folder has to cut."""
_LONGEST_NAME = 255


def image_key(name: str) -> str:
    """Return the key under which the images of that name are kept."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if slug != name or len(slug) > _LONGEST_SLUG:  # names that only differ in what a slug leaves out stay apart
        slug = f"{slug[:60]}-{blake3(name.encode()).hexdigest()[:8]}".lstrip("-")
    return f"image-{slug}"
