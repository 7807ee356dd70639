"""The transactions in the log of XFS, and the items in them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.xfs.log import Log, LogError

_OPERATION: Final = struct.Struct(">IIBBxx")
_OF_TRANSACTIONS: Final = 0x69
_START: Final = 0x01
_COMMIT: Final = 0x02
_CONTINUES: Final = 0x04
_CONTINUED: Final = 0x08
_END: Final = 0x10
_UNMOUNT: Final = 0x20
_MAGIC: Final = 0x5452414E

Item = list[bytes]
"""The regions of an item; the first one tells its kind."""


def committed(log: Log) -> Iterator[Item]:
    """Yield the items of all transactions that were committed, in the order of their commits.

    :raises LogError: a record or a transaction contradicts itself.
    """
    open_ones: dict[int, list[bytearray]] = {}
    for operations, data in log.records():
        at = 0
        for _ in range(operations):
            if at + _OPERATION.size > len(data):
                raise LogError("has a record with more operations than bytes")
            number, length, client, flags = _OPERATION.unpack_from(data, at)
            at += _OPERATION.size
            part = data[at : at + length]
            if len(part) < length:
                raise LogError("has an operation that reaches beyond its record")
            at += length
            if client == _OF_TRANSACTIONS and not flags & _UNMOUNT:
                yield from _take(open_ones, number, flags, part)


def _take(open_ones: dict[int, list[bytearray]], number: int, flags: int, part: bytes) -> Iterator[Item]:
    """Add an operation to its transaction. If it is the commit, yield the transaction's items."""
    if flags & _START:
        open_ones[number] = []
        return
    regions = open_ones.get(number)
    if regions is None:  # a transaction whose beginning is older than the log's tail
        return
    if flags & _COMMIT:
        yield from _items(open_ones.pop(number))
    elif flags & _CONTINUED:
        if not regions:
            raise LogError("has an operation that continues nothing")
        regions[-1] += part
    elif part or flags & (_CONTINUES | _END) or not flags:
        regions.append(bytearray(part))


def _items(regions: list[bytearray]) -> Iterator[Item]:
    if not regions or len(regions[0]) < 4 or struct.unpack_from("<I", regions[0])[0] != _MAGIC:
        raise LogError("has a transaction without a header")
    at = 1
    while at < len(regions):
        if len(regions[at]) < 4:
            raise LogError("has an item that is cut")
        (count,) = struct.unpack_from("<H", regions[at], 2)
        if not count or at + count > len(regions):
            raise LogError("has an item with too few regions")
        yield [bytes(region) for region in regions[at : at + count]]
        at += count
