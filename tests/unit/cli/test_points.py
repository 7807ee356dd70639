"""``vmkeep point``: pins, known damage and retention rules, as people and scripts see them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.cli.retention_options import parse_end, parse_time
from vmkeep.errors import CorruptError, NotFoundError, UsageError
from vmkeep.model.disk import ControllerKind, Disk, SkipReason
from vmkeep.model.extents import Extent
from vmkeep.model.guest import CommandsRun
from vmkeep.model.point import BackupMode, Consistency, Quiesce, RestorePoint, VmIdentity
from vmkeep.repository import Lost, create_repository, open_repository
from vmkeep.retention import parse_zone

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAILY = RestorePoint(
    id="00", vm=VmIdentity(name="web", key="key-web"), taken_at=NOW, run="r",
    mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE, consistency=Consistency.CRASH,
    images=(),
)  # fmt: skip


@pytest.fixture(autouse=True)
def refs(monkeypatch, tmp_path):
    """A repository with ten daily points of one VM and one of another; their refs, oldest first."""
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    create_repository(str(tmp_path / "repo"))
    with open_repository(str(tmp_path / "repo")) as repository:
        repository.seal(replace(DAILY, id="other", run="other", vm=VmIdentity(name="db", key="key-db")))
        return [
            repository.seal(replace(DAILY, id=f"{day:02}", run=f"run/{day}", taken_at=NOW - timedelta(days=10 - day)))
            for day in range(1, 11)
        ]


def run(*arguments):
    done = CliRunner().invoke(cli, [*arguments], catch_exceptions=False, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def run_json(*arguments):
    return json.loads(run(*arguments, "--json"))


def test_a_pin_is_set_shown_and_taken_off(refs):
    pinned = run_json("point", "pin", refs[0], "--reason", "court order 7", "--until", "2999-01-31")
    assert (pinned["ref"], pinned["reason"], pinned["until"]) == (refs[0], "court order 7", "2999-02-01T00:00:00Z")
    assert "@" in pinned["by"]

    listed = {entry["ref"]: entry for entry in run_json("point", "list")}
    assert listed[refs[0]]["pin"]["reason"] == "court order 7"
    assert listed[refs[1]]["pin"] is None
    assert "pinned until 2999-02-01 00:00 UTC" in run("point", "list")
    assert "court order 7" in run("point", "show", refs[0])

    assert run_json("point", "unpin", refs[0])["was_pinned"] is True
    assert run_json("point", "unpin", refs[0])["was_pinned"] is False
    assert run_json("point", "show", refs[0])["pin"] is None


def test_an_encrypted_disk_is_shown_with_its_key(tmp_path):
    disk = Disk(
        key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController",
        bus=0, unit=0, capacity=0, backing="FlatVer2", file_name="[ds] a/a.vmdk", skip=SkipReason.EXCLUDED,
        key_id="key-1", key_provider="kms",
    )  # fmt: skip
    with open_repository(str(tmp_path / "repo")) as repository:
        ref = repository.seal(
            replace(DAILY, id="enc", run="enc", vm=VmIdentity(name="e", key="key-e"), skipped=(disk,))
        )

    assert "encrypted     scsi0:0 by vSphere, with key key-1 of key provider kms" in run("point", "show", ref)
    assert run_json("point", "show", ref)["skipped"][0]["key_id"] == "key-1"


def test_a_suspect_point_is_told_with_its_disks_and_reason(refs, tmp_path):
    with open_repository(str(tmp_path / "repo")) as repository:
        repository.marks.suspect(refs[2], "Hard disk 1", reason="change tracking left out a change")

    listed = {entry["ref"]: entry for entry in run_json("point", "list")}
    assert listed[refs[2]]["suspicion"]["disks"] == ["Hard disk 1"]
    assert listed[refs[1]]["suspicion"] is None
    assert "SUSPECT" in run("point", "list")
    assert "Hard disk 1 since" in (shown := run("point", "show", refs[2]))
    assert "change tracking left out a change" in shown
    assert run_json("point", "show", refs[2])["suspicion"]["reason"] == "change tracking left out a change"


def test_a_suspect_point_is_trusted_again_for_a_reason_that_is_shown(refs, tmp_path):
    with open_repository(str(tmp_path / "repo")) as repository:
        repository.marks.suspect(refs[2], "Hard disk 1", reason="change tracking left out a change")

    with pytest.raises(UsageError, match="give the reason"):
        run("point", "trust", refs[2], "--reason", " ")
    assert (
        run("point", "trust", refs[2], "--reason", "compared with the guest") == f"{refs[2]} is not suspect any more\n"
    )

    assert "SUSPECT" not in run("point", "list")
    shown = run("point", "show", refs[2])
    assert "SUSPECT" not in shown
    assert "after it was suspect: compared with the guest" in shown
    assert run_json("point", "show", refs[2])["trust"]["reason"] == "compared with the guest"
    assert run_json("point", "trust", refs[2], "--reason", "x")["was_suspect"] is False


def test_a_point_tells_whether_commands_ran_in_the_guest(refs, tmp_path):
    with open_repository(str(tmp_path / "repo")) as repository:
        ran = CommandsRun(freeze="failed", thaw="succeeded")
        ref = repository.seal(replace(DAILY, id="guest", run="guest", guest_commands=ran))

    assert "in the guest  pre-freeze failed, post-thaw succeeded" in run("point", "show", ref)
    assert run_json("point", "show", ref)["guest_commands"] == {"freeze": "failed", "thaw": "succeeded"}
    assert "in the guest" not in run("point", "show", refs[0])
    assert run_json("point", "show", refs[0])["guest_commands"] is None


def test_a_pin_without_an_end_says_so(refs):
    assert run("point", "pin", refs[3]).strip() == f"{refs[3]} is pinned"


def test_a_point_whose_manifest_is_damaged_can_be_held_all_the_same(refs, tmp_path):
    manifest = tmp_path / "repo" / "points" / refs[4]
    manifest.write_bytes(manifest.read_bytes()[:-1])

    run("point", "pin", refs[4], "--reason", "evidence")

    shown = run_json("point", "retention", "--keep-last", "1", "--at", "2027-01-01")
    assert "pinned" in [
        reason["text"] for entry in shown["points"] if entry["ref"] == refs[4] for reason in entry["reasons"]
    ]
    assert run_json("point", "unpin", refs[4])["was_pinned"] is True


@pytest.mark.parametrize("beginning", ["05", "key-web/20261115", "key-db"])
@pytest.mark.parametrize("command", ["pin", "unpin", "delete"])
def test_a_damaged_point_is_found_by_the_beginning_of_its_name(tmp_path, command, beginning):
    (manifest,) = (tmp_path / "repo" / "points").glob("key-db/*" if beginning == "key-db" else "key-web/*-05")
    manifest.write_bytes(manifest.read_bytes()[:-1])

    done = run_json("point", command, beginning, *(["--dry-run"] if command == "delete" else []))

    ref = f"{manifest.parent.name}/{manifest.name}"
    assert ref in ([done["ref"]] if "ref" in done else done["plan"]["going"])


def test_the_newest_point_is_not_chosen_if_it_is_damaged(refs, tmp_path):
    manifest = tmp_path / "repo" / "points" / refs[-1]
    manifest.write_bytes(manifest.read_bytes()[:-1])

    with pytest.raises(CorruptError, match="newest restore point of key-web: name another one"):
        run("point", "pin", "latest:web")


def test_known_damage_is_shown_with_what_is_lost(refs, tmp_path):
    with open_repository(str(tmp_path / "repo")) as repository:
        repository.marks.mark_damaged(refs[2], [Lost(name="Hard disk 1", extents=(Extent(0, 4096),))])
        repository.marks.mark_damaged(refs[3], ())

    assert "DAMAGED" in run("point", "list")
    assert "Hard disk 1: bytes 0–4095" in run("point", "show", refs[2])
    assert "not known" in run("point", "show", refs[3])
    assert run_json("point", "show", refs[2])["damage"]["lost"] == [
        {"name": "Hard disk 1", "extents": [{"start": 0, "stop": 4096}]}
    ]


def test_a_rule_is_tried_without_removing_anything(refs):
    run("point", "pin", refs[0])

    shown = run_json("point", "retention", "--keep-daily", "3", "--at", "2026-11-20", "--vm", "web")

    stays = {
        entry["ref"]: [reason["text"] for reason in entry["reasons"]] for entry in shown["points"] if entry["keep"]
    }
    assert stays == {
        refs[0]: ["pinned"],
        refs[6]: ["daily 2026-11-17"],
        refs[7]: ["daily 2026-11-18"],
        refs[8]: ["daily 2026-11-19"],
        refs[9]: ["taken in the future: a clock was wrong"],
    }
    assert (shown["kept"], shown["dropped"]) == (5, 5)
    assert len(run_json("point", "list", "--vm", "web")) == 10


def test_a_rule_reads_well_for_a_person(refs):
    shown = run("point", "retention", "--keep-last", "1", "--at", "2026-11-21")

    assert "last 1; at 2026-11-21 00:00 UTC: 2 of 11 points stay, 9 go" in shown
    assert shown.count("GOES") == 9
    assert "taken at (UTC)" in shown


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("command", ["point retention", "repo prune --dry-run"])
def test_a_column_of_times_names_its_zone(refs, command, zone):
    shown = run(*command.split(), "--keep-last", "1", "--time-zone", zone)

    assert f"taken at ({zone})" in shown


def test_times_are_shown_in_the_time_zone_that_is_set_and_told_to_scripts_in_utc(refs, monkeypatch):
    monkeypatch.setenv("VMKEEP_TIME_ZONE", "Asia/Kolkata")
    run("point", "pin", refs[0], "--until", "2999-01-31")

    for command in ("point list", f"point delete --dry-run {refs[0]} {refs[1]}"):
        shown = run(*command.split())
        assert "taken at (Asia/Kolkata)" in shown
        assert "2026-11-11 17:30:00" in shown
    assert "pinned until 2999-02-01 05:30 Asia/Kolkata" in run("point", "list")
    assert "taken at      2026-11-11 17:30:00 Asia/Kolkata" in run("point", "show", refs[0])
    assert run_json("point", "show", refs[0])["taken_at"].startswith("2026-11-11T12:00:00")


def test_one_point_stays_and_one_goes(refs):
    shown = run("point", "retention", "--keep-last", "1", "--at", "2026-11-21", "--vm", "key-db")

    assert "1 of 1 point stays, 0 go" in shown


def test_a_damaged_manifest_is_no_good_point_and_stops_no_rule(refs, tmp_path):
    manifest = tmp_path / "repo" / "points" / refs[9]
    manifest.write_bytes(manifest.read_bytes()[:-1])

    shown = run_json("point", "retention", "--keep-last", "1", "--at", "2026-11-21", "--vm", "key-web")

    assert [entry["ref"] for entry in shown["points"] if entry["keep"]] == refs[8:]
    assert [entry["good"] for entry in shown["points"]] == [True] * 9 + [False]


def test_a_forecast_goes_on_with_the_rhythm_that_a_vm_has(refs):
    shown = run_json(
        "point", "retention", "--keep-daily", "5", "--vm", "web", "--at", "2026-11-20T12:00", "--forecast", "3"
    )

    assert [entry["ref"] for entry in shown["points"] if entry["keep"]] == refs[8:]
    assert [entry["taken_at"][:10] for entry in shown["expected"]] == ["2026-11-21", "2026-11-22", "2026-11-23"]
    assert "backups would make 3 points until then, and 3 of these would stay: 5 points in all" in run(
        "point", "retention", "--keep-daily", "5", "--vm", "web", "--at", "2026-11-20T12:00", "--forecast", "3"
    )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((), "no rule is given"),
        (("--keep-last", "0"), "at least 1"),
        (("--keep-within", "14"), "14d"),
        (("--keep-last", "1", "--time-zone", "Mars/Olympus"), "no time zone"),
        (("--keep-last", "1", "--time-zone", "Europe"), "no time zone"),
        (("--keep-last", "1", "--at", "tomorrow"), "is not a time"),
    ],
)
def test_a_rule_that_is_none_is_refused(arguments, match):
    with pytest.raises(UsageError, match=match):
        run("point", "retention", *arguments)


def test_a_vm_without_points_is_told(refs):
    with pytest.raises(NotFoundError, match="nobody"):
        run("point", "retention", "--keep-last", "1", "--vm", "nobody")


def test_times_are_read_in_the_zone_that_is_given():
    berlin = parse_zone("Europe/Berlin")

    assert parse_time("2026-11-20", berlin).astimezone(UTC) == datetime(2026, 11, 19, 23, tzinfo=UTC)
    assert parse_time("2026-11-20T12:00+00:00", berlin) == NOW
    assert parse_end("14d", now=NOW) == NOW + timedelta(days=14)
    assert parse_end("2026-12-31", now=NOW) == datetime(2027, 1, 1, tzinfo=UTC)
    assert parse_end("2026-12-31T08:00", now=NOW) == datetime(2026, 12, 31, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "friday", "31.12.2027", "", "d", "soon"])
def test_an_end_that_is_none_is_told_every_form_that_is_one(text):
    with pytest.raises(UsageError, match=r"'.*' is not an end: write 90d, .* a date \(2026-11-19\), or a time"):
        parse_end(text, now=NOW)


def test_two_vms_in_one_history_are_told_apart_in_lists_and_pages(tmp_path):
    with open_repository(str(tmp_path / "repo")) as repository:
        made = [
            repository.seal(replace(DAILY, id=vcenter, run=vcenter, vm=replace(
                DAILY.vm, key="k", moref="vm-1", vcenter=vcenter, server=f"{vcenter}.example"
            )))
            for vcenter in ("vc1", "vc2")
        ]  # fmt: skip

    output = run("point", "list", "--vm", "k")
    assert "(vm-1 at vc1.example vc1)" in " ".join(output.split())
    assert "(vm-1 at vc2.example vc2)" in " ".join(output.split())
    assert {entry["ref"]: entry["vcenter"] for entry in run_json("point", "list", "--vm", "k")} == {
        made[0]: "vc1", made[1]: "vc2",
    }  # fmt: skip
    assert "vCenter vc2.example (vc2)" in run("point", "show", made[1])
    assert " at " not in run("point", "list", "--vm", "key-web").replace("taken at (UTC)", "")


def test_no_name_forges_a_line_of_a_points_page_or_turns_its_letters_round(tmp_path):
    evil = "x\n  marks         none\r\x1b[31m\u202e\x85"
    with open_repository(str(tmp_path / "repo")) as repository:
        vm = VmIdentity(name=evil, key="key-evil", inventory_path=f"/DC/vm/{evil}")
        ref = repository.seal(replace(DAILY, id="evil", run=evil, vm=vm, warnings=(f"{evil} is odd",)))

    shown = run("point", "show", ref)

    assert not [line for line in shown.split("\n") if line.startswith("  marks")]
    assert all(each.isprintable() for each in shown.replace("\n", ""))
