"""Work that takes longer than maintenance waits is not taken for dead: an import, a copy, a rewriting."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block
from vmkeep.flows.pointcopy import copy_points
from vmkeep.images import import_images
from vmkeep.maintenance.margins import Margins
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import FaultyStore

IMPATIENT = Margins(left_for=timedelta())


class Pruned(FaultyStore):
    """A store that is pruned right before and after each pack and segment: the one that puts them works for long."""

    def __init__(self, vault):
        super().__init__(vault.store)
        self._vault = vault
        self.prunes = 0

    def put(self, key, data):
        if not key.startswith(("packs/", "index/")):
            return super().put(key, data)
        self._prune()
        created = super().put(key, data)
        self._prune()
        return created

    def _prune(self):
        self.prunes += 1
        assert self._vault.prune(margins=IMPATIENT).runs_removed == 0


def walked(store):
    return any(call == "size" and key.startswith("packs/") for call, key in store.calls)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(b"".join(block(number) for number in range(1, 20)))
    return path


def test_an_import_that_works_longer_than_maintenance_waits_is_not_taken_for_dead(vault, image):
    store = Pruned(vault)

    import_images(vault.open(store), [image], name="web")

    assert store.prunes > 4
    assert not walked(store)
    assert list(vault.store.list("runs/")) == []


def test_a_copy_that_works_longer_than_maintenance_waits_is_not_taken_for_dead(vault):
    ref = vault.back_up([block(number) for number in range(1, 20)])
    made = AgingStore()
    descriptor.create(made, descriptor.new_descriptor(block_size=BLOCK, compression="lz4"))
    store = Pruned(Vault(made))

    copy_points(vault.open(), Vault(made).open(store), [ref])

    assert store.prunes > 4
    assert not walked(store)
    assert list(made.list("runs/")) == []
