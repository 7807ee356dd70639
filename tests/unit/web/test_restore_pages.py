"""The restore wizard offers what is there, asks for what was chosen, and starts only a plan that somebody may start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.web.fleets import HOSTILE, NOW
from tests.unit.web.test_pages import FRAME, parsed
from tests.unit.web.wizards import MACHINE, PLACE, PLACES, listed_web01, planned
from vmkeep.errors import StaleError
from vmkeep.flows.attach_values import AttachPreview
from vmkeep.flows.restore_ledger import require_as_seen, shown_id
from vmkeep.model.overwrite import BlockChoice, Blocks
from vmkeep.model.room import StoreNeed
from vmkeep.model.scanning import ScanFirst
from vmkeep.web import (
    PlanRun,
    PlanState,
    RestoreKind,
    checked,
    conf_of,
    faults_of,
    fields_of,
    filled,
    form_of,
    head_of,
    render,
    restore_plan_page,
    state_of,
    without_dry_run,
)

WORDS = {"on_conflict": {"abort": "fail, and touch nothing"}}


@pytest.fixture(scope="module")
def point(tmp_path_factory):
    return listed_web01(tmp_path_factory.mktemp("web"))


def groups_of(kind, point, given=None):
    groups = fields_of(kind, point, places=PLACES, machine=MACHINE, words=WORDS)
    return groups if given is None else checked(kind, filled(groups, given))


def sent(kind, point, **given):
    """Return the params that a form asks for, and the faults it has."""
    before = {each.name: each.values for group in groups_of(kind, point) for each in group.fields}
    groups = groups_of(kind, point, before | given)
    machine = MACHINE if kind is RestoreKind.NEW else None
    conf = conf_of(point, groups, machine=machine, vsphere="vc1", repository="repo1")
    return conf, faults_of(groups)


def run_of(result=None, *, dag_id="vm_restore", task="success", run="running", **conf):
    return PlanRun(
        dag_id=dag_id, run_id="plan__1", conf={"point": "p", "dry_run": True, **conf}, task_state=task, run_state=run,
        by="anna", result=result,
    )  # fmt: skip


def test_a_form_as_it_comes_asks_for_a_restore_that_overwrites_nothing(point):
    conf, faults = sent(RestoreKind.NEW, point)
    assert faults == ()
    assert conf == {
        "point": point.ref, "vsphere": "vc1", "repository": "repo1", "dry_run": True, "new_name": "web01-restored",
        "on_conflict": "abort", "keep_identity": False, "connect_networks": False, "power_on": None,
        "verify": "sample", "scan": "no", "on_failure": "remove", "networks": [], "disk_datastores": [],
    }  # fmt: skip
    assert sent(RestoreKind.OVER, point)[0]["on_conflict"] == "prompt", "nobody overwrites without being asked"


def test_everything_that_was_chosen_is_asked_for(point):
    conf, faults = sent(
        RestoreKind.NEW, point, new_name=["n 1"], folder=["/DC/vm/Test"], datastore=["ds1"], host=["esx1"],
        resource_pool=["/DC/host/C1/Resources"], power_on=["no"], keep_identity=["yes"], mac_addresses=["new"],
        **{"card.0": ["Quarantine"], "card.1": ["none"]},
    )  # fmt: skip
    assert faults == ()
    assert conf["networks"] == ["Network adapter 1=Quarantine", "Network adapter 2=none"]
    chosen = ("new_name", "folder", "datastore", "host", "resource_pool", "power_on", "keep_identity", "mac_addresses")
    wanted = ["n 1", "/DC/vm/Test", "ds1", "esx1", "/DC/host/C1/Resources", False, True, "new"]
    assert [conf[name] for name in chosen] == wanted
    conf, faults = sent(RestoreKind.ATTACH, point, disks=[point.disks[0].address], datastore=["ds1"])
    assert (conf["disks"], conf["vm"], conf["datastore"], faults) == ([point.disks[0].address], "web01", "ds1", ())


def test_each_of_several_disks_can_go_to_a_datastore_of_its_own(point):
    assert not {name for name in names_of(point) if name.startswith("store.")}, "the VM has a single disk"
    disk, *_ = point.disks
    skipped, second = replace(disk, address="scsi0:7", skipped="no"), replace(disk, address="scsi0:1", label=HOSTILE)
    several = replace(point, disks=(disk, skipped, second))
    assert {name for name in names_of(several) if name.startswith("store.")} == {"store.0", "store.1"}
    conf, faults = sent(RestoreKind.NEW, several, **{"store.0": [""], "store.1": ["ds1"]})
    assert (conf["disk_datastores"], faults) == (["scsi0:1=ds1"], ())
    assert sent(RestoreKind.NEW, several, **{"store.1": ["gone"]})[1]


def names_of(point):
    return [each.name for group in groups_of(RestoreKind.NEW, point) for each in group.fields]


@pytest.mark.parametrize(
    ("kind", "given", "fault"),
    [
        (RestoreKind.NEW, {"new_name": [" "]}, "Name: the new VM needs a name"),
        (RestoreKind.NEW, {"new_name": ["x" * 81]}, "Name: it is longer than 80 characters"),
        (RestoreKind.NEW, {"folder": ["/gone"]}, "Folder: '/gone' is not one of the choices any more"),
        (RestoreKind.NEW, {"on_conflict": ["overwrite"]}, "is not one of the choices any more"),
        (RestoreKind.NEW, {"card.0": ["no net"]}, "is not one of the choices any more"),
        (RestoreKind.OVER, {"disks": ["scsi9:9"]}, "is not one of the choices any more"),
        (RestoreKind.OVER, {"on_conflict": ["keep"]}, "is not one of the choices any more"),
        (RestoreKind.ATTACH, {}, "Disks of the point: choose at least one"),
        (RestoreKind.ATTACH, {"disks": ["scsi0:0"], "vm": [""]}, "name the VM that gets the disks"),
    ],
)
def test_a_value_that_a_form_does_not_offer_is_a_fault_of_its_field(point, kind, given, fault):
    (told,) = sent(kind, point, **given)[1]
    assert fault in told


@pytest.mark.parametrize("kind", list(RestoreKind))
def test_a_form_shows_hostile_names_harmless_and_every_field_has_a_name_that_can_be_heard(point, kind):
    head = replace(head_of(point, NOW), vm_name="a")
    groups = groups_of(kind, point, {"new_name": [HOSTILE], "vm": [HOSTILE]})
    page = form_of(head, kind, vsphere="vc1", vcenters=("vc1", "vc2"), groups=groups, faults=(HOSTILE,))
    text = render("restore_form.html", FRAME, page=page)
    assert "<img" not in text
    tree = parsed(text)
    assert "\u202e" not in tree.text_content()
    for box in tree.xpath("//form[@method='post']//*[self::input or self::select]"):
        labels = tree.xpath(f"//label[@for='{box.get('id')}']") if box.get("id") else box.xpath("ancestor::label")
        assert labels, box.get("name")
        for target in (box.get("aria-describedby") or "").split():
            assert tree.xpath(f"//*[@id='{target}']")


@pytest.mark.parametrize(
    ("task", "run", "has_result", "state"),
    [
        (None, "queued", False, PlanState.WAITING),
        ("scheduled", "running", False, PlanState.WAITING),
        ("running", "running", False, PlanState.AT_WORK),
        ("up_for_retry", "running", False, PlanState.AGAIN),
        ("success", "running", True, PlanState.READY),
        ("success", "success", True, PlanState.READY),
        ("success", "success", False, PlanState.REFUSED),  # marked by hand
        ("failed", "running", False, PlanState.REFUSED),
        ("upstream_failed", "failed", False, PlanState.REFUSED),
        ("skipped", "failed", False, PlanState.REFUSED),
        (None, "failed", False, PlanState.REFUSED),  # the run was marked by hand
        ("running", "failed", False, PlanState.REFUSED),
    ],
)
def test_a_plan_is_ready_only_if_it_was_made_and_a_page_that_waits_looks_again(task, run, has_result, state):
    planning = run_of(planned() if has_result else None, task=task, run=run, new_name="new01")
    assert state_of(planning) is state
    page = restore_plan_page(planning, may_overwrite=True)
    assert page.may_start is (state is PlanState.READY)
    text = render("restore_plan.html", FRAME, page=page)
    assert ("data-refresh" in text) is state.moves
    assert ("Start the restore" in text) is page.may_start
    assert bool(page.failure) is (state is PlanState.REFUSED)


@pytest.mark.parametrize("may_overwrite", [True, False])
def test_only_who_may_overwrite_can_start_a_plan_that_overwrites(may_overwrite):
    page = restore_plan_page(run_of(planned(over=True)), overwritten=["it is running"], may_overwrite=may_overwrite)
    assert page.overwrites
    assert page.may_start is may_overwrite
    text = render("restore_plan.html", FRAME, page=page)
    assert "Something that exists is written over" in text
    assert "it is running" in text
    assert ("<button" in text) is may_overwrite
    assert restore_plan_page(run_of(planned(), new_name="new01"), may_overwrite=False).may_start


def test_a_plan_says_whether_the_scan_for_it_was_the_only_one():
    def lines(scan):
        request = replace(planned().request, scan=scan)
        return restore_plan_page(run_of(planned(request=request), new_name="n"), may_overwrite=True).lines

    assert not any("scan" in line for line in lines(ScanFirst.NO))
    assert "nothing was found; the restore counts on this scan" in lines(ScanFirst.REFUSE)[-1]
    assert "the warnings tell" in lines(ScanFirst.WARN)[-1]


def test_a_lun_that_is_written_over_counts_as_overwriting():
    disk = planned().matches[0].disk
    on_lun = planned(place=replace(PLACE, luns=((disk.address, "naa.1"),)))
    assert not restore_plan_page(run_of(on_lun, new_name="new01"), may_overwrite=False).may_start


def test_a_vm_that_is_kept_leaves_nothing_to_start():
    page = restore_plan_page(run_of(planned(nothing_to_do=True), new_name="new01"), may_overwrite=True)
    assert (page.state, page.may_start, page.overwrites) == (PlanState.NOTHING, False, False)


def test_a_plan_to_attach_disks_shows_its_lines():
    preview = AttachPreview(lines=("Hard disk 1 becomes scsi0:3",), warnings=(HOSTILE,))
    page = restore_plan_page(run_of(preview, dag_id="disk_attach", vm="web01"), may_overwrite=False)
    assert (page.kind, page.lines, page.may_start) == (RestoreKind.ATTACH, preview.lines, True)
    assert "<img" not in render("restore_plan.html", FRAME, page=page)


def test_a_restore_does_what_was_shown_or_nothing():
    shown = planned()
    later = replace(
        shown, request=replace(shown.request, run="run-2", owner="dag", dry_run=False), warnings=("w",),
        needs=(StoreNeed(datastore="datastore-1", name="ds1", free=1),),
        choices=(BlockChoice(disk=2000, blocks=Blocks.ALL, why="asked"),),
    )  # fmt: skip
    require_as_seen(later, shown_id(shown))
    require_as_seen(later, "")
    for other in (
        replace(later, target_name="new02"),
        replace(later, place=replace(PLACE, datastore="ds2")),
        replace(later, power_on=True),
        replace(later, matches=(replace(later.matches[0], written=False),)),
        replace(later, point="another"),
        replace(later, request=replace(later.request, verify="none")),
        planned(over=True),
    ):
        with pytest.raises(StaleError, match="is not the one that was shown"):
            require_as_seen(other, shown_id(shown))


def test_the_run_that_restores_has_the_params_of_the_plan():
    assert without_dry_run({"point": "p", "dry_run": True}, as_shown="d") == {
        "point": "p", "dry_run": False, "as_shown": "d",
    }  # fmt: skip
    assert "as_shown" not in without_dry_run({"dry_run": True}, as_shown="")
