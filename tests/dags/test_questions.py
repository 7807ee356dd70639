"""The question to a person before a VM is touched: it says who asks, until when, and what a no or silence means."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput
from markdown_it import MarkdownIt

from vmkeep.errors import UnreachableError
from vmkeep.flows.restore_ledger import plan_id
from vmkeep.flows.restore_request import make_request
from vmkeep.flows.restore_values import DiskMatch, Restored, RestorePlan, Target
from vmkeep.flows.undo_values import Undoable, Undone
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import VmIdentity
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import create_repository
from vmkeep_airflow import secondperson
from vmkeep_airflow.causes import REASON
from vmkeep_airflow.operators.approve_restore import ApproveRestoreOperator
from vmkeep_airflow.operators.approve_undo import ApproveUndoOperator
from vmkeep_airflow.operators.end_undoable import EndUndoableOperator
from vmkeep_airflow.operators.finish_restore import FinishRestoreOperator
from vmkeep_airflow.operators.prepare_target import PrepareTargetOperator
from vmkeep_airflow.steps import Approval, ReadyTarget
from vmkeep_airflow.verbatim import listed

FOUND = Undoable(
    vm=VmRef(moref="vm-16", name="*app01*"), restore="r-1", snapshot="snapshot-7", power="poweredOn",
    taken_at=datetime(2026, 11, 20, tzinfo=UTC), devices_added=("Network adapter 2",),
)  # fmt: skip
UNDONE = Undone(vm=FOUND.vm, restore="r-1", snapshot="snapshot-7", undone=True)
PLAN = RestorePlan(
    request=make_request(point="x", run="r", vm="db01", on_conflict="overwrite"), point="vm/x",
    vm=VmIdentity(name="db01", key="k"), vcenter=None, target=VmIdentity(name="db01", key="k"), target_name="db01",
    place=None, matches=(),
)  # fmt: skip
RESTORED = Restored(
    run="r", vm=FOUND.vm, point="vm/x", created=False, powered_on=False,
    disks_written=1, bytes_written=1, bytes_zeroed=0,
)  # fmt: skip


def instance(run: str) -> SimpleNamespace:
    left: dict[str, object] = {}
    return SimpleNamespace(
        dag_id="restore_undo", run_id=run, try_number=1, max_tries=20, left=left, xcom_push=left.__setitem__
    )


CONTEXT = {
    "ti": instance("manual__1"), "task_instance": SimpleNamespace(id="id"),
    "dag_run": SimpleNamespace(
        triggering_user_name="jane", run_after=datetime(2026, 11, 26, 22, 5, tzinfo=UTC), run_id="manual__1",
        clear_number=0,
    ),
}  # fmt: skip


def question(**options):
    return ApproveUndoOperator(
        task_id="approve",
        found=to_plain(FOUND),
        undo=True,
        response_timeout=timedelta(hours=24),
        **{"yes": False, **options},
    )


def answered(option: str) -> dict[str, object]:
    return {
        "chosen_options": [option], "params_input": {}, "responded_at": datetime(2026, 11, 26, tzinfo=UTC),
        "responded_by_user": {"id": "1", "name": "joe"},
    }  # fmt: skip


def test_a_question_says_who_asks_until_when_and_what_is_lost_in_words_that_no_name_can_format(monkeypatch):
    asked = {}
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **question: asked.update(question))

    with pytest.raises(TaskAwaitingInput) as waiting:
        question().execute(CONTEXT)

    assert waiting.value.kwargs == {"shown": FOUND.id}
    assert waiting.value.timeout == timedelta(hours=24)
    assert asked["defaults"] is None, "because silence is no answer"
    for told in ("asked for by jane on 2026-11-26 22:05 UTC, in run manual__1", "without an answer until", "is lost",
                 "*app01*", "snapshot-7 of 2026-11-20", "Network adapter 2"):  # fmt: skip
        assert told in asked["body"]
    assert all(re.fullmatch("- ` .* `|---|", line) for line in asked["body"].splitlines())


LINES = [
    "VM app01 is running", "*app01* [x](http://evil.example) <b>", "a `b` ``c``", "`", "- x", "    indented",
    "two\nlines", "www.evil.example", "ends with a backslash \\", "dätä web/01 ☃",
]  # fmt: skip


def test_each_line_of_a_question_is_shown_on_its_own_and_letter_by_letter():
    tokens = MarkdownIt("commonmark").parse(listed(LINES))

    items = [token.children for token in tokens if token.type == "inline"]
    assert [[child.type for child in item] for item in items] == [["code_inline"]] * len(LINES)
    assert [item[0].content for item in items] == [line.replace("\n", " ") for line in LINES]
    assert len([token for token in tokens if token.type == "list_item_open"]) == len(LINES)


def test_a_yes_is_to_the_restore_that_was_shown_and_names_who_gave_it():
    done = question().execute_complete(CONTEXT, answered("Approve"), shown=FOUND.id)

    assert done == to_plain(Approval(plan=FOUND.id, asked=True, by="joe"))
    for shown in ("vm-16/snapshot-7/another", "vm-17/snapshot-7/r-1"):
        approval = to_plain(Approval(plan=shown, asked=True, by="joe"))
        acting = EndUndoableOperator(task_id="undo", found=to_plain(FOUND), approval=approval, undo=True)
        with pytest.raises(AirflowFailException, match="nobody has seen it"):
            acting.step(CONTEXT)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (answered("Reject"), "joe said no: nothing was touched"),
        ({"error": "too late", "error_type": "timeout"}, "nobody has answered within 1 day, 0:00:00, which counts as"),
    ],
)
def test_a_no_and_silence_fail_the_run_at_once_because_a_retry_would_ask_again(event, told):
    with pytest.raises(AirflowFailException, match=told):
        question().execute_complete(CONTEXT, event, shown=FOUND.id)
    assert told in CONTEXT["ti"].left[REASON], "the note of the run tells it"


def test_a_person_is_asked_before_a_lun_is_written_over_though_the_vm_is_new(monkeypatch):
    asked = {}
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **question: asked.update(question))
    rdm = Disk(
        key=2001, label="Hard disk 2", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController",
        bus=0, unit=1, capacity=1 << 20, backing="RawDiskMappingVer1", compatibility_mode="virtualMode", file_name="",
    )  # fmt: skip
    place = SettledPlace(
        folder="group-v1", folder_path="/Lab/vm", pool="resgroup-1", pool_path="/Lab", host="host-1", host_name="esx01",
        datastore="ds1", disks=(("scsi0:1", "ds1"),), networks=(), luns=(("scsi0:1", "naa.6"),),
    )  # fmt: skip
    plan = RestorePlan(
        request=make_request(point="x", run="r", new_name="db02"), point="vm/x", vm=VmIdentity(name="db01", key="k"),
        vcenter=None, target=None, target_name="db02", place=place,
        matches=(DiskMatch(disk=rdm, target_key=None, written=True, note="mapped to LUN naa.6"),),
        warnings=("it holds 2 partitions now",),
    )  # fmt: skip

    def ask(plan, on_conflict="prompt"):
        return ApproveRestoreOperator(task_id="approve", plan=to_plain(plan), on_conflict=on_conflict).execute(CONTEXT)

    with pytest.raises(TaskAwaitingInput):
        ask(plan)

    assert asked["subject"] == "Overwrite LUN naa.6?"
    assert "it holds 2 partitions now" in asked["body"]
    assert not from_plain(Approval, ask(plan, "overwrite")).asked
    with monkeypatch.context() as demanded:
        demanded.setenv("AIRFLOW__VMKEEP__SECOND_PERSON", "True")
        demanded.setattr("vmkeep_airflow.site.make_site", lambda **_ids: None)
        demanded.setattr("vmkeep_airflow.secondperson.forget", lambda *_args: None)
        with pytest.raises(TaskAwaitingInput):
            ask(plan, "overwrite")
    unwritten = replace(plan, matches=(replace(plan.matches[0], written=False),))
    assert not from_plain(Approval, ask(unwritten)).asked, "because nothing is written over"


@pytest.fixture
def second_person(monkeypatch, tmp_path):
    """Demand a second person; return the site whose repository keeps the answers."""
    monkeypatch.setenv("AIRFLOW__VMKEEP__SECOND_PERSON", "True")
    create_repository(str(tmp_path / "repository"))
    site = Site(repository=str(tmp_path / "repository"))
    monkeypatch.setattr("vmkeep_airflow.site.make_site", lambda **_ids: site)
    return site


def answered_by(**user):
    return {**answered("Approve"), "responded_by_user": user}


def test_where_a_second_person_is_demanded_the_first_one_cannot_say_yes(second_person):
    for user in ({"id": "1", "name": "jane"}, {"id": "jane", "name": "Jane Roe"}, {"id": "1", "name": "Jane"}):
        with pytest.raises(AirflowFailException, match="jane has started this run"):
            question().execute_complete(CONTEXT, answered_by(**user), shown=FOUND.id)
    with pytest.raises(AirflowFailException, match="does not know who has answered"):
        question().execute_complete(CONTEXT, answered_by(id="", name=None), shown=FOUND.id)
    assert question().execute_complete(CONTEXT, answered("Approve"), shown=FOUND.id)["by"] == "joe"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"triggering_user_name": None}, "nobody who is known by name has started this run"),
        ({"clear_number": 1}, "this run was cleared"),
    ],
)
def test_a_run_whose_first_person_is_not_known_asks_nobody_and_takes_nobodys_yes(second_person, changed, why):
    run = SimpleNamespace(**{**vars(CONTEXT["dag_run"]), **changed})
    with pytest.raises(AirflowFailException, match=why):
        question().execute({**CONTEXT, "dag_run": run})
    with pytest.raises(AirflowFailException, match=why):
        question().execute_complete({**CONTEXT, "dag_run": run}, answered("Approve"), shown=FOUND.id)


@pytest.mark.parametrize(("setting", "demanded"), [("", False), (" ", False), ("False", False), ("True", True)])
def test_a_second_person_is_demanded_only_where_the_setting_says_so(monkeypatch, setting, demanded):
    monkeypatch.setenv("AIRFLOW__VMKEEP__SECOND_PERSON", setting)

    assert secondperson.is_demanded() is demanded
    if not demanded:
        secondperson.require_kept(Site(repository="nowhere"), CONTEXT, FOUND.id)  # asks no repository


def test_where_a_second_person_is_demanded_everybody_is_asked_whatever_the_run_says(second_person, monkeypatch):
    asked = {}
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **question: asked.update(question))

    with pytest.raises(TaskAwaitingInput):
        question(yes=True).execute(CONTEXT)

    assert "somebody else than the one who asks has to answer" in asked["body"]


@pytest.mark.parametrize(
    "approval", [Approval(plan=FOUND.id, asked=True, by="joe"), Approval(plan=FOUND.id, asked=False)]
)
def test_an_answer_that_was_written_into_the_values_of_tasks_is_no_yes(second_person, monkeypatch, approval):
    """Airflow's simple log-in lets everybody who may start a run edit them, and mark task approve as done."""
    done = []
    monkeypatch.setattr("vmkeep.flows.undo.undo_restore", lambda *_args, **_options: done.append("undo") or UNDONE)

    def act(found=FOUND, run="manual__1"):
        acting = EndUndoableOperator(
            task_id="undo", found=to_plain(found), approval=to_plain(replace(approval, plan=found.id)), undo=True
        )
        monkeypatch.setattr(acting, "site", lambda: second_person)
        acting.step({**CONTEXT, "ti": instance(run)})

    with pytest.raises(AirflowFailException, match="the repository knows of no yes in this run"):
        act()
    question().execute_complete(CONTEXT, answered("Approve"), shown=FOUND.id)
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_question: None)
    with pytest.raises(TaskAwaitingInput):
        question().execute(CONTEXT)
    with pytest.raises(AirflowFailException, match="the repository knows of no yes"):
        act()  # because the question was put again
    question().execute_complete(CONTEXT, answered("Approve"), shown=FOUND.id)
    for other in ({"run": "manual__2"}, {"found": replace(FOUND, restore="r-2")}):
        with pytest.raises(AirflowFailException, match="the repository knows of no yes in this run"):
            act(**other)
    assert done == []
    act()
    with pytest.raises(AirflowFailException, match="no yes in this run that has not been used"):
        act()  # cleared, or in a new run of the same id
    assert done == ["undo"]


