"""FAT12, FAT16, FAT32 and exFAT, after Microsoft's specifications of them.

All keep the clusters of a file as a chain in a table, which :mod:`chains` follows. :mod:`fatvolume` reads the folders
of the FATs, with long names, and :mod:`exfatvolume` those of exFAT, whose entries have checksums. :mod:`reader` puts
them together. Neither has owners, modes, links or extended attributes.
"""

from vmkeep.guest.filesystems.fat.reader import open_exfat, open_fat

__all__ = ["open_exfat", "open_fat"]
