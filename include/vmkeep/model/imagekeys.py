"""Makes the keys under which imported images are kept, and tells them from those of VMs."""

from __future__ import annotations

import re
from typing import Final

IMAGE_KEYS: Final = "image-"
"""The beginning of each key under which images are kept."""
_LONGEST_SLUG: Final = 144
"""Greatest number of characters of a slug. With a longer one, a store's folder would have to cut the key."""


def is_image_key(key: str) -> bool:
    """Return whether images are kept under a key, and not a VM's backups."""
    return key.startswith(IMAGE_KEYS)


def image_key(name: str) -> str:
    """Return the key under which the images of that name are kept."""
    from blake3 import blake3  # takes time to import, and each DAG file loads this module

    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if slug != name or len(slug) > _LONGEST_SLUG:  # because names may differ only in what a slug leaves out
        slug = f"{slug[:60]}-{blake3(name.encode()).hexdigest()[:8]}".lstrip("-")
    return f"{IMAGE_KEYS}{slug}"
