"""Imports disk images as restore points, and exports disks of restore points as images.

Names are loaded on first use, because an import needs no export, and most commands need neither.

*Import* (``importing``) stores images in local files as one restore point, as if they were the disks of a VM.
``foreign`` opens them (``foreigndisks``), and the disks of a machine that an OVF, OVA or ``.vmx`` file describes
(``foreignmachines``); ``manifests`` compares their files with the digests of an OVF, and ``unused`` makes sure that
nobody writes to them. ``imagenames`` checks the machine's name. If the caller names the areas that
changed, ``imageparents`` finds the point that these changes continue: the one that the caller names, never the newest
by a clock.

*Export* (``exporting``) writes one disk of a restore point into a sparse file, under a temporary name until the file is
complete. ``diskfiles`` reads and writes files and block devices as disks.

A point's disks become images of other formats in a *place* (``drafts``): a folder (``localdrafts``, with the files in
``localsinks`` and the notes in ``draftnotes``), or S3 (``s3drafts``).
``pointexport`` exports a point: ``exportwork`` plans the images (``imageplans``), writes each disk by its plan
(``laidout``) and reads the images back (``readingback``), and the manifest is written last. ``applying`` puts another
point onto such images: ``applyplans`` finds the difference, ``appliedimages`` writes it, ``exportmanifests`` reads and
replaces the manifest, and ``imagelocks`` keeps QEMU away meanwhile.
"""

from typing import TYPE_CHECKING

from vmkeep.doors import loaded_on_use

if TYPE_CHECKING:
    from vmkeep.images.applying import AppliedDisk, AppliedPoint, apply_point
    from vmkeep.images.drafts import Draft, ExportPlace
    from vmkeep.images.exporting import export_image
    from vmkeep.images.exportnames import check_export_name, safe_name
    from vmkeep.images.foreigndisks import Foreign
    from vmkeep.images.importing import Kept, import_images
    from vmkeep.images.localdrafts import LocalPlace
    from vmkeep.images.overlays import Converter
    from vmkeep.images.pointexport import AT_ONCE, Companions, export_point, no_companions
    from vmkeep.images.s3drafts import S3Place

_HOMES = {
    "AT_ONCE": "pointexport",
    "AppliedDisk": "applying",
    "AppliedPoint": "applying",
    "Companions": "pointexport",
    "Converter": "overlays",
    "Draft": "drafts",
    "ExportPlace": "drafts",
    "Foreign": "foreigndisks",
    "Kept": "importing",
    "LocalPlace": "localdrafts",
    "S3Place": "s3drafts",
    "apply_point": "applying",
    "check_export_name": "exportnames",
    "export_image": "exporting",
    "export_point": "pointexport",
    "import_images": "importing",
    "no_companions": "pointexport",
    "safe_name": "exportnames",
}

__all__ = [
    "AT_ONCE",
    "AppliedDisk",
    "AppliedPoint",
    "Companions",
    "Converter",
    "Draft",
    "ExportPlace",
    "Foreign",
    "Kept",
    "LocalPlace",
    "S3Place",
    "apply_point",
    "check_export_name",
    "export_image",
    "export_point",
    "import_images",
    "no_companions",
    "safe_name",
]

if not TYPE_CHECKING:  # or a name that is not at the door would be any to a type checker
    __getattr__ = loaded_on_use(__name__, _HOMES)
