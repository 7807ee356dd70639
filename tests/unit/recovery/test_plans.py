"""Every fault of a plan is told with its place, and a group takes exactly the VMs and points that it says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vmkeep.errors import CorruptError, PlanError
from vmkeep.model.job import from_json
from vmkeep.recovery import (
    ChosenVms,
    KnownPoint,
    PowerWish,
    ProbeResult,
    RecoveryReport,
    VmOutcome,
    VmState,
    choose,
    for_drill,
    page,
    parse_plan,
    read_plan,
)

DOCS = Path(__file__).parents[3] / "docs" / "examples"
EXAMPLE = Path(__file__).parents[3] / "include" / "dr" / "example.yaml"
GROUPS = "groups:\n  - {name: a, selection: name:a}\n"
PROBED = "name: site\ngroups:\n  - {{name: a, selection: name:a,\n     probes: {{http: ['{}']}}}}\n"
START = datetime(2026, 11, 20, tzinfo=UTC)
A, B = "11111111-aaaa", "22222222-bbbb"


def plan_of(groups: str, head: str = ""):
    read = parse_plan(f"name: site\n{head}groups:\n{groups}", path="site.yaml")
    assert not read.faults, read.lines
    return read.sound()


def point(name: str, day: int, **fields) -> KnownPoint:
    taken_at = START + timedelta(days=day)
    fields = {"vm_key": f"key-{name}", "vcenter": A, "moref": "vm-1", "inventory_path": f"/dc/vm/Prod/{name}", **fields}
    ref = f"{fields['vm_key']}/{fields['vcenter']}-{day}"
    return KnownPoint(**{"ref": ref, "taken_at": taken_at, "vm_name": name, **fields})


def chosen(plan, points, **options) -> ChosenVms:
    return choose(plan, points, policy_of=lambda ref: "nightly" if ref.startswith("key-db") else None, **options)


def refs(choice: ChosenVms) -> list[tuple[str, str]]:
    return [(vm.group, vm.point) for vm in choice.vms]


def test_a_drill_tells_how_old_a_proof_may_be():
    text = EXAMPLE.read_text().replace("# proved_within: 35d", "proved_within: 35d")

    plan = parse_plan(text, path="example.yaml").sound()

    assert plan.drill.proved_within == timedelta(days=35)


def test_the_example_is_sound_and_a_group_takes_what_the_plan_says_where_it_says_nothing():
    plan = read_plan(EXAMPLE).sound()

    databases, web, others = plan.groups

    assert web.target.datastore == "dr-ds1"
    assert databases.probes.tcp == (5432,)
    assert databases.probes.tools
    assert others.approval
    assert others.power is PowerWish.SAVED
    assert plan.drill is not None
    assert str(plan.drill.schedule) == "06:00 to 06:00 Europe/Berlin, sat"
    assert plan.drill.proved_within is None  # nobody is to be alarmed of an example
    assert (plan.drill.vsphere, plan.drill.repository) == ("vsphere_default", "vmkeep_default")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: site\ngroups: 3\n", "2:9: groups: 3 is not a list"),
        ("name: site\ngroups: []\n", "2:9: groups: the list is empty"),
        (
            "name: site\ngroups:\n  - name: a\n    selection: tag:x/y\n",
            "4:16: groups[1].selection: restore points do not",
        ),
        ("name: site\ngroups:\n  - name: a\n    selection: name:a\n    point: soon\n", "5:12: groups[1].point: 'soon'"),
        ("name: site\ngroups:\n  - name: a\n    selection: name:a\n    point: 2026-01-01T00:00\n", "no time zone"),
        ("name: site\ngroups:\n  - name: a\n    selectoin: name:a\n", "did you mean 'selection'?"),
        (
            "name: site\ngroups:\n  - name: a\n    selection: 'name:(('\n",
            "4:22: groups[1].selection: expected a closing",
        ),
        (
            "name: site\ngroups:\n  - name: a\n    selection: name:a\n  - name: a\n    selection: name:b\n",
            "5:11: groups[2].name: 'a' is the name of another group, in line 3",
        ),
        (
            "name: site\ndrill:\n  network: x\n  schedule: {start: '06:00', time_zone: Nowhere}\n" + GROUPS,
            "4:41: drill.schedule.time_zone: 'Nowhere' is no time zone",
        ),
        (
            "name: site\ndrill: {network: x, proved_within: 0d}\ngroups:\n  - {name: a, selection: name:a}\n",
            "2:36: drill.proved_within: '0d' is no length of time",
        ),
        ("name: site\ndrill: {}\ngroups:\n  - {name: a, selection: name:a}\n", "drill.network is missing"),
        ("name: site\ngroups:\n  - {name: all, selection: name:a}\n", "3:12: groups[1].name: 'all' stands for"),
        (PROBED.format("http:///health"), "'http:///health' names no host or no port"),
        (PROBED.format("https://:443/"), "'https://:443/' names no host"),
        (PROBED.format("http://{adress}/"), "groups[1].probes.http[1]: 'http://{adress}/' has braces"),
        (PROBED.format("http://[::1/"), "'http://[::1/' is no URL"),
        (PROBED.format("http://x:99999/"), "'http://x:99999/' is no URL"),
        (
            "name: site\ntarget: {networks: [lan]}\ngroups:\n  - {name: a, selection: name:a}\n",
            "2:21: target.networks[1]: 'lan' is no mapping OLD=NEW",
        ),
        ("name: site\ngroups:\n  - {name: a, selection: name:a, rename: x}\n", "rename: 'x' is no name"),
    ],
)
def test_a_fault_is_told_with_its_line_and_column(text: str, line: str):
    read = parse_plan(text, path="site.yaml")

    assert any(line in told and told.startswith("site.yaml:") for told in read.lines), read.lines
    with pytest.raises(PlanError, match="site"):
        read.sound()


def test_a_name_without_the_saved_name_is_refused_with_that_one_reason():
    read = parse_plan("name: site\ngroups:\n  - {name: a, selection: name:a, rename: x}\n", path="site.yaml")

    (line,) = read.lines
    assert "is no name with {name} in it once" in line


@pytest.mark.parametrize("url", ["http://{address}/", "https://{address}:8443/a?b", "http://db.example.com:80/"])
def test_a_url_that_a_probe_can_ask_is_taken_as_it_is(url):
    assert plan_of(f"  - {{name: a, selection: name:a, probes: {{http: ['{url}']}}}}\n").groups[0].probes.http == (url,)


def test_the_newest_good_point_is_chosen_and_a_newer_doubtful_one_is_told_of():
    plan = plan_of("  - {name: a, selection: 'any:'}\n")
    points = [point("db", 1), point("db", 2), point("db", 3, doubt="marked suspect (a lie)")]

    choice = chosen(plan, points)

    assert refs(choice) == [("a", points[1].ref)]
    assert "is left out: it is marked suspect (a lie)" in choice.notes[0]
    assert chosen(plan, points[2:]).problems[0].startswith("group a: VM db (key-db) has no good point; ")


def test_a_point_that_cannot_be_read_is_passed_over_for_the_next_older_one_with_and_without_policies():
    points = [point("db", 1), point("db", 2), point("web", 1)]

    def policy_of(ref: str) -> str:
        if ref == points[1].ref:
            raise CorruptError("the manifest is damaged")
        return "nightly"

    for more in ("", ", policies: [nightly]"):
        choice = choose(plan_of(f"  - {{name: a, selection: 'any:'{more}}}\n"), points, policy_of=policy_of)

        assert refs(choice) == [("a", points[0].ref), ("a", points[2].ref)]
        (note,) = choice.notes
        assert f"the newer point {points[1].ref} is left out: it is not readable (the manifest is damaged)" in note
    only = choose(plan_of("  - {name: a, selection: name:db}\n"), points[1:2], policy_of=policy_of)
    assert "has no good point; key-db" in only.problems[0]
    assert "not readable" in only.problems[0]


def test_a_point_of_a_time_or_a_pin_is_chosen_where_that_is_asked_and_never_a_younger_one_than_the_run_allows():
    points = [point("db", 1, pinned=True), point("db", 2), point("db", 3)]

    assert refs(chosen(plan_of("  - {name: a, selection: name:db, point: pinned}\n"), points))[0][1] == points[0].ref
    of_a_time = plan_of("  - {name: a, selection: name:db, point: '2026-11-22T12:00:00Z'}\n")
    assert refs(chosen(of_a_time, points))[0][1] == points[1].ref
    latest = plan_of("  - {name: a, selection: name:db}\n")
    assert refs(chosen(latest, points, not_after=points[1].taken_at))[0][1] == points[1].ref
    assert "has no good point until" in chosen(latest, points, not_after=START).problems[0]


def test_a_point_from_the_future_is_chosen_only_if_there_is_no_other():
    plan = plan_of("  - {name: a, selection: name:db}\n")
    points = [point("db", 1), point("db", 900, ahead=True)]

    assert refs(chosen(plan, points))[0][1] == points[0].ref
    assert refs(chosen(plan, points[1:]))[0][1] == points[1].ref


def test_a_vm_belongs_to_the_first_group_that_selects_it_and_an_empty_group_is_a_problem():
    plan = plan_of(
        "  - {name: a, selection: name:db*}\n  - {name: b, selection: 'any:'}\n  - {name: c, selection: name:x}\n"
    )

    choice = chosen(plan, [point("db1", 1), point("web", 1)])

    assert [(vm.group, vm.vm_name) for vm in choice.vms] == [("a", "db1"), ("b", "web")]
    assert choice.problems == ("group c: no VM of the repository fits it",)
    assert choice.notes == (), "a group of all others leaves those of earlier groups to them"


def test_vms_that_an_earlier_group_has_are_told_once_for_each_group_however_many_they_are():
    plan = plan_of(
        "  - {name: a, selection: name:db*}\n  - {name: b, selection: name:web}\n"
        "  - {name: c, selection: 'name:db* or name:web or name:x'}\n"
    )

    choice = chosen(plan, [*(point(f"db{number}", 1) for number in range(6)), point("web", 1), point("x", 1)])

    first = ", ".join(f"db{number} (key-db{number})" for number in range(4))
    assert choice.notes == (
        f"group c: 6 VMs that it selects belong to group a already: {first}, …",
        "group c: 1 VM that it selects belongs to group b already: web (key-web)",
    )


def test_points_tell_folder_address_uuid_and_policy_and_no_image_is_a_vm():
    points = [
        point("db", 1, addresses=("10.0.0.5",)), point("web", 1), point("disk", 1, moref=None, vm_key="image-disk"),
    ]  # fmt: skip

    def names(selection: str, more: str = "") -> list[str]:
        plan = plan_of(f"  - {{name: a, selection: '{selection}'{more}}}\n")
        return [vm.vm_name for vm in chosen(plan, points).vms]

    assert names("folder:Prod and not name:web") == ["db"]
    assert names("folder:/dc/Prod") == ["db", "web"]
    assert names("ipaddr:10.0.0.5") == ["db"]
    assert names("any:", ", policies: [nightly]") == ["db"]
    assert names("any:") == ["db", "web"]


def test_one_key_at_two_vcenters_is_a_problem_until_the_group_names_one():
    points = [point("db", 1), point("db", 2, vcenter=B, server="vc-b.example.com")]

    assert (
        "has points of several vCenters" in chosen(plan_of("  - {name: a, selection: name:db}\n"), points).problems[0]
    )
    named = plan_of("  - {name: a, selection: name:db, vcenter: vc-b.example.com}\n")
    assert refs(chosen(named, points)) == [("a", points[1].ref)]


def test_two_restored_vms_never_get_one_name():
    plan = plan_of("  - {name: a, selection: name:db}\n")
    points = [point("db", 1), replace(point("db", 1), vm_key="another", ref="another/1")]

    assert "2 restored VMs would be named db" in chosen(plan, points).problems[0]


def test_a_drill_has_names_of_its_own_and_every_card_on_the_isolated_network():
    plan = plan_of(
        "  - {name: a, selection: name:db, target: {networks: ['LAN=DR']}}\n",
        head="drill: {network: Isolated, folder: Drills}\n",
    )

    assert chosen(plan, [point("db", 1)], drill=True).vms[0].new_name == "drill-db"
    target = for_drill(plan.groups[0], plan.drill).target
    assert (target.networks, target.folder) == (("*=Isolated",), "Drills")


def test_a_drill_asks_no_address_that_the_running_original_may_have_and_says_so():
    plan = plan_of(
        "  - {name: a, selection: name:db, probes: {tcp: [443], http: ['http://db/'], "
        "guest: {command: ok, connection: c}}}\n",
        head="drill: {network: Isolated}\n",
    )

    probes = for_drill(plan.groups[0], plan.drill).probes
    assert (probes.tcp, probes.http, probes.guest.command) == ((), (), "ok")
    assert "group a: no port and no page is asked" in chosen(plan, [point("db", 1)], drill=True).notes[0]
    assert not chosen(plan, [point("db", 1)]).notes


def test_the_page_escapes_every_text_and_tells_rpo_and_rto():
    probe = ProbeResult(probe="<b>tcp</b>", succeeded=True, at=START, told="<script>alert(1)</script>")
    vm = VmOutcome(
        group="<g>", vm_key="k", vm_name="<i>vm</i>", new_name="a&b", point="k/<p>",
        taken_at=START - timedelta(hours=5),
        state=VmState.HEALTHY, tries=1, healthy_at=START + timedelta(seconds=90), probes=(probe,),
        error="<e>", warnings=("<w>",),
    )  # fmt: skip
    report = RecoveryReport(
        run="r", plan="<plan>", description="<d>", drill=False, began=START, ended=START, lost_at=START,
        vcenter="<v>", vms=(vm,), notes=("<n>",),
    )  # fmt: skip

    text = page(report)

    for raw in ("<script>", "<i>vm", "<b>tcp", "<g>", "<e>", "<w>", "<n>", "<d>", "<v>", "<plan>", "<p>lan"):
        assert raw not in text
    assert (report.rpo(report.vms), report.rto(report.vms)) == (18000, 90)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "90 seconds" in text


def test_the_example_of_a_report_is_as_this_program_writes_it():
    """If this fails, ``make bench-recovery`` writes it anew."""
    report = from_json(RecoveryReport, (DOCS / "recovery-report.json").read_bytes())

    shown = re.sub(
        '<img src="data:image/png;base64,[^"]*" alt="[^"]*">', "", (DOCS / "recovery-report.html").read_text()
    )
    assert shown == page(report)
    assert (len(report.vms), len(report.groups), report.failed) == (20, 3, ())


def test_an_rto_is_not_reached_while_one_vm_is_not_healthy():
    vm = VmOutcome(
        group="a", vm_key="k", vm_name="v", new_name="v", point="k/p", taken_at=START, state=VmState.HEALTHY,
        healthy_at=START,
    )  # fmt: skip
    failed = replace(vm, state=VmState.FAILED, healthy_at=None)
    report = RecoveryReport(
        run="r", plan="p", description="", drill=True, began=START, ended=None, lost_at=START, vcenter="v",
        vms=(vm, failed),
    )  # fmt: skip

    assert report.rto(report.vms) is None
    assert report.failed == (failed,)
    assert "not reached" in page(report)


def test_a_vm_that_was_never_started_counts_as_restored_and_not_as_healthy():
    off = VmOutcome(
        group="a", vm_key="k", vm_name="v", new_name="v", point="k/p", taken_at=START, state=VmState.OFF,
        restored_at=START,
    )  # fmt: skip
    report = RecoveryReport(
        run="r", plan="p", description="", drill=True, began=START, ended=START, lost_at=START, vcenter="v",
        vms=(off, replace(off, new_name="w")),
    )  # fmt: skip
    failed = replace(report, vms=(off, replace(off, state=VmState.FAILED, restored_at=None)))

    told = "0 of 2 VMs healthy, 2 restored and not probed, because they stay off as planned"
    assert report.result(report.vms) == told
    assert page(report).count(told) == 2, "in the summary, and for the group"
    assert report.counts == {"healthy": 0, "off": 2, "failed": 0}
    assert failed.counts == {"healthy": 0, "off": 1, "failed": 1}
    assert failed.result(failed.vms).endswith("1 restored and not probed, because it stays off as planned")
