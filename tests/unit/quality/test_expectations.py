"""Each expectation finds the one thing that breaks it, and nothing where all is as it should be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from tests.quality_world import (
    ALONG,
    BROKEN,
    DAY,
    HOUR,
    NIGHTLY,
    NIGHTS,
    NOW,
    answers,
    check_over,
    disk,
    nights,
    point,
    standing,
)
from vmkeep.catalog import QualityCheck, SampledDisk, SampledPoint, open_catalog
from vmkeep.catalog.schema import DiskRow, PointRow
from vmkeep.model.disk import SkipReason
from vmkeep.model.point import BackupKind, BackupMode
from vmkeep.quality import SUITE

AT = int(NOW.timestamp())


@pytest.fixture
def catalog():
    with open_catalog("sqlite://") as opened:
        yield opened


def broken(catalog, points=(), standings=(), samples=(), disks=()) -> dict[str, list[str]]:
    """Return the VMs that break an expectation, by its id."""
    with check_over(catalog, points, standings) as check:
        check.lay(list(samples))
        check.lay(list(disks))
        return {name: [row["vm"] for row in rows] for name, rows in answers(catalog, check).items()}


def test_nothing_is_found_where_every_vm_is_as_it_should_be(catalog):
    assert broken(catalog, nights("web01"), [standing("web01")]) == {}


def test_points_that_break_an_expectation_are_found_by_it_and_by_no_other(catalog):
    points = [*nights("web01"), *(each for group in BROKEN.values() for each in group)]

    found = broken(catalog, points)

    expected: dict[str, set[str]] = {}
    for expectation, group in BROKEN.items():
        for name in (expectation, *ALONG.get(expectation, ())):
            expected.setdefault(name, set()).add(group[0].vm.name)
    assert {name: set(vms) for name, vms in found.items()} == expected


VMS = {
    "a VM whose newest good point is too old": ({"newest": AT - 37 * HOUR}, {"rpo"}),
    "a VM without a good point": ({"newest": None, "ref": None}, {"rpo"}),
    "a VM that never got a point": ({"newest": None, "ref": None, "proved": None}, {"rpo", "proof-age"}),
    "a VM that cannot be backed up, and has no point": (
        {"newest": None, "ref": None, "proved": None, "obstacle": "a template"}, set()
    ),
    "a VM that no policy takes": ({"policy": ""}, {"unprotected"}),
    "a VM that no policy takes because it cannot be backed up": ({"policy": "", "obstacle": "a template"}, set()),
    "a VM that no policy takes and no vCenter told of": ({"policy": "", "asked": False}, set()),
    "a VM that was never proved": ({"proved": None}, {"proof-age"}),
    "a VM whose proof is too old": ({"proved": AT - 31 * DAY}, {"proof-age"}),
    "a VM whose policy demands nothing": ({"policy": "relaxed", "newest": None, "proved": None}, set()),
    "a VM with an old snapshot": ({"snapshot": AT - 4 * DAY, "snapshot_name": "before the upgrade"}, {"snapshot-age"}),
    "a VM with a young snapshot": ({"snapshot": AT - 2 * DAY, "snapshot_name": "before the upgrade"}, set()),
    "a VM with an old snapshot and no policy": (
        {"policy": "", "obstacle": "managed by another program", "snapshot": AT - 4 * DAY}, {"snapshot-age"}
    ),
}  # fmt: skip


def test_vms_are_judged_by_the_demands_of_their_policy(catalog):
    standings = [standing(name, **fields) for name, (fields, _) in VMS.items()]

    found = broken(catalog, standings=[standing("web01"), *standings])

    assert {name: {one for one, vms in found.items() if name in vms} for name in VMS} == {
        name: expected for name, (_, expected) in VMS.items()
    }
    assert not any("web01" in vms for vms in found.values())


def test_a_skipped_disk_is_found_only_where_the_policy_forbids_it_and_nobody_asked_for_it(catalog):
    asked_for = nights("asked", skipped=(disk(2001, skip=SkipReason.EXCLUDED, left_out="scsi0:1"),))
    allowed = nights("allowed", skipped=(disk(2001, skip=SkipReason.INDEPENDENT),), policy="relaxed")

    assert broken(catalog, [*asked_for, *allowed]) == {}


def test_no_change_id_is_expected_of_a_vm_that_was_read_while_it_was_off_or_of_an_imported_image(catalog):
    off = nights("off", change_id=None, mode_used=BackupMode.ASIS)
    image = nights("image", change_id=None)
    image[0] = replace(image[0], vm=replace(image[0].vm, moref=None))

    assert broken(catalog, [*off, *image]) == {}


def test_a_vm_is_compared_with_its_past_only_once_it_has_one(catalog):
    young = [point("young", 0, bytes_read=40 << 30), *(point("young", night) for night in range(1, 8))]

    assert broken(catalog, young) == {}


def test_a_full_among_the_earlier_points_hides_no_jump_and_is_none(catalog):
    full = {"kind": BackupKind.FULL, "bytes_read": 100 << 30, "bytes_stored": 60 << 30, "seconds": 3000.0}
    history = [point("web01", night, **(full if night == 5 else {})) for night in range(NIGHTS)]
    jump = [point("web02", night, **(full if night == 5 else {})) for night in range(1, NIGHTS)]
    newest = point("web02", 0, bytes_read=40 << 30, bytes_stored=12 << 30, seconds=600.0)

    assert broken(catalog, [*history, newest, *jump]) == {"change-rate": ["web02"]}


def test_a_full_is_compared_with_fulls_only(catalog):
    full = {"kind": BackupKind.FULL, "bytes_read": 100 << 30, "bytes_stored": 30 << 30, "seconds": 6000.0}

    assert broken(catalog, [point("web01", 0, **full), *nights("web01")[1:]]) == {}


def test_a_vm_that_usually_changes_and_suddenly_does_not_is_found(catalog):
    assert broken(catalog, nights("silent", bytes_read=0, bytes_stored=0)) == {}
    points = [
        point("busy", night, bytes_read=5 << 30, bytes_stored=1 << 30, seconds=300.0) for night in range(1, NIGHTS)
    ]

    assert broken(catalog, [point("busy", 0, bytes_read=1 << 20, bytes_stored=1 << 19), *points])["change-rate"] == [
        "busy"
    ]


def test_a_point_that_is_marked_bad_or_comes_from_the_future_is_no_measure(catalog):
    points = nights("web01", bytes_read=40 << 30, bytes_stored=39 << 30)
    ahead = replace(point("web02", 0, bytes_read=40 << 30, bytes_stored=39 << 30), taken_at=NOW + timedelta(days=2))
    for each in (*points, ahead, *nights("web02")[1:]):
        catalog.record("repository", each)

    with catalog.open_check("repository", NOW) as check:
        assert check.lay_points([points[0].ref]) == 2
        assert answers(catalog, check) == {}
        assert {ref for _, _, _, ref, _ in check.newest()} == {points[1].ref, point("web02", 1).ref}


def history(vm: str, *, night: dict, newest: dict) -> list:
    """Return the points of a VM, all earlier ones alike."""
    return [point(vm, 0, **newest), *(point(vm, each, **night) for each in range(1, NIGHTS))]


USUAL = {
    "a jump of less than a GiB": (
        {"bytes_read": 20 << 20, "bytes_stored": 6 << 20}, {"bytes_read": 900 << 20, "bytes_stored": 890 << 20}
    ),
    "a jump of data that compress": ({}, {"bytes_read": 40 << 30, "bytes_stored": 24 << 30}),
    "a jump of data that never compress": (
        {"bytes_read": 10 << 27, "bytes_stored": 9 << 27}, {"bytes_read": 40 << 30, "bytes_stored": 38 << 30}
    ),
}  # fmt: skip


def test_only_many_new_data_that_cannot_be_compressed_look_like_an_attack(catalog):
    points = [each for name, (night, newest) in USUAL.items() for each in history(name, night=night, newest=newest)]

    assert "sudden-change" not in broken(catalog, points)


def test_a_restless_vm_is_not_odd_where_a_steady_one_would_be(catalog):
    restless = [
        point("web01", night, bytes_read=(1 if night % 2 else 10) << 30, seconds=None) for night in range(1, 31)
    ]

    assert broken(catalog, [point("web01", 0, bytes_read=20 << 30, seconds=None), *restless]) == {}


def test_a_steady_vm_that_is_a_little_slower_is_not_odd(catalog):
    assert broken(catalog, nights("web01", bytes_read=1 << 30, seconds=100.0)) == {}


def test_a_point_that_was_made_by_hand_needs_no_change_id(catalog):
    assert broken(catalog, [replace(each, policy="") for each in nights("web01", change_id=None)]) == {}


def test_a_policy_says_how_old_a_snapshot_may_be(catalog):
    snapshot = {"snapshot": AT - 5 * DAY, "snapshot_name": "before the upgrade"}
    standings = [standing("web01", policy="patient", **snapshot), standing("web02", **snapshot)]

    with check_over(catalog, (), standings) as check:
        check.lay([replace(NIGHTLY, name="patient", snapshots_within=7 * DAY)])
        rows = answers(catalog, check)["snapshot-age"]

    assert [row["vm"] for row in rows] == ["web02"]


def sampled(each, **fields) -> SampledPoint:
    (image,) = each.images
    usual = SampledPoint(
        ref=each.ref, name=each.vm.name, policy=each.policy, at=int(each.taken_at.timestamp()), kind=each.kind.value,
        capacity=image.disk.capacity, bytes_read=image.bytes_read, bytes_stored=image.bytes_stored, disks=1,
    )  # fmt: skip
    return replace(usual, **fields)


def sampled_disk(each, **fields) -> SampledDisk:
    (image,) = each.images
    block = 1 << 18
    usual = SampledDisk(
        ref=each.ref, key=image.disk.key, name=each.vm.name, policy=each.policy, label=image.disk.label,
        root=image.root, block_size=block, map_capacity=image.disk.capacity,
        map_blocks=-(-image.disk.capacity // block),
    )  # fmt: skip
    return replace(usual, **fields)


ODD_SIZES = {
    "empty": {"capacity": 0},
    "half a sector": {"capacity": (100 << 30) + 256},
    "without a map": {"root": None},
    "less than nothing read": {"bytes_read": -1},
    "far more read than there is": {"bytes_read": (100 << 30) + (5 << 20)},
}


def test_each_size_that_makes_no_sense_is_found(catalog):
    usual = nights("whole blocks", bytes_read=(100 << 30) + (4 << 20))
    points = [each for name in ODD_SIZES for each in nights(name, bytes_read=0)]

    with check_over(catalog, [*points, *usual]) as check:
        with catalog._engine.begin() as connection:  # no point can be made with such sizes
            for name, fields in ODD_SIZES.items():
                number = select(PointRow.number).where(PointRow.ref == point(name, 0).ref).scalar_subquery()
                connection.execute(update(DiskRow).where(DiskRow.point == number).values(fields))
        rows = answers(catalog, check)["disk-size"]

    assert {row["vm"] for row in rows} == {*ODD_SIZES}


WRONG_ROWS = [
    *({name: 7} for name in ("at", "capacity", "bytes_read", "bytes_stored", "disks")),
    *({"policy": "other"}, {"kind": "full"}, {"ref": "key-web01/gone"}),
    {"problem": "manifest does not match its digest"},
]
WRONG_MAPS = [
    {"root": "cd" * 32}, {"map_capacity": 512}, {"map_blocks": 1}, {"map_blocks": 1 << 40}, {"key": 2001},
    {"problem": "map root: not in the repository"},
]  # fmt: skip


def test_a_catalog_that_tells_something_else_than_a_manifest_is_found(catalog):
    right, *points = nights("web01")
    samples = [sampled(each, **fields) for each, fields in zip(points, WRONG_ROWS, strict=False)]

    with check_over(catalog, [right, *points]) as check:
        check.lay([sampled(right), *samples])
        rows = answers(catalog, check)["catalog-row"]

    assert {row["ref"] for row in rows} == {sample.ref for sample in samples}
    assert len(samples) == len(WRONG_ROWS)


def test_a_map_that_does_not_fit_its_disk_is_found(catalog):
    right, *points = nights("web01")
    disks = [sampled_disk(each, **fields) for each, fields in zip(points, WRONG_MAPS, strict=False)]

    with check_over(catalog, [right, *points]) as check:
        check.lay([sampled_disk(right), *disks])
        rows = answers(catalog, check)["map-root"]

    assert {row["ref"] for row in rows} == {disk.ref for disk in disks}
    assert len(disks) == len(WRONG_MAPS)


def test_a_policy_raises_the_severity_of_its_vms_and_failures_come_first(catalog):
    points = BROKEN["change-rate"]
    strict = [replace(each, policy="relaxed", vm=replace(each.vm, name="zz", key="zz")) for each in points]

    with check_over(catalog, [*points, *strict]) as check:
        rows = answers(catalog, check)["change-rate"]

    assert [(row["severity"], row["vm"]) for row in rows] == [("failure", "zz"), ("warning", "rewritten")]


def test_every_finding_is_told_in_words(catalog):
    standings = [
        standing("late", newest=AT - 3 * DAY), standing("none", newest=None, ref=None), standing("free", policy=""),
        standing("free2", policy="", newest=None), standing("old", proved=AT - 40 * DAY),
        standing("never", proved=None),
        standing("snap", snapshot=AT - 5 * DAY, snapshot_name="100% {x} :y"),
    ]  # fmt: skip
    points = [each for group in BROKEN.values() for each in group]
    samples = [sampled(points[0], at=7), sampled(points[1], problem="damaged: {x} 100%")]
    disks = [sampled_disk(points[0], map_capacity=7), sampled_disk(points[1], problem="no root"),
             sampled_disk(points[2], key=2007)]  # fmt: skip
    with check_over(catalog, points, standings) as check:
        check.lay(samples)
        check.lay(disks)
        found = answers(catalog, check)

    told = [one.words(row) for one in SUITE for row in found[one.id]]

    assert set(found) == {one.id for one in SUITE}
    assert all(told)
    assert "newest good restore point is 3 d old; its policy allows 36 h" in told
    assert "snapshot '100% {x} :y' is 5 d old; 3 d are allowed" in told
    assert (
        "40.0% of its disks changed, usually 1.0%, and 98% of what was read could neither be compressed nor was known"
        in told
    )


def test_a_check_leaves_no_evidence_and_the_evidence_of_a_dead_one_goes(catalog):
    with pytest.raises(ZeroDivisionError), check_over(catalog, nights("web01"), [standing("web01")]) as check:
        raise ZeroDivisionError
    dead = QualityCheck(catalog._engine, "repository", NOW - timedelta(days=2))
    dead.begin()
    dead.lay([standing("left")])

    with check_over(catalog, ()) as check, catalog._engine.connect() as connection:
        for table in ("vm", "point", "policy", "severity", "bound"):
            ids = connection.exec_driver_sql(f"SELECT DISTINCT check_id FROM vmkeep_check_{table}").scalars().all()
            assert set(ids) <= {check.id}


def test_the_newest_reports_stay_and_a_rebuild_keeps_them(catalog, monkeypatch):
    monkeypatch.setattr("vmkeep.catalog.checking.KEPT", 3)
    for day in range(5):
        with catalog.open_check("repository", NOW + timedelta(days=day)) as check:
            check.keep(f'{{"day": {day}}}')

    assert catalog.kept_reports("repository", most=9) == [f'{{"day": {day}}}' for day in (4, 3, 2)]
    assert catalog.kept_reports("other", most=9) == []
