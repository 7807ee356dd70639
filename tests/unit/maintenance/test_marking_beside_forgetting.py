"""A prune that forgets points, and sweeps what they needed, while another one marks: no false alarm, and no lie."""

from __future__ import annotations

import pytest

from tests.unit.maintenance.conftest import NONE, NOW, block
from vmkeep.errors import CorruptError
from vmkeep.maintenance.plan import plan_prune
from vmkeep.testing import FaultyStore


class Forgetful(FaultyStore):
    """A store in which one point after the other is forgotten, and swept, each time right after all were listed."""

    def __init__(self, vault, refs):
        super().__init__(vault.store)
        self._vault = vault
        self._refs = refs

    def list(self, prefix):
        listed = list(super().list(prefix))
        if prefix == "packs/" and self._refs:
            self._vault.forget(self._refs.pop())
            self._vault.prune()
            self._vault.prune()
        return iter(listed)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_points_that_are_forgotten_while_they_are_marked_are_no_damage(vault, count):
    refs = [vault.back_up([block(100 + number), block(1)]) for number in range(count)]

    plan = plan_prune(vault.open(Forgetful(vault, refs)), None, margins=NONE, now=NOW)

    assert refs == []
    assert plan.lost_blocks == 0


def test_a_point_that_stands_and_lacks_a_page_is_damage(vault):
    vault.back_up([block(1)])
    for blob in list(vault.store.list("index/")):
        vault.store.delete(blob.key)

    with pytest.raises(CorruptError, match="missing"):
        vault.plan()
