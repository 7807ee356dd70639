"""The partition tables of LUNs, as a host reads them: MBR or GPT, from the first sectors of the LUN's file."""

import struct
import uuid
from pathlib import Path
from typing import Any

from vmlab.api import vim
from vmlab.managed.site import Call, method
from vmlab.managed.storage.luns import Lun, all_luns, lun_file

_SECTOR = 512
_PROTECTIVE = 0xEE
_KINDS = {0xFB: "vmfs", 0x83: "linuxNative", 0x82: "linuxSwap", 0x07: "ntfs"}
_TABLE = vim.host.DiskPartitionInfo


@method(vim.host.StorageSystem, "RetrieveDiskPartitionInfo")
def retrieve_disk_partition_info(call: Call, devicePath: list[str]) -> list[Any]:
    """Answer with the partitions of each LUN that a device path names. A path of no LUN is left out."""
    by_path = {f"/vmfs/devices/disks/{lun.canonical}": lun for lun in all_luns(call.site)}
    return [_info(path, lun_file(call.site, by_path[path]), by_path[path]) for path in devicePath if path in by_path]


def _info(path: str, file: Path, lun: Lun) -> Any:
    with file.open("rb") as opened:
        head = opened.read(_SECTOR * 34)
    kind, found = "unknown", []
    if head[510:512] == b"\x55\xaa":
        kind, found = "mbr", [_of_mbr(number, head[446 + 16 * number :][:16]) for number in range(4)]
        if head[446 + 4] == _PROTECTIVE and head[_SECTOR : _SECTOR + 8] == b"EFI PART":
            kind, found = "gpt", [_of_gpt(number, head[2 * _SECTOR + 128 * number :][:128]) for number in range(128)]
    spec = _TABLE.Specification(
        partitionFormat=kind,
        totalSectors=lun.capacity // _SECTOR,
        partition=[partition for partition in found if partition is not None],
    )
    lba = vim.host.DiskDimensions.Lba
    whole = _TABLE.BlockRange(
        type="none", start=lba(blockSize=_SECTOR, block=0), end=lba(blockSize=_SECTOR, block=spec.totalSectors - 1)
    )
    return _TABLE(deviceName=path, spec=spec, layout=_TABLE.Layout(partition=[whole]))


def _of_mbr(number: int, entry: bytes) -> Any | None:
    kind, start, count = entry[4], *struct.unpack("<II", entry[8:16])
    return _partition(number, start, start + count - 1, _KINDS.get(kind, "none")) if kind else None


def _of_gpt(number: int, entry: bytes) -> Any | None:
    if len(entry) < 128 or not any(entry[:16]):
        return None
    start, end = struct.unpack("<QQ", entry[32:48])
    return _partition(number, start, end, "none", guid=uuid.UUID(bytes_le=entry[:16]).hex)


def _partition(number: int, start: int, end: int, kind: str, guid: str | None = None) -> Any:
    return _TABLE.Partition(
        partition=number + 1, startSector=start, endSector=end, type=kind, guid=guid, logical=False, attributes=0
    )
