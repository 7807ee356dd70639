"""Makes the extents of ESX and ESXi, which no tool at hand writes; QEMU reads them, and judges the tests so."""

import struct
from array import array
from pathlib import Path

SECTOR = 512
COWD_TABLE = 4096
SE_GRAIN = 8 * SECTOR
SE_TABLE = 4096


def describe(path: Path, create_type: str, lines: list[str], *, cid: int = 1, parent: tuple[int, str] | None = None):
    text = [
        "# Disk DescriptorFile",
        "version=1",
        f"CID={cid:08x}",
        f"parentCID={parent[0] if parent else 0xFFFFFFFF:08x}",
        f'createType="{create_type}"',
        *([f'parentFileNameHint="{parent[1]}"'] if parent else []),
        *lines,
        'ddb.adapterType = "lsilogic"',
    ]
    path.write_text("\n".join(text) + "\n")
    return path


def write_cowd(path: Path, sectors: int, grains: dict[int, bytes]) -> Path:
    """Write a COWD extent with grains of one sector, by their number."""
    tables = -(-sectors // COWD_TABLE)
    directory = array("I", bytes(4 * tables))
    at = 4 + -(-4 * tables // SECTOR)
    content: dict[int, bytes] = {}
    for table in sorted({number // COWD_TABLE for number in grains}):
        directory[table] = at
        entries = array("I", bytes(4 * COWD_TABLE))
        place = at + 4 * COWD_TABLE // SECTOR
        for number in sorted(number for number in grains if number // COWD_TABLE == table):
            entries[number % COWD_TABLE] = place
            content[place] = grains[number]
            place += 1
        content[at] = entries.tobytes()
        at = place
    content[0] = struct.pack("<4s7I", b"COWD", 1, 3, sectors, 1, 4, tables, at)
    content[4] = directory.tobytes()
    return _write(path, content, at)


def write_sesparse(path: Path, sectors: int, grains: dict[int, bytes | int], *, replay: int = 0) -> Path:
    """Write a SEsparse extent with grains of 4 KiB, by their number; a number in place of bytes is an entry's kind."""
    tables = -(-sectors // (8 * SE_TABLE))
    directory_sectors = -(-8 * tables // SECTOR)
    tables_at = 16 + directory_sectors
    grains_at = tables_at + 64 * tables
    directory = array("Q", bytes(8 * tables))
    entries: dict[int, array[int]] = {}
    content: dict[int, bytes] = {}
    stored = 0
    for number, grain in sorted(grains.items(), reverse=True):  # to have them out of order in the file
        table = entries.setdefault(number // SE_TABLE, array("Q", bytes(8 * SE_TABLE)))
        if isinstance(grain, int):
            table[number % SE_TABLE] = grain << 60
        else:
            table[number % SE_TABLE] = 3 << 60 | (stored & 0xFFF) << 48 | stored >> 12
            content[grains_at + 8 * stored] = grain
            stored += 1
    for place, (number, table) in enumerate(entries.items()):
        directory[number] = 1 << 60 | place
        content[tables_at + 64 * place] = table.tobytes()
    words = array("Q", bytes(SECTOR))
    words[0:5] = array("Q", [0xCAFEBABE, 0x200000001, sectors, 8, 64])
    places = [(1, 1), (2, 2), (4, 4), (16, directory_sectors), (tables_at, 64 * tables)]
    places += [(8, 1), (9, 1), (grains_at, 8 * max(1, stored))]
    for index, (start, size) in enumerate(places):
        words[10 + 2 * index], words[11 + 2 * index] = start, size
    content[0] = words.tobytes()
    content[1] = struct.pack("<4Q", 0xCAFECAFE, 0, 0, replay)
    content[16] = directory.tobytes()
    return _write(path, content, grains_at + 8 * max(1, stored))


def _write(path: Path, content: dict[int, bytes], sectors: int) -> Path:
    with path.open("wb") as file:
        file.truncate(sectors * SECTOR)
        for sector, data in content.items():
            file.seek(sector * SECTOR)
            file.write(data)
    return path
