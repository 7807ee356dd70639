"""Imports disk images as restore points, and exports disks of restore points as images.

*Import* (``importing``) stores raw images in local files as one restore point, as if they were the disks of a VM.
``formats`` refuses a file that holds a disk in another form, such as QCOW2 or VMDK. ``imagenames`` checks the machine's
name and makes its key. If the caller names the areas that changed, ``imageparents`` finds the point that these changes
continue: the one that the caller names, never the newest by a clock.

*Export* (``exporting``) writes one disk of a restore point into a sparse file, under a temporary name until the file is
complete. ``diskfiles`` reads and writes files and block devices as disks.

A point's disks become images of other formats in a *place* (``drafts``): a folder (``localdrafts``), or S3. ``laidout``
writes a disk by the plan of its image.
"""

from vmkeep.images.drafts import Draft, Place, WrittenFile
from vmkeep.images.exporting import export_image
from vmkeep.images.imagenames import image_key
from vmkeep.images.importing import import_images
from vmkeep.images.laidout import LaidOutTarget, stored_parts, write_in_any_order
from vmkeep.images.localdrafts import LocalPlace

__all__ = [
    "Draft",
    "LaidOutTarget",
    "LocalPlace",
    "Place",
    "WrittenFile",
    "export_image",
    "image_key",
    "import_images",
    "stored_parts",
    "write_in_any_order",
]
