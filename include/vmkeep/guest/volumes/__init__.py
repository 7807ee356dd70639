"""The volumes of a guest: disks, partitions and logical volumes, each with its name, its content and its bytes.

:func:`find_volumes` reads the partition tables and the metadata of LVM, and looks at the first bytes of each volume
(``detecting``). A logical volume becomes a disk (``logical``) that is made of parts of others (``parts``): extents one
after the other, stripes, the leg of a mirror (``raid1``), or blocks of a thin pool (``thin``). Every volume is a
:class:`~vmkeep.model.blockio.RandomDisk`, so that nobody above knows what it is made of, and holes stay holes.

A volume that cannot be read is in the list all the same, with the reason and the way out.
"""

from vmkeep.guest.volumes.finding import find_unopened, find_volumes
from vmkeep.guest.volumes.volume import Volume, Volumes

__all__ = ["Volume", "Volumes", "find_unopened", "find_volumes"]
