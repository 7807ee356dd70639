"""A prune reads each manifest once to know what it needs, however often it looks at all points."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.maintenance.conftest import NONE, NOW, Vault, block, read
from tests.unit.maintenance.counted import calls_of
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository.points import blob_of_ref
from vmkeep.retention import RetentionRule


def worn(vault, points):
    """Store points of which each is an hour younger than the one before, and of which the second leaves waste."""
    refs = []
    for number in range(points):
        shared = [block(1), block(2)] if number else [block(at) for at in range(1, 9)]
        refs.append(vault.back_up([*shared, block(100 + number)], vm=f"vm{number % 4}"))
        vault.store.pass_time(hours=1)
    return refs


def pruned(rule=None):
    """Return a step that prunes."""

    def step(repository):
        report = execute(repository, plan_prune(repository, rule, margins=NONE, now=NOW))
        assert report.packs_rewritten
        assert report.packs_deleted

    return step


def reads_of_a_prune(vault, points, rule=None):
    """Return how many manifests a prune reads in a repository of its own with some points."""
    vault = Vault(vault.store.twin())
    refs = worn(vault, points + 4)
    for ref in refs[:4]:
        vault.forget(ref)
    return calls_of(vault, pruned(rule))["get points"]


def test_a_prune_reads_each_manifest_once_however_often_it_looks_at_all_points(vault):
    few, many = reads_of_a_prune(vault, 8), reads_of_a_prune(vault, 28)

    assert many - few == 20


def test_a_rule_costs_one_more_read_of_each_manifest(vault):
    keep_all = RetentionRule(keep_last=100)
    few, many = reads_of_a_prune(vault, 8, keep_all), reads_of_a_prune(vault, 28, keep_all)

    assert many - few == 2 * 20


@pytest.mark.parametrize("hours", [0, 1])
def test_a_point_that_comes_back_under_its_name_with_other_data_keeps_that_data(vault, hours):
    ref = vault.back_up([block(1)])
    vault.store.pass_time(hours=hours)
    other = vault.back_up([block(2)])
    repository = vault.open()
    point, others = (repository.load_point(each) for each in (ref, other))
    vault.forget(other)
    if hours:
        vault.back_up([block(3)], vm="young")
    plan = plan_prune(repository, None, margins=NONE, now=NOW)
    assert plan.condemned

    size = vault.store.size(blob_of_ref(ref))
    vault.store.delete(blob_of_ref(ref))
    vault.open().manifests.seal(replace(point, images=others.images))
    assert vault.store.size(blob_of_ref(ref)) == size
    execute(repository, plan)

    repository = vault.open()
    assert read(repository, repository.load_point(ref).images[0].root) == [block(2)]
