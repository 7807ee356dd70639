"""Each disk and each network card of a new VM goes where it was said, as the plan shows it, or nowhere."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest

from tests.integration.flows.restoring import Restoring, back_up, devices, hands, names, power, restore_whole, site_of
from vmkeep.errors import ConflictError, MappingError, NotFoundError, StaleError, UsageError
from vmkeep.flows import restore
from vmkeep.flows.restore_mapping import mapping_at
from vmkeep.flows.restore_request import make_request
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.mapping import read_mapping
from vmkeep.model.rdm import RdmReplacement
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import inventory, luns
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.names import encode_name
from vmkeep.vsphere.paths import inventory_path_of

CARD = "Network adapter 1"
ONCE = r"VM new-\w+ cannot be made on esx01.localhost, esx02.localhost: (?!.* on esx)"
"""Message that tells once what all hosts lack."""


@pytest.fixture
def name():
    return f"new-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def with_rdm(lab, tmp_path_factory):
    """A repository with a point of app01, which has a physical RDM at scsi1:0."""
    location = str(tmp_path_factory.mktemp("rdm") / "repository")
    create_repository(location)
    site = site_of(lab, location)
    return site, back_up(site, "app01").point


def card_of(lab, vm):
    (card,) = (device for device in devices(lab, vm) if isinstance(device, vim.vm.device.VirtualEthernetCard))
    return card


def start(card) -> tuple[str, bool, bool]:
    return card.backing.deviceName, card.connectable.startConnected, card.connectable.connected


def free_luns(lab) -> list[str]:
    with hands(lab) as session:
        host = session.content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").host[0]
        return [lun.device_name for lun in luns.list_luns(session, host._moId) if not lun.used_by]


@pytest.mark.parametrize("old", ["VM Network", CARD])
def test_a_card_goes_onto_the_network_that_its_network_or_label_is_mapped_to(lab, kept, name, old):
    site, point = kept
    planned = Restoring.new(site, point, name, networks=(f"{old}=Backup Network",), connect_networks=True)

    planned.prepared()

    assert f"{CARD} is on Backup Network" in plan_lines(planned.plan)
    assert start(card_of(lab, name)) == ("Backup Network", True, True)
    planned.clean_up()


def test_a_plan_spells_a_datastore_as_it_is_typed(lab, kept, name):
    site, point = kept
    lab.post("inventory/add", {"kind": "datastore", "name": "fast/50%"})

    lines = plan_lines(Restoring.new(site, point, name, datastore="fast/50%").plan)

    assert "its files go to datastore fast/50%" in lines
    assert any(line.endswith("on datastore fast/50%") for line in lines)


def test_an_unedited_mapping_makes_the_vm_that_was(lab, kept, name):
    site, point = kept
    with open_repository(site.repository) as repository:
        text = mapping_at(repository, point)
    named = text.replace("\nname: web01\n", f"\nname: {name}\n")
    said = Restoring.new(site, point, name, keep_identity=True).plan

    mapped = restore.plan_restore(site, make_request(point=point, run="mapped", mapping=named))

    assert (mapped.place, mapped.matches, mapped.power_on) == (said.place, said.matches, said.power_on)
    assert [line.partition(":")[0] for line in mapped.warnings] == [line.partition(":")[0] for line in said.warnings]
    assert any("say 'connect_networks' in the mapping" in warning for warning in mapped.warnings)
    assert any("which is still there: for a copy" in warning for warning in mapped.warnings)
    with pytest.raises(ConflictError, match="a VM named web01 exists"):
        restore.plan_restore(site, make_request(point=point, run="unedited", mapping=text))


def test_a_vm_that_is_gone_comes_back_by_its_unedited_mapping(lab, kept):
    site, _ = kept
    odd, stored = "dätä web/01 ☃", encode_name("dätä web/01 ☃")
    point, disks = back_up(site, odd).point, [disk["key"] for disk in lab.vm(stored)["disks"]]
    with hands(lab) as session:
        was = session.vm(inventory.find_vm(session, odd).moref)
        path, config = inventory_path_of(session, was).path, was.config
        content = [lab.hash(stored, disk) for disk in disks]
        was.Destroy_Task()
    with open_repository(site.repository) as repository:
        text = mapping_at(repository, point)

    made = restore_whole(site, point, mapping=text)

    with hands(lab) as session:
        now = session.vm(made.vm.moref)
        assert inventory_path_of(session, now).path == path
        for name in ("name", "uuid", "instanceUuid", "guestId", "firmware", "version", "annotation"):
            assert getattr(now.config, name) == getattr(config, name)
        assert addresses(now.config) == addresses(config)
    assert [lab.hash(stored, disk) for disk in disks] == content


def addresses(config) -> list[tuple[str, str, str]]:
    return [
        (card.macAddress, card.backing.deviceName, card.deviceInfo.label)
        for card in config.hardware.device
        if isinstance(card, vim.vm.device.VirtualEthernetCard)
    ]


def test_the_command_line_lists_targets_and_writes_and_takes_mappings(vmkeep, lab, kept, tmp_path):
    site, point = kept
    listed = vmkeep("target", "datastores", "--json")
    table = vmkeep("target", "networks")
    written = vmkeep("point", "show", point, "--mapping", "-r", site.repository)
    mapping = tmp_path / "web01.yaml"
    mapping.write_text(written.output.replace("folder: /Lab/vm/", "foldr: /Lab/vm/"))

    with pytest.raises(MappingError, match="there is no field 'foldr'; did you mean 'folder'"):
        vmkeep("restore", "run", point, "--mapping", str(mapping), "-r", site.repository, "--vddk", str(lab.vddk))

    assert {"datastore1", "datastore2"} <= {store["choose"] for store in json.loads(listed.output)}
    assert table.output.split()[:6] == ["network", "kind", "switch", "hosts", "datacenter", "id"]
    assert read_mapping(written.output).mapping.name == "web01"


def test_a_restore_by_a_mapping_is_refused_with_a_field_of_the_mapping_and_no_option_beside_it(vmkeep, lab, kept, name):
    site, point = kept
    mapping = vmkeep("point", "show", point, "--mapping", "-r", site.repository).output

    with pytest.raises(ConflictError, match="choose another name with 'name' in the mapping"):
        Restoring.new(site, point, None, mapping=mapping)
    unknown = mapping.replace("name: web01", f"name: {name}").replace("network: VM Network", "network: VM Netwrk")
    with pytest.raises(NotFoundError, match="or to none with 'networks' in the mapping"):
        Restoring.new(site, point, None, mapping=unknown)


def test_every_place_is_taken_by_name_by_path_and_by_id(vmkeep, lab, kept, name):
    site, point = kept

    def listed(kind, named):
        return next(one for one in json.loads(vmkeep("target", kind, "--json").output) if one["name"] == named)

    folder, pool = listed("folders", "Test"), listed("pools", "Production")
    host, network = listed("hosts", "esx02.localhost"), listed("networks", "Backup Network")
    one, other = listed("datastores", "datastore1"), listed("datastores", "datastore2")
    plans = [
        Restoring.new(
            site, point, name, folder=folder[word], resource_pool=pool[word], host=host[word], datastore=one[word],
            disk_datastores=(f"scsi0:0={other[word]}",), networks=(f"VM Network={network[word]}",),
        ).plan.place
        for word in ("name", "path", "id")
    ]  # fmt: skip

    assert plans[0] == plans[1] == plans[2]
    assert (plans[0].folder, plans[0].pool, plans[0].host) == (folder["id"], pool["id"], host["id"])
    assert plans[0].networks == ((CARD, "Backup Network"),)


def test_a_vm_gets_the_directories_that_were_said(lab, kept, name):
    site, point = kept
    for directory in ("logs [a]", "suspended", "snapshots"):
        (lab.folder / "datastores" / "datastore2" / directory).mkdir()
    directories = {
        "log_directory": "[datastore2] logs [a]",
        "suspend_directory": "[datastore2] suspended/",
        "snapshot_directory": "[datastore2] snapshots",
    }
    planned = Restoring.new(site, point, name, **directories)

    planned.prepared()

    assert {
        "its log directory is [datastore2] logs [a]",
        "its suspend directory is [datastore2] suspended",
        "its snapshot directory is [datastore2] snapshots",
    } < set(plan_lines(planned.plan))
    with hands(lab) as session:
        files = session.vm(planned.target.vm).config.files
        assert (files.logDirectory, files.suspendDirectory, files.snapshotDirectory) == (
            "[datastore2] logs [a]", "[datastore2] suspended", "[datastore2] snapshots",
        )  # fmt: skip
    planned.clean_up()


def test_a_label_says_more_than_a_networks_name(lab, kept, name):
    site, point = kept
    said = ("VM Network=nowhere", f"{CARD}=Backup Network")

    planned = Restoring.new(site, point, name, networks=said)

    assert planned.plan.place.networks == ((CARD, "Backup Network"),)


def test_a_card_that_is_mapped_to_none_is_made_and_starts_disconnected(lab, kept, name):
    site, point = kept
    planned = Restoring.new(site, point, name, networks=(f"{CARD}=none",))

    planned.prepared()

    assert planned.plan.warnings == (), "it is disconnected because that was said, not because the original runs"
    assert f"{CARD} is made on VM Network, and starts disconnected" in plan_lines(planned.plan)
    assert start(card_of(lab, name)) == ("VM Network", False, False)
    planned.clean_up()


def test_networks_with_equals_signs_brackets_and_quotes_in_their_names_can_be_mapped(lab, kept, name):
    site, point = kept
    odd = "a=b [c [d]] \"e\" 'f' / %"
    with hands(lab) as session:
        network = next(n for n in session.content.rootFolder.childEntity[0].network if n.name == "Backup Network")
        network.Rename_Task(odd)
        try:
            planned = Restoring.new(site, point, name, networks=(f"VM Network={odd}",), connect_networks=True)
            planned.prepared()

            assert planned.plan.place.networks == ((CARD, odd),)
            assert card_of(lab, name).backing.network._moId == network._moId
            planned.clean_up()
        finally:
            network.Rename_Task("Backup Network")


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"networks": ("No Network=Backup Network",)}, NotFoundError, f"it has {CARD} on VM Network"),
        (
            {"networks": ("VM Network=No Network",)},
            NotFoundError,
            f"^{ONCE}{CARD}: .*; near: 'VM Network', 'Backup Network'; all: vmkeep target networks",
        ),
        ({"networks": ("VM Network",)}, UsageError, "OLD=NEW"),
        ({"networks": ("VM Network=A", "VM Network=B")}, UsageError, "choose one"),
        ({"disk_datastores": ("scsi3:9=datastore2",)}, NotFoundError, r"scsi0:0 \(Hard disk 1, "),
        (
            {"disk_datastores": ("scsi0:0=nowhere",)},
            NotFoundError,
            "no datastore 'nowhere' in /Lab; there are datastore1, datastore2[^;]*; all: vmkeep target datastores",
        ),
        ({"disk_datastores": ("scsi0:0=datastore2", "2000=datastore1")}, UsageError, "Hard disk 1 is mapped to"),
        ({"datastore": "Datastore-1"}, NotFoundError, "no datastore 'Datastore-1' in /Lab; near: 'datastore1'"),
        ({"folder": "Prodution"}, NotFoundError, "near: 'Production'; all: vmkeep target folders"),
        ({"resource_pool": "Prod"}, NotFoundError, "near: 'Production'; all: vmkeep target pools"),
        ({"host": "esx1.localhost"}, NotFoundError, "near: 'esx01.localhost', .*; all: vmkeep target hosts"),
        ({"log_directory": "[datastore1] no/where"}, NotFoundError, "there is no such folder"),
        ({"suspend_directory": "[nowhere] x"}, NotFoundError, "the host has no datastore 'nowhere'; it has datastore1"),
        ({"snapshot_directory": "[datastore1] no/where"}, NotFoundError, "snapshot directory .* no such folder"),
        ({"log_directory": "/vmfs/x"}, UsageError, r"write it as in '\[datastore1\] folder'"),
        ({"rdms": ("scsi0:0=omit",)}, NotFoundError, "the restore point has no RDM"),
        ({"luns": ("scsi0:0=naa.1",)}, NotFoundError, "the restore point has no RDM"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is_before_anything_is_touched(lab, kept, name, said, error, words):
    site, point = kept

    with pytest.raises(error, match=words):
        Restoring.new(site, point, name, **said)

    assert name not in names(lab)


@pytest.mark.parametrize(
    "said", [{"networks": ("VM Network=none",)}, {"disk_datastores": ("scsi0:0=x",)}, {"luns": ("scsi0:0=x",)}]
)
def test_parts_of_a_vm_that_exists_go_nowhere(kept, said):
    site, point = kept

    with pytest.raises(UsageError, match="--new-name"):
        Restoring.over(site, point, **said)


@pytest.mark.parametrize("disk", ["scsi0:0", "Hard disk 1", "2000"])
def test_one_disk_goes_to_the_datastore_that_was_said(lab, kept, name, disk):
    site, point = kept

    planned = Restoring.new(site, point, name, disk_datastores=(f"{disk}=datastore2",)).prepared().written()

    assert planned.plan.place.disks == (("scsi0:0", "datastore2"),)
    assert planned.jobs[0].target_file.startswith("[datastore2] ")
    planned.clean_up()


def test_a_mapping_tells_the_replacement_of_each_physical_rdm(lab, with_rdm, name):
    site, point = with_rdm
    with open_repository(site.repository) as repository:
        text = mapping_at(repository, point).replace("\nname: app01\n", f"\nname: {name}\n")
    lun = free_luns(lab)[0]

    def lines(old: str, new: str) -> str:
        assert old in text
        request = make_request(point=point, run=name, mapping=text.replace(old, new))
        return "\n".join(plan_lines(restore.plan_restore(site, request)))

    placeholder = "    rdm: placeholder\n    lun: null\n"
    told = "is not written: physical RDM, not backed up; an empty placeholder disk of at most 16.0 MiB takes its place"
    assert f"{told}; its file is on datastore" in lines(placeholder, placeholder)
    assert "is not made: physical RDM, not backed up; left out, as asked" in lines(placeholder, "    rdm: omit\n")
    assert "an ordinary disk takes its place, empty" in lines(placeholder, "    rdm: disk\n")
    assert f"mapped to LUN {lun}, on which nothing is written" in lines(placeholder, f"    lun: {lun}\n")
    assert f"mapped to LUN {lun}, on which nothing is written" in lines(placeholder, "    rdm: auto:physical\n")


def test_a_physical_rdm_is_mapped_to_the_named_lun_and_nothing_is_written_to_it(lab, with_rdm, name):
    site, point = with_rdm
    lun = free_luns(lab)[0]
    planned = Restoring.new(site, point, name, physical_rdm=RdmReplacement.LUN, luns=(f"scsi1:0={lun}",))

    planned.prepared()
    jobs = restore.write_jobs(site, planned.plan, planned.target)

    assert any(f"mapped to LUN {lun}, on which nothing is written" in line for line in plan_lines(planned.plan))
    (made,) = (disk for disk in lab.vm(name)["disks"] if disk["key"] == 2016)
    assert planned.plan.place.luns == (("scsi1:0", lun),)
    assert made
    assert 2016 not in {job.target_key for job in jobs}
    planned.clean_up()


def test_a_physical_rdm_that_is_left_out_goes_nowhere_by_the_plan(with_rdm, name):
    site, point = with_rdm

    (line,) = (
        line
        for line in plan_lines(Restoring.new(site, point, name, physical_rdm=RdmReplacement.OMIT).plan)
        if line.startswith("Hard disk 4")
    )

    assert "is not made" in line
    assert "datastore" not in line


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ((), UsageError, r"--lun 'scsi1:0=LUN'.*free ones: naa"),
        (("scsi1:0=naa.0",), NotFoundError, r"on esx01.localhost, esx02.localhost: .* is not free; free ones: naa"),
        (("scsi0:0=naa.0",), NotFoundError, r"no RDM 'scsi0:0'; the restore point has the RDMs scsi1:0"),
    ],
)
def test_a_physical_rdm_goes_onto_no_lun_that_is_not_named_and_free(with_rdm, name, said, error, words):
    site, point = with_rdm

    with pytest.raises(error, match=words):
        Restoring.new(site, point, name, physical_rdm=RdmReplacement.LUN, luns=said)


def test_a_lun_taken_since_the_plan_is_not_mapped(lab, with_rdm, name):
    site, point = with_rdm
    lun = free_luns(lab)[0]
    said = {"physical_rdm": RdmReplacement.LUN, "luns": (f"scsi1:0={lun}",)}
    first, second = Restoring.new(site, point, name, **said), Restoring.new(site, point, f"{name}-2", **said)
    first.prepared()

    with pytest.raises(ConflictError, match=rf"LUN {lun} is mapped by VM {name} \({first.target.vm}\)"):
        second.prepared()

    assert f"{name}-2" not in names(lab)
    with pytest.raises(ConflictError, match=rf"LUN {lun} is mapped by VM {name} \({first.target.vm}\)"):
        Restoring.new(site, point, f"{name}-2", **said)
    first.clean_up()


def test_a_network_that_is_not_the_planned_one_any_more_gets_no_card(lab, kept, name):
    site, point = kept
    planned = Restoring.new(site, point, name, networks=("VM Network=Backup Network",))
    planned.plan = replace(planned.plan, place=replace(planned.plan.place, networks=((CARD, "VM Network"),)))

    with pytest.raises(StaleError):
        planned.prepared()

    assert name not in names(lab)


class TestBesideTheOriginal:
    """The original's addresses are in use while it runs."""

    def test_the_cards_start_disconnected_while_the_original_runs(self, lab, kept, name):
        site, point = kept
        planned = Restoring.new(site, point, name)

        planned.prepared()

        assert f"{CARD} is made on VM Network, and starts disconnected" in plan_lines(planned.plan)
        assert any("web01" in line and "--connect-networks" in line for line in planned.plan.warnings)
        assert start(card_of(lab, name)) == ("VM Network", False, False)
        planned.clean_up()

    def test_they_are_connected_where_that_is_said(self, lab, kept, name):
        site, point = kept
        planned = Restoring.new(site, point, name, connect_networks=True).prepared()

        assert any("as asked" in line for line in planned.plan.warnings)
        assert start(card_of(lab, name)) == ("VM Network", True, True)
        planned.clean_up()

    def test_they_stay_as_saved_when_the_original_is_off(self, lab, kept, name):
        site, point = kept
        power(lab, "web01", on=False)
        try:
            planned = Restoring.new(site, point, name).prepared()
        finally:
            power(lab, "web01", on=True)

        assert not any("network card" in line for line in planned.plan.warnings)
        assert start(card_of(lab, name)) == ("VM Network", True, True)
        planned.clean_up()

    def test_an_original_switched_on_after_the_plan_stops_the_restore(self, lab, kept, name):
        site, point = kept
        power(lab, "web01", on=False)
        try:
            planned = Restoring.new(site, point, name)
        finally:
            power(lab, "web01", on=True)

        with pytest.raises(StaleError, match=r"is running\. It was not running when"):
            planned.prepared()

        assert name not in names(lab)

    def test_they_start_disconnected_where_it_may_not_be_seen_whether_the_original_runs(self, lab, kept, name):
        site, point = kept
        lab.fault(method="FindAllByUuid", fault="NoPermission")
        try:
            planned = Restoring.new(site, point, name)
        finally:
            lab.clear()

        assert planned.plan.place.unconnected == (CARD,)
        assert any("web01" in line and "may be running" in line for line in planned.plan.warnings)
