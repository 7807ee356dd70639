"""The restore wizard offers what is there, asks for what was chosen, and starts only a plan that somebody may start."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.web.fleets import HOSTILE, NOW
from tests.unit.web.test_pages import FRAME, parsed
from tests.unit.web.wizards import MACHINE, PLACE, PLACES, VMS, listed_web01, planned
from vmkeep.errors import StaleError
from vmkeep.flows.attach_values import Attached, AttachedAs, AttachPreview
from vmkeep.flows.restore_ledger import require_as_seen, shown_id
from vmkeep.flows.restore_values import Restored, WrittenDisk
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model.fieldwords import named
from vmkeep.model.overwrite import BlockChoice, Blocks
from vmkeep.model.room import StoreNeed
from vmkeep.model.scanning import ScanFirst
from vmkeep.model.vmref import VmRef
from vmkeep.web import (
    PlanRun,
    PlanState,
    RestoreKind,
    RestoreRun,
    RestoreState,
    WorkTask,
    checked,
    conf_of,
    faults_of,
    fields_of,
    filled,
    form_of,
    given_of,
    head_of,
    refused,
    render,
    restore_plan_page,
    restore_started_page,
    said_in_form,
    state_of,
    without_dry_run,
)
from vmkeep.web.restore_fields import AN_EXISTING_VM, SINGLE_DISKS, WHOLE_AS_NEW

WORDS = {"on_conflict": {"abort": "fail, and touch nothing"}}


@pytest.fixture(scope="module")
def point(tmp_path_factory):
    return listed_web01(tmp_path_factory.mktemp("web"))


def groups_of(kind, point, given=None):
    groups = fields_of(kind, point, places=PLACES, machine=MACHINE, vms=VMS, words=WORDS)
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


def test_the_name_that_is_proposed_for_a_new_vm_is_free(point):
    def proposed(*taken, vm="web01"):
        vms = [replace(VMS[0], name=name) for name in taken]
        groups = fields_of(RestoreKind.NEW, replace(point, vm_name=vm), places=PLACES, vms=vms, words=WORDS)
        ((name,),) = [each.values for group in groups for each in group.fields if each.name == "new_name"]
        return name

    assert proposed("web01") == "web01-restored"
    assert proposed("WEB01-restored", "web01-restored-3") == "web01-restored-2"
    assert proposed("web01-restored", "web01-restored-2") == "web01-restored-3"
    long = "w" * 80
    assert proposed(long, vm=long) == f"{'w' * 71}-restored"
    assert len(proposed(f"{'w' * 71}-restored", vm=long)) == 80


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


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (RestoreKind.NEW, {}),
        (RestoreKind.NEW, {
            "new_name": ["n 1"], "folder": ["/DC/vm/Test"], "datastore": ["ds1"], "on_conflict": ["keep"],
            "power_on": ["no"], "keep_identity": ["yes"], "mac_addresses": ["new"], "verify": ["none"],
            "card.0": ["Quarantine"], "card.1": ["none"], "scan": ["warn"], "on_failure": ["keep"],
        }),
        (RestoreKind.OVER, {"vm": ["moref:vm-7"], "undo": ["snapshot"], "all_blocks": ["yes"], "power_on": ["yes"]}),
        (RestoreKind.ATTACH, {"disks": ["scsi0:0"], "vm": ["other"], "datastore": ["ds1"]}),
    ],
)  # fmt: skip
def test_a_form_that_is_changed_again_holds_everything_that_was_typed(point, kind, given):
    machine = MACHINE if kind is RestoreKind.NEW else None
    conf, faults = sent(kind, point, **given)
    assert faults == ()
    again = groups_of(kind, point, given_of(conf, point, groups_of(kind, point), machine=machine))
    assert conf_of(point, again, machine=machine, vsphere="vc1", repository="repo1") == conf


def test_a_refusal_is_told_in_the_words_of_the_form_and_at_its_field(point):
    why = "a VM named a exists: choose another name with " + named("new_name")
    said = said_in_form(why, RestoreKind.NEW, point, WORDS)
    assert said == "a VM named a exists: choose another name with “Name”"
    groups = refused(groups_of(RestoreKind.NEW, point), why, said)
    assert faults_of(groups) == (f"Name: {said}",)
    of_no_field = groups_of(RestoreKind.NEW, point)
    assert refused(of_no_field, "the point is damaged", "the point is damaged") == of_no_field
    elsewhere = said_in_form(f"say {named('on_conflict', 'overwrite')}", RestoreKind.NEW, point, WORDS)
    assert elsewhere == "say on_conflict: overwrite in the DAG's own form", "this form does not offer it"
    other = said_in_form(f"or restore with {named('new_name')}", RestoreKind.OVER, point, WORDS)
    assert other == "or restore with “The whole VM, as a new one”"


ENDS_UNDO = (
    "'vmkeep restore accept' removes it or 'vmkeep restore undo' goes back to it (DAGs of these names in Airflow)"
)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("no VM 'a' on vc; list them with 'vmkeep vm list'", "no VM 'a' on vc"),
        ("no VM 'a'; did you mean ab?", "no VM 'a'; did you mean ab?"),
        ("read from the LUN by the backup (--read-lun)", "read from the LUN by the backup (its field read_luns)"),
        ("or attach a disk as a new one ('vmkeep restore disk')",
         "or attach a disk as a new one (“Single disks, attached to a VM”)"),
        ("take the mark off with 'vmkeep vm sweep', then", "take the mark off with the DAG snapshot_sweep, then"),
        (f"until {ENDS_UNDO}", "until the DAG restore_accept removes it or the DAG restore_undo goes back to it"),
        ("restore another point ('vmkeep vm clean' lists the last clean ones), or", "restore another point, or"),
        (f"or write over an existing VM with {named('vm')}",
         "or write over an existing VM with “The VM, over itself or another one”"),
    ],
)  # fmt: skip
def test_a_refusal_in_the_wizard_names_no_command_for_what_its_forms_offer(point, message, said):
    assert said_in_form(message, RestoreKind.NEW, point, WORDS) == said


def test_the_wizards_first_page_has_the_choices_that_messages_name(point):
    page = render("restore.html", FRAME, point=head_of(point, NOW), has_machine=True)
    assert f"<b>{WHOLE_AS_NEW}</b>" in page
    assert f"<b>{AN_EXISTING_VM}</b>" in page
    assert f"<b>{SINGLE_DISKS}</b>" in page


def test_the_wizards_first_page_says_of_no_field_that_it_lacks_one_which_a_form_has(point):
    several = replace(point, disks=(point.disks[0], replace(point.disks[0], address="scsi0:1")))
    page = parsed(render("restore.html", FRAME, point=head_of(point, NOW), has_machine=True))
    (said,) = (each.text_content() for each in page.iter("p") if each.get("class") == "more")
    fields = [each for kind in RestoreKind for group in groups_of(kind, several) for each in group.fields]
    words = {word.casefold() for each in fields for word in each.label.split() if len(word) > 3}
    lacks = said.partition("no fields for")[2].partition(".")[0]
    assert {"mapping", "rdms", "luns"}.isdisjoint({each.name for each in fields})
    assert [word for word in words if word.rstrip("s") in lacks.casefold()] == []
    assert "Trigger" in said


def test_an_image_without_a_machine_offers_its_files_and_no_restore_that_would_be_refused(point):
    page = render("restore.html", FRAME, point=head_of(point, NOW), has_machine=False)
    assert "/files/" in page
    assert "export_point" in page
    for refused_later in (WHOLE_AS_NEW, AN_EXISTING_VM, SINGLE_DISKS, "dags/vm_restore"):
        assert refused_later not in page


def test_a_plan_leads_back_to_its_form_and_names_its_vm_and_point(point):
    for task, result in (("success", planned()), ("failed", None)):
        run = run_of(result, task=task, new_name="new01")
        tree = parsed(
            render(
                "restore_plan.html", FRAME, page=restore_plan_page(run, head=head_of(point, NOW), may_overwrite=True)
            )
        )
        assert "web01" in tree.xpath("//h1")[0].text_content()
        change = f"{FRAME.root}/restore/{point.id}/new?plan=plan__1"
        assert tree.xpath("//ol[@class='steps']//a/@href") == [f"{FRAME.root}/restore/{point.id}", change]
        assert tree.xpath("//a[text()='Change the form']/@href") == [change]


def test_vms_of_the_inventory_are_proposed_and_no_other_text_is_refused(point):
    for kind in (RestoreKind.OVER, RestoreKind.ATTACH):
        text = render(
            "restore_form.html",
            FRAME,
            page=form_of(head_of(point, NOW), kind, vsphere="v", vcenters=("v",), groups=groups_of(kind, point)),
        )
        tree = parsed(text)
        (box,) = tree.xpath("//input[@name='vm']")
        options = tree.xpath(f"//datalist[@id='{box.get('list')}']/option")
        assert [each.get("value") for each in options] == ["web01", "moref:vm-7"]
        assert "running" in options[0].text_content()
        assert ("new VM" in text.partition("<form")[2]) is False, "this form makes no VM"
        assert sent(kind, point, vm=["ipaddr:10.0.0.1"], disks=["scsi0:0"])[1] == ()


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


def test_a_plan_that_was_started_is_not_offered_again_and_leads_to_its_restore():
    run = replace(run_of(planned(over=True)), started="restore__1")
    page = restore_plan_page(run, overwritten=["it is running"], may_overwrite=True)
    assert (page.state, page.may_start, page.state.moves) == (PlanState.STARTED, False, False)
    text = render("restore_plan.html", FRAME, page=page)
    assert 'href="/air/vmkeep/restores/vm_restore/restore__1"' in text
    for untrue in ("Nothing was changed", "is written over</h2>", "<button"):
        assert untrue not in text, "it may have been carried out"


def task(state="running"):
    return WorkTask(
        task="write_disk", map_index=0, name="Hard disk 1", state=state, pool="p", host="h", begun_at=NOW,
        heartbeat_at=NOW, progress=None, told_at=None,
    )  # fmt: skip


def restore_of(state, *, tasks=(), has_restored=False, **changed):
    ended = {"success": NOW, "failed": NOW}.get(state)
    given = {
        "dag_id": "vm_restore", "run_id": "restore__1", "conf": {"new_name": "new01"}, "state": state, "by": "anna",
        "note": "web01 to new01", "since": None if state == "queued" else NOW - timedelta(minutes=3), "ended": ended,
        "has_restored": has_restored, "tasks": tasks,
    }  # fmt: skip
    return RestoreRun(**(given | changed))


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (restore_of("queued"), RestoreState.WAITING),
        (restore_of("running"), RestoreState.AT_WORK),
        (restore_of("running", tasks=(task(),)), RestoreState.AT_WORK),
        (restore_of("running", tasks=(task("awaiting_input"),)), RestoreState.ASKING),
        (restore_of("success", has_restored=True), RestoreState.DONE),
        (restore_of("success"), RestoreState.NOTHING),  # the target was there, and was kept
        (restore_of("failed", tasks=(task(),)), RestoreState.FAILED),
        (restore_of("a state of a later Airflow"), RestoreState.UNKNOWN),
    ],
)
def test_a_started_restore_tells_how_far_it_is_until_it_has_ended(run, state, point):
    page = restore_started_page(run, now=NOW, head=head_of(point, NOW), may_stop=True)
    assert (page.state, page.may_stop) == (state, state.moves)
    text = render("restore_started.html", FRAME, page=page, plan="plan__1")
    assert page.sentence in text
    assert ("data-ended" in text) is not state.moves, "a page that has ended is not asked for again"
    assert ("required_actions" in text) is (state is RestoreState.ASKING)
    assert ("Hard disk 1" in text) is bool(run.tasks and state.moves)
    assert ("plan again" in text) is (state in (RestoreState.NOTHING, RestoreState.FAILED))


def test_a_restore_that_failed_shows_its_task_and_cause_harmless():
    note = f"web01 to new01\nFailed at task plan: {HOSTILE}"
    text = render("restore_started.html", FRAME, page=restore_started_page(restore_of("failed", note=note), now=NOW),
                  plan="")  # fmt: skip
    assert "Failed at task plan: " in text
    assert "<img" not in text
    assert "after 3 min" in text


def restored(**changed):
    given = {
        "run": "run-1", "vm": VmRef(moref="vm-23", name="new01"), "point": "p", "created": True, "powered_on": False,
        "disks_written": 1, "bytes_written": 1 << 20, "bytes_zeroed": 0,
        "disks": (WrittenDisk(label="Hard disk 1", address="scsi0:0", blocks=Blocks.ALL, why_blocks="",
                              bytes_written=1 << 20, bytes_zeroed=0, bytes_compared=1 << 20),),
        "warnings": ("the network cards start disconnected", f"it has {named('keep_identity')} {HOSTILE}"),
    }  # fmt: skip
    return Restored(**(given | changed))


def ended(result, plan=None, *, server="vc.example.com", **changed):
    run = restore_of("success", has_restored=True, result=result, plan=plan, **changed)
    return restore_started_page(run, now=NOW, server=server)


def test_a_finished_restore_tells_where_its_vm_is_what_to_know_of_it_and_leads_to_it():
    page = ended(restored(), planned(place=replace(PLACE, unconnected=("Network adapter 1",))))
    assert page.outcome == (
        "VM new01 (vm-23) was made in /DC/vm/Test, in resource pool /DC/host/C1/Resources",
        "its files are on datastore ds1",
        "it is off: switch it on when it is to run",
        "Network adapter 1 is on Quarantine, and starts disconnected: connect it in vCenter",
        "1.0 MiB were read back from the disks, and match the restore point",
    )
    assert page.warnings[0] == "the network cards start disconnected"
    assert page.client == "https://vc.example.com/ui/app/vm;nav=h/urn:vmomi:VirtualMachine:vm-23:vc-uuid/summary"
    text = render("restore_started.html", FRAME, page=page, plan="")
    assert "Know before you use it" in text
    assert f'<a class="button" href="{page.client}" data-outside>Open new01 in the vSphere Client</a>' in text
    assert "<img" not in text


def test_a_finished_restore_over_a_vm_tells_the_disks_that_stayed_as_they_were():
    plan = planned(over=True)
    left = replace(plan.matches[0], written=False, note="not in the backup, left as it is")
    vm = VmRef(moref="vm-1", name="web01")
    page = ended(restored(vm=vm, created=False, powered_on=True, disks=()), replace(plan, matches=(left,)))
    assert page.outcome == (
        "VM web01 (vm-1) was written over",
        "it was switched on",
        f"{left.disk.label} ({left.disk.address}) was not written: not in the backup, left as it is",
        "nothing was read back from the disks",
    )


def test_attached_disks_are_told_with_their_files_and_the_vm_that_has_them():
    new = AttachedAs(disk="Hard disk 2", address="scsi0:3", file_name="[ds1] web01/new.vmdk", capacity=1 << 30)
    got = Attached(
        run="r", vm=VmRef(moref="vm-1", name="web01"), vcenter="vc-uuid", point="p", disks=(new,), bytes_written=1,
        bytes_compared=1 << 20, warnings=("the guest gets a disk beside its original",),
    )  # fmt: skip
    page = ended(got, dag_id="disk_attach")
    assert page.outcome[:2] == (
        "VM web01 (vm-1) has got 1 new disk; its other disks are as they were",
        "Hard disk 2 is the file [ds1] web01/new.vmdk",
    )
    assert (page.vm_name, page.warnings) == ("web01", ("the guest gets a disk beside its original",))
    assert page.client.endswith(":vm-1:vc-uuid/summary")


@pytest.mark.parametrize(
    ("moref", "vcenter", "server", "client"),
    [
        ("12", None, "esx1:8443", "https://esx1:8443/ui/#/host/vms/12"),
        ("vm-23", None, "vc", ""),  # whose vCenter nobody has noted
        ("vm-23", "vc-uuid", "", ""),
    ],
)
def test_no_button_leads_to_a_vm_whose_place_is_not_known(moref, vcenter, server, client):
    page = ended(restored(vm=VmRef(moref=moref, name="new01")), planned(vcenter=vcenter), server=server)
    assert page.client == client
    assert ("vSphere Client" in render("restore_started.html", FRAME, page=page, plan="")) is bool(client)


def test_the_end_of_a_restore_that_left_nothing_readable_is_shown_all_the_same():
    page = ended(None)
    assert (page.state, page.outcome, page.warnings, page.client) == (RestoreState.DONE, (), (), "")


def test_a_plan_names_the_vm_once_that_is_written_over_if_it_is_the_one_that_was_backed_up():
    plan = planned(over=True)
    assert [line for line in plan_lines(plan) if "was taken" in line] == [
        f"restore point {plan.point} was taken of {plan.vm.in_full}"
    ]
    own = plan_lines(replace(plan, target=plan.vm))
    assert own[0] == f"restore point {plan.point} is written over {plan.vm.in_full}, of which it was taken"
    assert sum(plan.vm.in_full in line for line in own) == 1
