"""The pages tell the worst first, escape every name, load nothing from elsewhere, and their tables can be heard."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from lxml import etree, html

from tests.unit.catalog.test_catalog import Manifests
from tests.unit.web.fleets import HOSTILE, NOW, fill, nightly, taken
from vmkeep.catalog import NotedMark, NotedVm, open_catalog
from vmkeep.errors import CatalogError, NotFoundError
from vmkeep.flows.fleet import find_point, load_fleet, load_trends, load_vm
from vmkeep.model.exports import ImageFormat
from vmkeep.model.overwrite import Verify
from vmkeep.model.portable import PortableCard, PortableMachine
from vmkeep.policy import PolicyExport
from vmkeep.web import (
    FleetQuery,
    FleetSort,
    Frame,
    VmState,
    fleet_page,
    hardware_page,
    policies_page,
    render,
    vm_page,
    warnings_page,
)
from vmkeep.web.vm_states import detail_of, state_of
from vmkeep.web.words import moment

FRAME = Frame(root="/air/vmkeep", airflow="/air", user="anna", may_operate=True)


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('web')}/catalog.db"


@pytest.fixture(scope="module")
def points(url):
    return fill(url)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return nightly(tmp_path_factory.mktemp("policies"))


@pytest.fixture
def look(url, points, policy):
    def look(*, patient=False, **query):
        rule = replace(policy, max_age=timedelta(hours=40)) if patient else policy
        return fleet_page(
            load_fleet([url], [rule], NOW), FleetQuery(**query), now=NOW, trends=lambda vms: load_trends([url], vms)
        )

    return look


def shown_vm(url, policy, key, **choice):
    return vm_page(load_vm([url], key, [policy], NOW), now=NOW, **choice)


def fleet_html(page) -> str:
    states, sorts = list(VmState), {each.value: each for each in FleetSort}
    return render("fleet.html", FRAME, page=page, states=states, sorts=sorts)


def parsed(text: str):
    """Parse a page strictly: a tag that is not closed, or an attribute twice, is a fault."""
    parser = html.HTMLParser(recover=True)
    tree = html.fromstring(text, parser=parser)
    faults = [fault.message for fault in parser.error_log if not re.search(r"Tag (\w+) invalid", fault.message)]
    assert faults == []
    return tree


def test_an_imported_image_is_no_vm_without_protection_but_still_judged_by_its_points(tmp_path):
    policy = nightly(tmp_path)
    with open_catalog(f"sqlite:///{tmp_path}/c.db") as catalog:
        good, bad = (
            taken(name, 5, n, policy=None, key=f"image-{name}") for name, n in (("disk01", 20), ("disk02", 30))
        )
        catalog.refresh(Manifests(good, bad, taken("lab01", 5, 40, policy=None)))
        damaged = NotedMark(ref=bad.ref, kind="damaged", reason="lost pack")
        catalog.overview().note("repo", location="/r", at=NOW, marks=[damaged], proofs=[], vms=[])
    fleet = load_fleet([f"sqlite:///{tmp_path}/c.db"], [policy], NOW)
    page = fleet_page(fleet, FleetQuery(), now=NOW, trends=lambda _vms: {})
    assert {row.name: row.state for row in page.rows} == {
        "disk01": VmState.IMAGE, "disk02": VmState.DAMAGED, "lab01": VmState.BY_HAND,
    }  # fmt: skip
    assert page.sentence.startswith("1 VM and 2 imported images: 1 late or without a good point")


def test_every_vm_is_judged_the_worst_first(look):
    page = look()
    assert [(row.name, row.state) for row in page.rows[:4]] == [
        ("new01", VmState.NEVER), ("db01", VmState.LATE), ("web01", VmState.LATE), ("bad01", VmState.DAMAGED),
    ]  # fmt: skip
    states = {row.name: row.state for row in page.rows}
    assert states["tmpl01"] is VmState.BLOCKED
    assert states["lab01"] is VmState.BY_HAND
    assert states["bare01"] is VmState.UNPROTECTED
    assert page.sentence == "8 VMs: 4 late or without a good point, 2 without protection."


def test_a_vm_whose_newest_point_failed_a_check_is_not_called_safe_and_its_age_is_that_of_a_good_point(look, policy):
    row = next(row for row in look().rows if row.name == "web01")
    assert (row.state, row.newest.ago, row.bad) == (VmState.LATE, "32 h ago", 1)
    assert row.fault == "failed, and not passed since: digests; the newest point, 8 h old, failed a check"
    assert row.detail == f"32 h old, 26 h allowed; {row.fault}"

    page = look(patient=True, state=VmState.FAILED)
    assert [(row.name, row.fault) for row in page.rows] == [("web01", row.fault)]
    assert page.rows[0].state.tone == "bad"
    assert "3 late or without a good point, 1 with a failed check," in page.sentence
    assert {each.state: each.vms for each in page.counts}[VmState.FAILED] == 1
    shown = fleet_html(page)
    assert "check failed" in shown
    assert f"<small>{row.fault}</small>" in shown


def test_a_point_that_its_policy_does_not_export_is_told_with_a_link_to_its_checks(url, points, policy):
    export = PolicyExport(format=ImageFormat.QCOW2, out="/exports", verify=Verify.ALL)
    exporting = replace(policy, exports=(export,))
    said = "failed a check; it is not exported, and the last export stays"
    assert load_vm([url], "key-web01", [policy], NOW).vm.is_exported is False
    fleet = load_fleet([url], [exporting], NOW)
    (row,) = fleet_page(fleet, FleetQuery(search="web01"), now=NOW, trends=lambda _vms: {}).rows
    assert row.fault.endswith(said)

    page = shown_vm(url, exporting, "key-web01")
    assert page.not_exported.ref == points[3].ref
    assert page.state_detail.endswith(said)
    text = render("vm.html", FRAME, page=page)
    assert f'<a href="#p-{page.not_exported.id}">marks and proofs' in text
    assert f'id="p-{page.not_exported.id}"' in text
    for good in (shown_vm(url, policy, "key-web01"), shown_vm(url, exporting, "key-db01")):
        assert good.not_exported is None
        assert "not exported" not in render("vm.html", FRAME, page=good)


def test_a_newest_point_that_is_damaged_is_told_beside_an_older_good_one(url, points, policy, tmp_path):
    other = f"sqlite:///{tmp_path / 'other.db'}"
    fill(other)
    with open_catalog(other) as catalog:
        marks = [NotedMark(ref=points[3].ref, kind=kind, reason="lost pack") for kind in ("damaged", "suspect")]
        catalog.overview().note("repo", location="/srv/repo", at=NOW, marks=marks, proofs=[], vms=[])
    vm = load_vm([other], "key-web01", [replace(policy, max_age=None)], NOW).vm
    assert (state_of(vm, NOW), vm.newest) == (VmState.FAILED, points[2].taken_at), "not even without a limit"
    assert detail_of(vm, VmState.FAILED, NOW).endswith("the newest point, 8 h old, is damaged and is suspect")


def test_a_good_copy_of_a_point_that_failed_a_check_counts(url, points, policy, tmp_path):
    copy = f"sqlite:///{tmp_path / 'copy.db'}"
    with open_catalog(copy) as catalog:
        held = Manifests(*points[:4])
        held.id = "copy"
        catalog.refresh(held)
    vm = load_vm([url, copy], "key-web01", [policy], NOW).vm
    assert (vm.newest, vm.fault, vm.bad) == (points[3].taken_at, None, 1)
    assert state_of(vm, NOW) is VmState.FAILED, "because nobody has passed that check since"


def test_a_row_tells_age_limit_proof_sizes_and_trend(look):
    row = next(row for row in look().rows if row.name == "web01")
    assert (row.newest.ago, row.limit, row.proved.ago, row.points) == ("32 h ago", "26 h", "2 h ago", 4)
    assert row.trend == (300 << 20, 11 << 20, 12 << 20, 13 << 20)
    assert row.sizes == "1.0 GiB / 336.0 MiB"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"search": "WEB"}, ["web01"]),
        ({"search": "key-db"}, ["db01"]),
        ({"state": VmState.LATE}, ["db01", "web01"]),
        ({"policy": ""}, ["bare01", "tmpl01", "lab01"]),
        ({"sort": FleetSort.POINTS, "down": True, "policy": "nightly", "search": "01"},
         ["web01", "bad01", "db01", "new01"]),
    ],
)  # fmt: skip
def test_rows_are_chosen_and_sorted_on_the_server(look, query, names):
    assert [row.name for row in look(**query).rows] == names


def test_a_page_beyond_the_last_is_the_last(look):
    assert look(page=99).query.page == 1


def test_the_link_of_a_choice_makes_that_choice():
    query = FleetQuery(search="a&b", state=VmState.LATE, policy="x y", sort=FleetSort.NAME, down=True)
    assert query.link() == "?q=a%26b&state=late&sort=name&order=down&policy=x+y"
    assert FleetQuery().link() == "?"


@pytest.mark.parametrize("made", ["fleet", "vm", "error"])
def test_a_hostile_name_is_shown_and_does_nothing(look, url, policy, made):
    text = {
        "fleet": lambda: fleet_html(look()),
        "vm": lambda: render("vm.html", FRAME, page=shown_vm(url, policy, "key-<hostile>")),
        "error": lambda: render(
            "error.html", FRAME, heading="No", message=f"no VM {HOSTILE}", tone="bad", back="", bare=""
        ),
    }[made]()
    tree = parsed(text)
    assert not tree.xpath("//img[not(starts-with(@src, '/air/vmkeep/'))]")
    assert not [name for each in tree.iter(etree.Element) for name in each.attrib if name.startswith("on")]
    assert "&lt;img src=x" in text
    if made != "error":
        assert "\u202e" not in text
        assert "\x07" not in text
        assert "\\u202egpj.exe\\u0007" in text


@pytest.mark.parametrize("made", ["fleet", "vm"])
def test_a_page_loads_nothing_from_elsewhere_and_can_be_heard(look, url, policy, made):
    text = fleet_html(look()) if made == "fleet" else render("vm.html", FRAME, page=shown_vm(url, policy, "key-web01"))
    tree = parsed(text)
    assert all(each.startswith(("/air", "?", "#")) for each in tree.xpath("//@href | //@src | //@action"))
    assert not tree.xpath("//@style | //style | //script[not(@src)]"), "the policy of contents forbids them"
    assert len(tree.xpath("//h1")) == 1
    assert tree.xpath("//a[@class='skip']/@href") == ["#content"]
    for table in tree.xpath("//table"):
        assert table.xpath("caption")
        assert not table.xpath(".//th[not(@scope)]")
    assert not tree.xpath("//svg[@role='img'][not(@aria-label)]")
    assert not tree.xpath("//input[not(@type='hidden')][not(@aria-label)][not(ancestor::label)]")
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids))


def test_each_point_shows_the_ref_that_forms_and_commands_take(url, points, policy):
    tree = parsed(render("vm.html", FRAME, page=shown_vm(url, policy, "key-web01")))
    refs = [points[0].ref, *(point.ref for point in points[1:4])]
    assert sorted(tree.xpath("//table[@class='points']//li[@class='ref']/code/text()")) == sorted(refs)


def test_the_sorted_column_says_so(look):
    tree = parsed(fleet_html(look(sort=FleetSort.NAME, down=True)))
    assert tree.xpath("//th[@aria-sort]/@aria-sort") == ["descending"]


def test_a_vm_shows_why_what_is_held_and_what_was_proved(url, points, policy):
    page = shown_vm(url, policy, "key-web01")
    assert (page.name, page.state, page.total) == ("web01", VmState.LATE, 4)
    newest, *_, oldest = page.points
    assert [badge.label for badge in newest.proofs] == ["digests failed", "boot passed"]
    assert newest.skipped[0].why == "physical-mode RDM: vSphere cannot snapshot it"
    assert (oldest.kind, newest.kind) == ("full", "incremental")
    assert [badge.label for point in page.points for badge in point.marks] == ["pinned"]
    assert page.screen == newest
    assert page.chart.bars[0].kind == "full"


def test_a_vm_shows_its_moves_and_its_configuration_at_two_points(url, points, policy):
    page = shown_vm(url, policy, "key-web01", compared=(points[3].id, points[0].id))
    assert {each.what for _, each in page.moves} == {"name", "path in the inventory"}
    told = {each.what: (each.before, each.after) for each in page.comparison.differences}
    assert told["name"] == ("web-old", "web01")
    assert told["addresses of the guest"] == ("192.0.2.7", "192.0.2.9")
    assert page.comparison.before.ref == points[0].ref, "the older point comes first, in whatever order they are chosen"


def test_a_vm_is_judged_on_its_page_as_in_the_fleet(look, url, policy):
    for row in look().rows:
        if row.vm_key is not None:
            page = shown_vm(url, policy, row.vm_key)
            assert (page.state, page.state_detail) == (row.state, row.detail)


def test_who_may_not_restore_sees_no_screen_of_a_guest(url, points, policy):
    page = shown_vm(url, policy, "key-web01")
    assert "/screens/" in render("vm.html", FRAME, page=page)
    assert "/screens/" not in render("vm.html", replace(FRAME, may_operate=False), page=page)


def test_older_points_are_on_further_pages(url, points):
    found = load_vm([url], "key-web01", (), NOW, first=2, most=1)
    assert (found.total, found.first, len(found.points)) == (4, 2, 1)
    page = vm_page(found, now=NOW)
    assert (page.newer, page.older) == (0, 3)


def test_a_point_is_found_by_its_id(url, points):
    assert find_point([url], points[1].id) == ("key-web01", 2)
    with pytest.raises(NotFoundError):
        find_point([url], "nothing")


def test_a_catalog_that_is_gone_hides_no_other_and_is_named(url, points, policy, tmp_path):
    (tmp_path / "file").write_text("")
    gone = f"sqlite:///{tmp_path}/file/catalog.db"
    fleet = load_fleet([gone, url], [policy], NOW)
    assert len(fleet.vms) == 8
    assert gone in fleet.problems[0]
    assert load_vm([gone, url], "key-web01", (), NOW).problems
    with pytest.raises(CatalogError):
        load_vm([gone], "key-web01", (), NOW)
    page = fleet_page(load_fleet([gone], [], NOW), FleetQuery(), now=NOW, trends=lambda _: {})
    assert "No catalog can be read" in fleet_html(page)


def test_an_empty_catalog_says_what_to_do_first(tmp_path):
    fleet = load_fleet([f"sqlite:///{tmp_path}/catalog.db"], [], NOW)
    text = fleet_html(fleet_page(fleet, FleetQuery(), now=NOW, trends=lambda _: {}))
    assert "Nothing is backed up yet" in text


def test_vms_of_a_vcenter_that_gives_no_answer_stay_known(tmp_path):
    vms = [NotedVm(vm=f"{host}/vm-1", name=host, policy="", asked=True) for host in ("vc1", "vc_1")]
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        overview = catalog.overview()
        note = {"location": "x", "at": NOW, "marks": (), "proofs": ()}
        overview.note("repo", vms=vms, **note)
        overview.note("repo", vms=(), unasked=["vc_1"], **note)
        assert [vm.name for _, vm in overview.noted_vms()] == ["vc_1"]
        overview.note("repo", vms=(), **note)
        assert overview.noted_vms() == []


def test_a_vm_that_was_backed_up_since_the_last_look_is_one_row(url, points, policy, tmp_path):
    place = f"sqlite:///{tmp_path}/catalog.db"
    with open_catalog(place) as catalog:
        catalog.record("repo", replace(points[4], policy=None))
        vms = [NotedVm(vm="vc01.example/vm-2", name="db01", policy="nightly", asked=True)]
        catalog.overview().note("repo", location="x", at=NOW, marks=(), proofs=(), vms=vms)
    (vm,) = load_fleet([place], [policy], NOW).vms
    assert (vm.name, vm.points, vm.policy) == ("db01", 1, "nightly")
    assert load_vm([place], "key-db01", [policy], NOW).vm == vm


def test_the_fleet_and_the_policies_are_not_called_safe_before_anybody_looked(tmp_path, policy, points):
    place = f"sqlite:///{tmp_path}/catalog.db"
    with open_catalog(place) as catalog:
        catalog.refresh(Manifests(*points))
    fleet = load_fleet([place], [policy], NOW, names={place: "connection vmkeep_default"})
    page = fleet_page(fleet, FleetQuery(), now=NOW, trends=lambda _: {})
    for sentence in (page.sentence, policies_page((), fleet, off={}, now=NOW).sentence):
        assert "which VMs have no policy, and which checks failed, is not known yet: switch on the DAG" in sentence
    assert [look.location for look in page.looks] == ["connection vmkeep_default"]
    assert 'connection vmkeep_default, <span class="none">never looked at' in fleet_html(page).replace("\n", "")

    seen = replace(fleet, repositories=(*fleet.repositories, replace(fleet.repositories[0], at=NOW, location="/b")))
    part = fleet_page(seen, FleetQuery(), now=NOW, trends=lambda _: {})
    assert part.unknown.startswith("1 repository was never looked at (connection vmkeep_default)")


def test_a_vm_that_no_policy_ever_had_is_not_said_to_have_lost_one(look):
    by_hand = next(row for row in look().rows if row.name == "lab01")
    assert (by_hand.state, by_hand.state.label, by_hand.state.tone) == (VmState.BY_HAND, "no policy", "warn")
    assert (by_hand.proof_rule, by_hand.proved) == ("", None)
    shown = fleet_html(look())
    assert "not judged" in shown
    assert "of the kinds that policy nightly counts: " in shown


def test_vms_of_one_name_are_told_apart_by_their_place_and_found_by_it(tmp_path, policy):
    place = f"sqlite:///{tmp_path}/catalog.db"
    vms = [NotedVm(vm=f"vc01/vm-{number}", name="twin", policy="", asked=True) for number in (7, 8)]
    with open_catalog(place) as catalog:
        catalog.overview().note("repo", location="x", at=NOW, marks=(), proofs=(), vms=(
            *vms, NotedVm(vm="vc01/vm-9", name="single", policy="", asked=True)))  # fmt: skip
    fleet = load_fleet([place], [policy], NOW)
    page = fleet_page(fleet, FleetQuery(), now=NOW, trends=lambda _: {})
    assert sorted((row.name, row.place) for row in page.rows) == [
        ("single", ""), ("twin", "vc01/vm-7"), ("twin", "vc01/vm-8"),
    ]  # fmt: skip
    assert "<small>vc01/vm-8</small>" in fleet_html(page)
    found = fleet_page(fleet, FleetQuery(search="VM-8"), now=NOW, trends=lambda _: {})
    assert [row.place for row in found.rows] == ["vc01/vm-8"]


def test_the_number_of_warnings_leads_to_their_texts(url, points, policy):
    (listed, *_) = load_vm([url], "key-web01", (), NOW).points
    shown = shown_vm(url, policy, "key-web01")
    warned = replace(shown, points=(replace(shown.points[0], warnings=2),))
    assert f'href="/air/vmkeep/warnings/{listed.id}"' in render("vm.html", FRAME, page=warned)
    text = render("warnings.html", FRAME, page=warnings_page(listed, ["a <b> disk", HOSTILE], now=NOW))
    parsed(text)
    assert "<li>a &lt;b&gt; disk</li>" in text
    assert "<img" not in text


def test_a_point_of_the_future_proves_nothing(url, points, policy):
    fleet = load_fleet([url], [policy], NOW - timedelta(days=30))
    assert {vm.newest for vm in fleet.vms} == {None}


def test_hardware_at_two_points_tells_every_change_and_nothing_else(points, url):
    listed = load_vm([url], "key-web01", (), NOW).points
    card = PortableCard(label="Network adapter 1", model="vmxnet3", mac="00:50:56:00:00:01", network="LAN")
    old = PortableMachine(name="web01", cpus=2, memory_mib=4096, guest_name="Debian", cards=(card,))
    new = replace(old, cpus=4, annotation=HOSTILE, cards=(replace(card, network="DMZ"), replace(card, label="Second")))
    page = hardware_page((listed[1], old), (listed[0], new), now=NOW)
    told = {each.what: (each.before, each.after) for each in page.differences}
    assert set(told) == {"CPUs", "notes", "Network adapter 1", "Second"}
    assert told["Network adapter 1"][1] == "vmxnet3 00:50:56:00:00:01 on DMZ"
    assert told["Second"][0] == "none"
    text = render("hardware.html", FRAME, page=page)
    parsed(text)
    assert "<img" not in text
    same = hardware_page((listed[1], old), (listed[0], old), now=NOW)
    assert "are the same" in render("hardware.html", FRAME, page=same)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (59, "just now"),
        (-30, "just now"),
        (60, "1 min ago"),
        (-120, "2 min ahead of this server's clock"),
    ],
)
def test_a_moment_of_this_minute_is_just_now(seconds, said):
    assert moment(NOW - timedelta(seconds=seconds), NOW).ago == said


def test_a_vm_whose_check_failed_is_told_so_and_not_as_an_age_of_its_good_point(url, points, policy):
    for rule, begins in ((replace(policy, max_age=None), False), (policy, True)):
        page = shown_vm(url, rule, "key-web01")
        assert ("Newest good point:" in render("vm.html", FRAME, page=page)) is begins
