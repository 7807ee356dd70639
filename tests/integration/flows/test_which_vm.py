"""Which VM is backed up or written over: the one that is named, letter by letter, or the original and no other."""

from __future__ import annotations

import pytest

from tests.integration.flows.restoring import back_up, new_run, restore_whole, silent, site_of
from tests.labs import start_lab
from tests.patience import HANG
from vmkeep.errors import ConflictError, NotFoundError, UsageError
from vmkeep.flows.complete_runs import run_restore
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_request import OnConflict, make_request
from vmkeep.repository import open_repository
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task

DISK = 2000


def request(point, **options):
    return make_request(point=point, run=new_run(), **options)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """Another vCenter, whose inventory has the names of the first one's, and strangers behind them."""
    with start_lab(tmp_path_factory.mktemp("second") / "lab", data_disk_gib=0.0625) as started:
        yield started


@pytest.fixture
def there(kept, second):
    return site_of(second, kept[0].repository)


@pytest.fixture(scope="module")
def lookalikes(kept):
    """VMs whose names differ from another one's in what is easily lost: blanks, case, escapes."""
    site, point = kept
    made = {}
    for name in ("web01 ", " web01", "Web01", "a/b", "half%2fhalf"):
        made[name] = restore_whole(site, point, new_name=name, power_on=False).vm.moref
    made["web01\t"] = restore_whole(site, point, new_name="tab", power_on=False).vm.moref
    with open_session(site.vcenter) as session:  # vmkeep makes no such name; others do
        spec = vim.vm.ConfigSpec(name="web01\t")
        run_task(
            session,
            lambda: session.vm(made["web01\t"]).ReconfigVM_Task(spec),
            what="rename",
            timeout=HANG,
            look=lambda: None,
        )
    return site, point, made


@pytest.mark.parametrize("name", ["web01 ", " web01", "Web01", "web01\t", "a/b", "half%2fhalf"])
def test_the_vm_whose_name_is_typed_is_the_one_that_is_picked(lookalikes, name):
    site, point, made = lookalikes

    with open_session(site.vcenter) as session:
        assert inventory.find_vm(session, name).moref == made[name]
        assert inventory.find_vm(session, f"name:{name}").moref == made[name]
    assert (
        plan_restore(site, request(point, vm_selector=name, on_conflict=OnConflict.OVERWRITE)).target.moref
        == made[name]
    )
    with open_repository(site.repository) as repository:
        assert repository.load_point(back_up(site, name).point).vm.moref == made[name]


@pytest.mark.parametrize(
    "name", ["web01  ", "WEB01", "web01\n", "web\uff101", "a%2fb", "half/half", "half%252fhalf", "old01 "]
)
def test_a_name_that_nothing_has_fits_nothing(lookalikes, name):
    site, point, _ = lookalikes

    with pytest.raises(NotFoundError, match="no VM"):
        back_up(site, name)
    with pytest.raises(NotFoundError, match="no VM"):
        restore_whole(site, point, vm_selector=name, on_conflict=OnConflict.OVERWRITE)


@pytest.mark.parametrize(
    "path",
    ["/Lab/vm/production/web01", "/Lab/vm/Production//web01", "/Lab/vm/Production/web01/", "/Lab/vm/Production /web01"],
)
def test_an_inventory_path_is_compared_as_it_is(lookalikes, path):
    site, _, _ = lookalikes

    with open_session(site.vcenter) as session, pytest.raises(NotFoundError):
        inventory.find_vm(session, path)


@pytest.mark.parametrize(
    "place",
    [
        {"folder": "Production "}, {"folder": "production"}, {"folder": "/Lab/vm/Production/"},
        {"folder": "/Lab/vm//Test"}, {"resource_pool": "production"}, {"resource_pool": "Cluster1 "},
        {"host": "ESX01.localhost"}, {"datastore": "datastore1 "}, {"datastore": "Datastore1"},
    ],
)  # fmt: skip
def test_a_place_that_is_nearly_named_is_no_place(lookalikes, place):
    site, point, _ = lookalikes

    with pytest.raises(NotFoundError, match=next(iter(place.values()))):
        plan_restore(site, request(point, new_name="elsewhere", **place))


def test_a_cluster_with_a_slash_in_its_name_is_named_as_it_is_seen(kept, there):
    _, point = kept
    with open_session(there.vcenter) as session:
        cluster = next(iter(session.content.viewManager.CreateContainerView(
            session.content.rootFolder, [vim.ClusterComputeResource], True
        ).view))  # fmt: skip
        run_task(session, lambda: cluster.Rename_Task("East%2fWest"), what="rename", timeout=HANG, look=lambda: None)

        assert plan_restore(there, request(point, new_name="elsewhere", resource_pool="East/West")).place is not None
        with pytest.raises(NotFoundError, match="East/West"):
            plan_restore(there, request(point, new_name="elsewhere", resource_pool="East%2fWest"))


