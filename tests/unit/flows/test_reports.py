"""Reports tell what happened over days: levels, windows, locks, cost; and hostile names are harmless in each form."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.flows.reports import (
    Kind,
    Past,
    Report,
    Table,
    audit_report,
    cost_report,
    csv_sheet,
    document_of,
    html_page,
    level_report,
    window_report,
)
from vmkeep.flows.reports.past import Lock, PastPoint
from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.policy import Opening, read_file

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def policies(tmp_path):
    """Return two policies: one whose VMs may be 26 hours old, and one without an age."""
    window = "window: {start: 22:00, end: 06:00, time_zone: UTC}"
    for name, more in (
        ("nightly", "max_age: 26h\nowner: shop\nverification: {proved_within: 7d, proved_by: boot}"),
        ("relaxed", "owner: lab"),
    ):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nselection: name:*\n{window}\n{more}\n")
    return {name: read_file(tmp_path / f"{name}.yaml").policy for name in ("nightly", "relaxed")}


def point(vm: str, ago: timedelta, *, policy: str = "nightly", **fields) -> PastPoint:
    taken_at = NOW - ago
    ref = f"key-{vm}/{taken_at:%Y%m%dT%H%M%SZ}-1"
    usual = {"bytes_read": 100, "bytes_stored": 40, "capacity": 1000}
    return PastPoint(ref=ref, vm_key=f"key-{vm}", vm_name=vm, taken_at=taken_at, policy=policy, **{**usual, **fields})


def past(*points: PastPoint, **fields) -> Past:
    ordered = sorted(points, key=lambda each: each.taken_at)
    return Past(location="/backup", at=NOW, points=tuple(ordered), **fields)


def nights(vm: str, count: int, *, but: tuple[int, ...] = (), **fields) -> list[PastPoint]:
    """Return a point for each night until the last one, except for some."""
    return [point(vm, 10 * HOUR + night * DAY, **fields) for night in range(count) if night not in but]


def rows(report: Report, table: str) -> list[dict[str, object]]:
    return document_of(report)[table]


def test_a_policy_that_was_kept_every_night_was_within_its_rpo_all_the_time(policies):
    report = level_report(past(*nights("web01", 20)), policies, days=7)

    kept, idle = rows(report, "levels")
    assert (kept["policy"], kept["vms"], kept["rpo_now"]) == ("nightly", 1, "good: 1 VM")
    assert (kept["time_within_rpo"], kept["gaps"], kept["longest_gap"]) == (1.0, 0, DAY.total_seconds())
    assert (kept["new_points"], kept["bytes_read"], kept["bytes_stored"]) == (7, 700, 280)
    assert (idle["policy"], idle["vms"], idle["rpo_now"]) == ("relaxed", 0, "open: no max_age")


def test_a_night_without_a_point_is_a_gap_with_its_vm_and_times(policies):
    report = level_report(past(*nights("web01", 20, but=(2,)), *nights("web02", 20)), policies, days=7)

    (gap,) = rows(report, "gaps")
    before = NOW - 10 * HOUR - 3 * DAY
    assert (gap["vm"], gap["from"], gap["to"]) == ("web01", before + 26 * HOUR, before + 48 * HOUR)
    level = rows(report, "levels")[0]
    assert level["time_within_rpo"] == pytest.approx(1 - 22 / (2 * 7 * 24))
    assert (level["gaps"], level["longest_gap"], level["rpo_now"]) == (1, 2 * DAY.total_seconds(), "good: 2 VMs")


def test_a_damaged_point_ends_no_gap_and_a_vm_that_is_late_now_is_told(policies):
    damaged = nights("web01", 20, but=(0,))
    report = level_report(past(*damaged, point("web01", 10 * HOUR, good=False)), policies, days=7)

    level = rows(report, "levels")[0]
    assert (level["rpo_now"], level["no_good"], level["gaps"]) == ("bad: 1 VM late", 1, 1)


def test_a_new_vm_is_not_late_for_the_days_before_it_was_there(policies):
    report = level_report(past(*nights("web01", 2)), policies, days=7)

    assert rows(report, "levels")[0]["time_within_rpo"] == 1.0


@given(st.lists(st.integers(min_value=0, max_value=24 * 20), max_size=30))
def test_the_time_within_the_rpo_is_what_an_hourly_look_finds(hours):
    points = [point("web01", timedelta(hours=hour), policy="p") for hour in {*hours, 24 * 20}]
    policy = _Policy()

    level = rows(level_report(past(*points), {"p": policy}, days=7), "levels")[0]

    taken = [each.taken_at for each in points]
    looks = [NOW - 7 * DAY + timedelta(hours=hour, minutes=30) for hour in range(24 * 7)]
    within = sum(any(timedelta() <= look - moment < policy.max_age for moment in taken) for look in looks)
    assert level["time_within_rpo"] == pytest.approx(within / len(looks))


class _Policy:
    """The parts of a policy that the levels need."""

    name, owner, max_age = "p", "", 26 * HOUR

    class verification:  # noqa: N801 - stands for the policy's field
        proved_within = None


def test_a_vm_without_a_young_proof_that_counts_is_told(policies):
    def proof(vm: str, kind: ProofKind, ago: timedelta) -> dict[ProofKind, VmProof]:
        at = NOW - ago
        return {kind: VmProof(vm_key=vm, vm_name=vm, point="p", taken_at=at, at=at, run="r", kind=kind)}

    proofs = {
        "key-web01": proof("web01", ProofKind.BOOT, DAY),
        "key-web02": proof("web02", ProofKind.BOOT, 8 * DAY),
        "key-web03": proof("web03", ProofKind.MALWARE, DAY),
    }
    points = [each for vm in ("web01", "web02", "web03") for each in nights(vm, 3)]

    report = level_report(past(*points, proofs=proofs), policies, days=7)

    assert rows(report, "levels")[0]["proofs"] == "bad: 2 VMs not proved in time"


def test_a_window_names_each_vm_that_it_has_left_without_a_point_first(policies):
    opening = Opening(opens_at=NOW - 14 * HOUR, closes_at=NOW - 6 * HOUR)
    points = [
        *nights("web01", 5),
        *nights("web02", 5, but=(0,)),
        *nights("web03", 5, but=(0,)),
        point("web03", 10 * HOUR, good=False),
        *nights("other", 5, policy="relaxed"),
        point("gone", 60 * DAY),
    ]

    found = rows(window_report(past(*points), policies["nightly"], opening), "vms")

    assert [(row["vm"], row["result"]) for row in found] == [
        ("web02", "bad: no point"),
        ("web03", "bad: its point is damaged or suspect, or failed a check"),
        ("web01", "good: done"),
    ]
    assert found[-1]["bytes_stored"] == 40


def test_an_audit_tells_locks_and_points_that_somebody_has_hidden():
    first, second = point("web01", 2 * DAY), point("web01", DAY)
    hidden, free = point("web02", DAY), point("web03", DAY)
    locks = {
        first.ref: Lock(until=NOW - HOUR),
        second.ref: Lock(until=NOW + 30 * DAY),
        hidden.ref: Lock(until=NOW + 30 * DAY, trouble="deleted"),
    }
    report = audit_report(past(first, second, hidden, free, locked_for=31 * DAY, locks=locks, damaged=("x/1: torn",)))

    states = {row["vm"]: (row["immutable"], row["locked_points"]) for row in rows(report, "vms")}
    assert states == {
        "web01": ("good: the newest point is locked", 1),
        "web02": ("good: the newest point is locked", 1),
        "web03": ("bad: the newest point is not locked", 0),
    }
    assert [(row["point"], row["trouble"]) for row in rows(report, "trouble")] == [
        (hidden.ref, "bad: somebody has deleted its manifest: run 'vmkeep repo lock --restore'"),
        ("x/1", "bad: cannot be read: torn"),
    ]


def test_an_audit_calls_no_point_immutable_that_nobody_asked_to_lock_or_that_the_store_cannot_lock():
    for fields, state in (({}, "open"), ({"locked_for": 31 * DAY}, "bad: the store keeps no locks")):
        (row,) = rows(audit_report(past(point("web01", DAY), **fields)), "vms")
        assert str(row["immutable"]).startswith(state)
        assert row["newest_locked_until"] is None


def test_cost_is_by_the_owner_of_the_vms_policy_and_adds_up(policies):
    points = [
        *nights("web01", 2),
        *nights("web02", 1, bytes_stored=500),
        *nights("lab01", 1, policy="relaxed"),
        *nights("old01", 1, policy=""),
    ]

    report = cost_report(past(*points), policies)

    owners = rows(report, "owners")
    assert [(row["owner"], row["vms"], row["stored"]) for row in owners] == [
        ("shop", 2, 580), ("lab", 1, 40), ("nobody", 1, 40),
    ]  # fmt: skip
    assert sum(row["share"] for row in owners) == pytest.approx(1)
    assert sum(row["stored"] for row in rows(report, "vms")) == 660


class Page(HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.words.append(data)


ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "small", "div", "table", "caption",
    "thead", "tbody", "tr", "th", "td", "ul", "li",
}  # fmt: skip


def made_of(name: str) -> Report:
    table = Table(
        id="vms",
        title=name,
        columns=(("VM", Kind.TEXT), ("State", Kind.STATE), ("Bytes", Kind.BYTES), ("At", Kind.TIME)),
        rows=((name, f"bad: {name}", -5, NOW), (None, None, None, None)),
    )
    return Report(title=name, at=NOW, facts=((name, name),), notes=(name,), tables=(table,))


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_no_name_adds_a_tag_or_an_attribute_to_the_page_or_a_line_or_a_formula_to_the_sheet(name):
    report = made_of(name)

    page = Page(html_page(report, UTC))
    assert page.tags <= ALLOWED
    assert page.attributes <= {"lang", "charset", "name", "content", "scope", "class"}
    sheet = csv_sheet(report.tables[0])
    lines = list(csv.reader(io.StringIO(sheet, newline="")))
    assert [len(line) for line in lines] == [4, 4, 4]
    assert not lines[1][0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert lines[1][2:] == ["-5", "2026-11-27T12:00:00Z"], "a number stays a number"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("\u200b=1+1", "' =1+1"),
        ("\u00a0=1+1", "' =1+1"),
        ("+1", "'+1"),
        ("  @SUM(A1)", "'  @SUM(A1)"),
        ("\t=1", "' =1"),
        ("web-01", "web-01"),
        ("a\r\n=1", "a  =1"),
    ],
)
def test_a_spreadsheet_runs_no_name_as_a_formula(name, cell):
    assert next(csv.reader(io.StringIO(csv_sheet(made_of(name).tables[0]).split("\r\n", 1)[1])))[0] == cell


def test_a_page_loads_nothing_and_shows_markup_and_turned_writing_as_they_are():
    text = html_page(made_of('<script src="http://x"></script>\u202e{{ 7*7 }}'), UTC)
    page = Page(text)

    assert "script" not in page.tags
    assert "://" not in text.replace("http://x", "")
    assert "url(" not in text
    assert '<script src="http://x"></script>�{{ 7*7 }}' in page.words
