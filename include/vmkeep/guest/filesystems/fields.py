"""Numbers at known places of a structure."""

from __future__ import annotations

from typing import Literal

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True)
class Fields:
    """Unsigned numbers by their byte offsets in a structure. One beyond its end is cut, as if zeros followed."""

    data: bytes
    order: Literal["little", "big"]

    def half(self, at: int) -> int:
        """Return a number of 16 bits."""
        return int.from_bytes(self.data[at : at + 2], self.order)

    def word(self, at: int) -> int:
        """Return a number of 32 bits."""
        return int.from_bytes(self.data[at : at + 4], self.order)

    def long(self, at: int) -> int:
        """Return a number of 64 bits."""
        return int.from_bytes(self.data[at : at + 8], self.order)