def test_an_escape_that_somebody_typed_is_no_taken_name(lookalikes):
    site, point, _ = lookalikes

    assert plan_restore(site, request(point, new_name="a%2fb", on_conflict=OnConflict.KEEP)).nothing_to_do is False
    assert plan_restore(site, request(point, new_name="a/b", on_conflict=OnConflict.KEEP)).nothing_to_do is True


@pytest.mark.parametrize("field", ["vm_selector", "new_name", "datastore", "folder", "resource_pool", "host"])
def test_an_empty_name_is_not_taken_for_the_original(field):
    with pytest.raises(UsageError, match="is empty"):
        request("latest:web01", **{field: ""})


def test_a_restore_at_another_vcenter_writes_over_no_stranger_of_the_same_name(kept, there, second):
    site, point = kept
    before = second.hash("web01", DISK)

    with pytest.raises(NotFoundError, match=r"--vm.*--new-name") as caught:
        restore_whole(there, point, on_conflict=OnConflict.OVERWRITE)

    assert str(site.vcenter.host) in str(caught.value)
    assert (second.vm("web01")["power"], second.hash("web01", DISK)) == ("poweredOn", before)


def test_a_restore_of_a_vm_that_is_gone_writes_over_no_stranger_of_its_name(kept, lab):
    site, original = kept
    first = restore_whole(site, original, new_name="short-lived", power_on=False)
    point = back_up(site, "short-lived").point
    with open_session(site.vcenter) as session:
        run_task(session, session.vm(first.vm.moref).Destroy_Task, what="destroy", timeout=HANG, look=lambda: None)
    restore_whole(site, point, new_name="short-lived", power_on=False)
    before = lab.hash("short-lived", DISK)

    for answer in (OnConflict.OVERWRITE, OnConflict.KEEP, OnConflict.ABORT):
        with pytest.raises(NotFoundError, match="not there any more"):
            restore_whole(site, point, on_conflict=answer)

    assert lab.hash("short-lived", DISK) == before


def test_another_vm_is_written_over_when_it_is_named_and_both_are_told_in_full(kept, there, lab, second):
    _, point = kept
    then, said = lab.hash("web01", DISK), []
    plan = plan_restore(there, request(point, vm_selector="web01", on_conflict=OnConflict.OVERWRITE))

    done = restore_whole(there, point, announce=said.append, vm_selector="web01", on_conflict=OnConflict.OVERWRITE)

    assert (done.vm.moref, second.hash("web01", DISK)) == (second.vm("web01")["moref"], then)
    for vm in (plan.vm, plan.target):
        for word in (vm.instance_uuid, vm.vcenter, vm.inventory_path, vm.moref):
            assert word in " ".join(said)
    assert plan.vm.vcenter != plan.target.vcenter


def test_the_plan_and_the_way_to_go_on_are_shown_before_anything_is_changed(kept, lab):
    (site, point), shown = kept, []
    before, asked = lab.vm("web01"), request(point, on_conflict=OnConflict.OVERWRITE)

    def show(line):
        shown.append(line)
        if f"restore resume {asked.run}" in line:  # the last line
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_restore(site, asked, bars=silent, announce=print, show=show)

    assert any(line.startswith("the VM is ") for line in shown)
    assert any("is written over" in line and before["instance_uuid"] in line for line in shown)
    assert lab.vm("web01") == before


def test_a_refusal_to_write_over_a_vm_shows_source_and_target_in_full(kept, there):
    site, point = kept

    with pytest.raises(ConflictError) as caught:
        plan_restore(there, request(point, vm_selector="web01"))

    with open_repository(site.repository) as repository:
        source = repository.load_point(point).vm
    assert source.in_full in str(caught.value)
    assert str(caught.value).count("/Lab/vm/Production/web01") == 2


def test_the_original_is_found_again_under_any_name_and_place(kept):
    site, original = kept
    made = restore_whole(site, original, new_name="before-it-moved", power_on=False)
    point = back_up(site, "before-it-moved").point
    with open_session(site.vcenter) as session:
        run_task(
            session,
            lambda: session.vm(made.vm.moref).Rename_Task("after-it-moved"),
            what="rename",
            timeout=HANG,
            look=lambda: None,
        )

    assert plan_restore(site, request(point, on_conflict=OnConflict.OVERWRITE)).target.moref == made.vm.moref
