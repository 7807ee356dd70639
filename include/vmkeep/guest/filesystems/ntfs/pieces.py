"""One attribute of a record, as its bytes."""

from __future__ import annotations

import struct

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """An attribute, or a part of one that is continued in other records."""

    type: int
    name: str
    raw: bytes

    @property
    def is_resident(self) -> bool:
        """Whether the value lies in the record."""
        return not self.raw[8]

    @property
    def value(self) -> bytes:
        """The value of a resident attribute."""
        length, start = struct.unpack_from("<IH", self.raw, 16)
        return self.raw[start : start + length]

    @property
    def first_cluster(self) -> int:
        """Number of the attribute's first cluster in this piece."""
        return 0 if self.is_resident else int(struct.unpack_from("<Q", self.raw, 16)[0])
