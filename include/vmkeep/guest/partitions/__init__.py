"""Partition tables: MBR with logical partitions, and GPT, also of disks with sectors of 4096 bytes.

``table`` decides which table a disk has, as Linux does: GPT if there is a protective MBR, else MBR. ``mbr`` walks the
chain of logical partitions, which may be a loop. ``gpt`` checks both checksums of a header, and uses the backup at the
end of the disk if the first header is damaged. ``places`` has the values. Numbers are those of Linux.
"""

from vmkeep.guest.partitions.places import PartitionPlace, PartitionTable, TableKind
from vmkeep.guest.partitions.table import read_partitions

__all__ = ["PartitionPlace", "PartitionTable", "TableKind", "read_partitions"]
