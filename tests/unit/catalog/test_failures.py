"""A check that a VM has failed counts until a check of the same kind passes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vmkeep.catalog import NotedFailure, NotedProof, open_catalog
from vmkeep.catalog.failures import failures_of


def proof(result, at, *, ref="key/new", kind="boot"):
    return NotedProof(ref=ref, kind=kind, result=result, at=at)


def failed(*proofs):
    return [(each.vm_key, each.kind, each.ref, each.at) for each in failures_of(proofs)]


@pytest.mark.parametrize(
    ("later", "is_failed"),
    [
        (proof("passed", 2), False),
        (proof("passed", 2, ref="key/old"), False),
        (proof("passed", 2, kind="lvm"), True),
        (proof("passed", 2, ref="other/new"), True),
        (proof("undecided", 2), True),
        (proof("passed", 0), True),
        (proof("passed", 1), True),
    ],
    ids=["passed", "older point", "other kind", "other VM", "undecided", "earlier", "same second"],
)
def test_only_a_later_pass_of_the_same_kind_takes_a_failure_back(later, is_failed):
    wanted = [("key", "boot", "key/new", 1)] * is_failed

    assert failed(proof("failed", 1), later) == wanted
    assert failed(later, proof("failed", 1)) == wanted


def test_the_failures_of_a_vm_are_those_of_the_last_look(tmp_path):
    def note(*proofs):
        overview.note("repo", location="/srv", at=datetime.now(UTC), marks=(), proofs=iter(proofs), vms=())

    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        overview = catalog.overview()
        note(proof("failed", 1), proof("failed", 2, ref="other/new", kind="lvm"))
        every, own = overview.failures(), overview.failures("key")
        note(proof("passed", 3))
        assert overview.failures() == []

    assert own == [NotedFailure(vm_key="key", kind="boot", ref="key/new", at=1)]
    assert [(each.vm_key, each.kind) for each in every] == [("key", "boot"), ("other", "lvm")]
