"""The operators that keep a repository in shape, without a run: being killed, and what their lines say."""

from __future__ import annotations

import json
import random
from datetime import UTC
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from tests.unit.maintenance.conftest import BLOCK, described, write
from vmkeep.clock import now
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.plan import plan_prune
from vmkeep.model.job import Progress
from vmkeep.repository import create_repository, open_repository
from vmkeep.retention import RetentionRule
from vmkeep_airflow.operators.merge import MergeIndexOperator
from vmkeep_airflow.operators.prune import PruneOperator
from vmkeep_airflow.reports import plan_lines, table


@pytest.fixture
def location(tmp_path, monkeypatch):
    location = str(tmp_path / "repo")
    create_repository(location, block_size=BLOCK)
    for number in range(6):
        add_point(location, number)
    fields = {"conn_type": "vmkeep", "host": location}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(fields))
    return location


def add_point(location, number):
    """Seal one more restore point of the same VM."""
    with open_repository(location) as repository:
        with repository.open_writer(run=f"run-{number}") as out:
            root = write(repository, out, [random.Random(number).randbytes(BLOCK)])
            out.flush()
        repository.seal(described(root, f"run-{number}", number=number, size=BLOCK))


class KilledMerge(MergeIndexOperator):
    """Is killed at the first sign of progress."""

    def follow(self, label):
        take = super().follow(label)

        def kill(progress: Progress) -> None:
            self.on_kill()
            take(progress)

        return kill


def test_a_merge_that_is_killed_ends_at_its_next_step_and_can_be_done_again(location):
    with pytest.raises(AirflowException, match="told to stop") as caught:
        KilledMerge(task_id="merge").execute({})
    assert not isinstance(caught.value, AirflowFailException), "a retry helps"

    done = MergeIndexOperator(task_id="merge").execute({})
    assert done["done"]["segments_removed"] >= done["segments_to_merge"] > 1
    with open_repository(location) as repository:
        assert repository.check(read_data=True) == []


def test_being_killed_before_the_work_begins_harms_nothing(location):
    MergeIndexOperator(task_id="merge").on_kill()


def test_a_rule_that_is_none_is_refused_before_anything_is_looked_at(location):
    with pytest.raises(AirflowFailException, match="daily takes a number"):
        PruneOperator(task_id="prune", keep={"daily": "many"}).execute({})
    with pytest.raises(AirflowFailException, match="time zone"):
        PruneOperator(task_id="prune", keep={"daily": 1}, time_zone="Mars/Olympus").execute({})


def test_the_plan_names_each_point_that_goes_or_stays_for_a_reason_of_its_own(location):
    with open_repository(location) as repository:
        refs = sorted(repository.point_refs())
        repository.marks.pin(refs[0], reason="case 4711", by="test")
        plan = plan_prune(repository, RetentionRule(keep_last=2), margins=Margins(), now=now())
        text = "\n".join(plan_lines(plan, UTC))
    assert "vm: 3 of 6 points stay" in text
    assert f"stays: pinned ({refs[0]})" in text
    assert [ref for ref in refs if f"goes: nothing keeps it ({ref})" in text] == refs[1:4]


def test_a_report_leaves_out_what_is_zero_and_gives_sizes_in_units():
    lines = list(
        table({"prune": {"done": {"bytes_freed": 3 << 20, "packs_deleted": 2, "runs_removed": 0}}, "merge": None})
    )
    assert [" ".join(line.split()) for line in lines] == [
        "prune:", "done: bytes freed 3.0 MiB", "done: packs deleted 2", "merge: no result",
    ]  # fmt: skip


def test_a_prune_without_room_to_rewrite_keeps_what_it_did_and_is_no_success(location, monkeypatch):
    from vmkeep.maintenance import prune
    from vmkeep.maintenance.packsweep import Swept
    from vmkeep.maintenance.rewrite import Rewritten

    monkeypatch.setattr(prune, "_rewrite_and_sweep", lambda *_args: (Rewritten(no_room="no space left"), Swept()))
    results = {}
    context = {"ti": SimpleNamespace(dag_id="d", xcom_push=lambda key, value: results.update({key: value}))}

    with pytest.raises(AirflowFailException, match="no space left"):
        PruneOperator(task_id="prune", keep={"last": 2}).execute(context)

    assert results["return_value"]["done"]["points_forgotten"] == 4
