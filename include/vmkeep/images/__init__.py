"""Disk images as restore points, and restore points as disk images."""

from vmkeep.images.exporting import export_image
from vmkeep.images.imagenames import image_key
from vmkeep.images.importing import import_images

__all__ = ["export_image", "image_key", "import_images"]
