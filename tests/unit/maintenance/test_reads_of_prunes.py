"""A prune reads each manifest once to know what it needs, however often it looks at all points."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.maintenance.conftest import NONE, NOW, Vault, block, read
from tests.unit.maintenance.counted import calls_of
from vmkeep.clock import now
from vmkeep.maintenance.deletion import delete_points, plan_deletion
from vmkeep.maintenance.facts import point_facts
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


@pytest.mark.parametrize("last", [100, 1], ids=["keeps all", "deletes most"])
def test_a_rule_reads_no_manifest_once_more(vault, last):
    rule = RetentionRule(keep_last=last)
    few, many = reads_of_a_prune(vault, 8, rule), reads_of_a_prune(vault, 28, rule)

    assert many - few == 20


def test_a_deletion_reads_each_manifest_of_its_vm_once_but_for_the_youngest(vault):
    vault.store.time = now() - timedelta(hours=12)
    refs = worn(vault, 12)
    named = [ref for ref in refs if ref.startswith("vm1/")][:2]

    def step(repository):
        assert delete_points(repository, plan_deletion(repository, named)).points_deleted == tuple(named)

    assert calls_of(vault, step)["get points"] == 3 + 1


def test_a_point_that_comes_back_as_another_vms_counts_as_that_ones(vault):
    """By its rule a policy keeps its points, so a point of another policy under the same name must not go."""
    ref = vault.back_up([block(1)], policy="short")
    vault.store.pass_time(hours=1)
    vault.back_up([block(2)], policy="short")
    repository = vault.open()
    assert [facts.policy for facts in point_facts(repository, at=NOW)] == ["short", "short"]

    point = repository.load_point(ref)
    vault.store.delete(blob_of_ref(ref))
    vault.open().manifests.seal(replace(point, policy="fifty"))

    assert [facts.policy for facts in point_facts(repository, at=NOW)] == ["fifty", "short"]


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
