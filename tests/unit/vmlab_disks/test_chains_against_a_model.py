"""Chains of links against a plain bytearray per instant: any writes, snapshots, consolidations, reverts."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vmlab.disks import DiskStore, UnknownChangeIdError

BLOCK = 65536
MEMORY = Path("/dev/shm")
"""Where there is one: consolidating syncs, and hundreds of syncs take their time on a real disk."""
CAPACITY = 20 * BLOCK + 3 * 512


@dataclass
class Link:
    """Knowledge of the model about one link: the disk as seen through it, and the moment of each block's last write."""

    name: str
    image: bytearray
    life: int
    written: dict[int, int] = field(default_factory=dict)
    frozen_at: int | None = None
    children: int = 0


class ChainMachine(RuleBasedStateMachine):
    """A VM's disk as its links, base first."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.store = DiskStore(Path(self.folder.name))
        self.clock = 0
        self.lives = 0
        self.numbers = 0
        self.cursors: list[tuple[str, int, int]] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(thin=st.booleans())
    def create(self, thin: bool) -> None:
        self.store.create("[ds] vm/disk.vmdk", CAPACITY, thin=thin)
        self.store.enable_tracking("[ds] vm/disk.vmdk")
        self.links = [Link("[ds] vm/disk.vmdk", bytearray(CAPACITY), life=0)]

    @rule(offset=st.integers(0, CAPACITY - 1), length=st.integers(1, 3 * BLOCK), value=st.integers(0, 255))
    def write(self, offset: int, length: int, value: int) -> None:
        length = min(length, CAPACITY - offset)
        top = self.links[-1]
        self.clock += 1
        data = bytes([value]) * length
        with self.store.open(top.name, writable=True) as disk:
            disk.write(offset, data)
        top.image[offset : offset + length] = data
        for block in range(offset // BLOCK, (offset + length - 1) // BLOCK + 1):
            top.written[block] = self.clock

    @rule()
    def snapshot(self) -> None:
        if len(self.links) < 6:
            self.clock += 1
            top = self.links[-1]
            top.frozen_at = self.clock
            change_id = self.store.info(top.name).change_id
            assert change_id
            self.cursors.append((change_id, top.life, self.clock))
            self._add_child(top)

    @rule(data=st.data())
    def remove_snapshot(self, data: st.DataObject) -> None:
        if len(self.links) > 1:
            index = data.draw(st.integers(1, len(self.links) - 1))
            child, parent = self.links.pop(index), self.links[index - 1]
            self.store.consolidate(child.name)
            child.name = parent.name
            self.links[index - 1] = child

    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        if len(self.links) > 1:
            keep = data.draw(st.integers(1, len(self.links) - 1))
            for link in reversed(self.links[keep:]):
                self.store.delete(link.name)
            del self.links[keep:]
            self.clock += 1
            self._add_child(self.links[-1])

    @rule(data=st.data())
    def ask_what_changed(self, data: st.DataObject) -> None:
        frozen = [link for link in self.links if link.frozen_at is not None]
        if not frozen or not self.cursors:
            return
        link = data.draw(st.sampled_from(frozen))
        change_id, life, moment = data.draw(st.sampled_from(self.cursors))
        assert link.frozen_at is not None
        if life != link.life:
            with pytest.raises(UnknownChangeIdError):
                self.store.changed_areas(link.name, change_id, 0)
        elif moment <= link.frozen_at:
            expected = {block for block, at in link.written.items() if at > moment}
            assert blocks_of(self.store.changed_areas(link.name, change_id, 0)) == expected

    @invariant()
    def every_link_reads_as_its_instant(self) -> None:
        for link in getattr(self, "links", []):
            with self.store.open(link.name) as disk:
                assert disk.read(0, CAPACITY) == link.image
                outside = bytearray(link.image)
                for offset, length in disk.allocated():
                    outside[offset : offset + length] = bytes(length)
                assert not any(outside)

    def _add_child(self, parent: Link) -> None:
        self.numbers += 1
        child = Link(f"[ds] vm/disk-{self.numbers:06}.vmdk", bytearray(parent.image), parent.life, dict(parent.written))
        if parent.children:
            self.lives += 1
            child.life, child.written = self.lives, {}
        parent.children += 1
        self.store.create_child(parent.name, child.name)
        self.links.append(child)


def blocks_of(areas: list[tuple[int, int]]) -> set[int]:
    """Return the numbers of the blocks that the areas cover, which must be whole, merged and in order."""
    end = -1
    blocks: set[int] = set()
    for offset, length in areas:
        assert offset % BLOCK == 0
        assert offset > end
        assert (offset + length) % BLOCK == 0 or offset + length == CAPACITY
        end = offset + length
        blocks.update(range(offset // BLOCK, -(-end // BLOCK)))
    return blocks


TestChains = ChainMachine.TestCase
TestChains.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
