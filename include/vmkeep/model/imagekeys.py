"""Tells the keys of imported images from those of VMs."""

from __future__ import annotations

from typing import Final

IMAGE_KEYS: Final = "image-"
"""The beginning of each key under which images are kept."""


def is_image_key(key: str) -> bool:
    """Return whether images are kept under a key, and not a VM's backups."""
    return key.startswith(IMAGE_KEYS)
