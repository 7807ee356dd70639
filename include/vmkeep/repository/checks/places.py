"""Tells whether a frame can be read, from the index, the listed packs and the damage that is known."""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.blobs import BlobStore, is_there
from vmkeep.errors import CorruptError
from vmkeep.repository.blocks import BlockReader, ReadBuffers, Wanted
from vmkeep.repository.folders import PACKS
from vmkeep.repository.frames import Kind, pack_key
from vmkeep.repository.index import Index, Location
from vmkeep.repository.notes import PackDamage, PackState


class Places:
    """Tells whether the frame of a digest can be read, from what is known about the packs."""

    def __init__(self, store: BlobStore, index: Index, blocks: BlockReader, known: dict[bytes, PackDamage]) -> None:
        """Prepare the look-ups.

        :param known: damage that was found before.
        """
        self._store = store
        self._index = index
        self._blocks = blocks
        self._known = known
        self._bad = {(pack, frame.offset) for pack, damage in known.items() for frame in damage.frames}
        self._present = {blob.key for blob in store.list(PACKS)}
        self._gone: set[str] = set()
        self._tried: dict[Location, str | None] = {}

    def find(self, digests: Sequence[bytes]) -> list[Location | None]:
        """Return where the frames are."""
        return self._index.find_many(digests)

    def why_not(self, location: Location | None, digest: bytes, *, kind: Kind, length: int) -> str | None:
        """Return why a frame cannot be read; ``None`` if it can.

        :param length: bytes of its content.
        """
        what = "block" if kind is Kind.BLOCK else "map page"
        if location is None or location.kind is not kind:
            return f"{what} {digest.hex()[:16]}… is not in the index"
        pack = location.pack
        if (pack, location.offset) in self._bad:
            return f"{what} is damaged in {pack_key(pack)}, byte {location.offset}"
        if not self._is_present(pack):
            return f"{what} is lost with its pack ({pack.hex()})"
        damage = self._known.get(pack)
        if damage is not None and damage.state is PackState.BROKEN:
            why = self._try(location, digest, length)
            return why and f"{what} is damaged in the damaged pack {pack_key(pack)}: {why}"
        return None

    def _is_present(self, pack: bytes) -> bool:
        """Return whether a pack exists. Asks the store for a pack that is newer than our listing."""
        key = pack_key(pack)
        if key not in self._present and key not in self._gone:
            (self._present if is_there(self._store, key) else self._gone).add(key)
        return key in self._present

    def _try(self, location: Location, digest: bytes, length: int) -> str | None:
        """Read one frame, because the damage of its pack as a whole may not affect it."""
        if location not in self._tried:
            self._tried[location] = self._read(Wanted(digest, location, length, ()))
        return self._tried[location]

    def _read(self, wanted: Wanted) -> str | None:
        try:
            for batch in self._blocks.plan([wanted]):
                for _ in self._blocks.read(batch, ReadBuffers()):
                    pass
        except CorruptError as error:
            return str(error)
        return None