def test_a_yes_to_an_overwrite_is_used_up_once_the_restore_is_finished_and_not_before(second_person, monkeypatch):
    answers = [UnreachableError("no answer"), RESTORED]

    def finish(*_args):
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    monkeypatch.setattr("vmkeep.flows.restore.finish_restore", finish)
    ready = ReadyTarget(plan=PLAN, target=Target(vm="vm-16", run="r", created=False))
    acting = FinishRestoreOperator(task_id="finish", ready=to_plain(ready), writes=None)
    monkeypatch.setattr(acting, "site", lambda: second_person)
    context = {**CONTEXT, "dag_run": SimpleNamespace(**{**vars(CONTEXT["dag_run"]), "start_date": None})}
    secondperson.keep(second_person, context, plan_id(PLAN), "joe")

    with pytest.raises(UnreachableError):
        acting.step(context)
    assert secondperson.require_kept(second_person, context, plan_id(PLAN)) == "joe"
    acting.step(context)
    with pytest.raises(AirflowFailException, match="no yes in this run that has not been used"):
        secondperson.require_kept(second_person, context, plan_id(PLAN))


def test_a_vm_is_overwritten_only_after_a_yes_that_the_repository_knows(second_person, monkeypatch):
    monkeypatch.setattr("vmkeep.flows.restore.prepare_target", lambda *_args, **_options: pytest.fail("it was touched"))
    acting = PrepareTargetOperator(
        task_id="prepare", plan=to_plain(PLAN), approval=to_plain(Approval(plan=plan_id(PLAN), asked=True, by="joe"))
    )
    monkeypatch.setattr(acting, "site", lambda: second_person)

    with pytest.raises(AirflowFailException, match="the repository knows of no yes in this run"):
        acting.step({**CONTEXT, "ti": instance("manual__1")})


def test_a_run_that_says_yes_asks_nobody():
    assert question(yes=True).execute(CONTEXT) == to_plain(Approval(plan=FOUND.id, asked=False))
