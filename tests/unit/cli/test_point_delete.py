"""``vmkeep point delete``: named points go as retention lets points go, and the last good one on purpose only."""

from __future__ import annotations

import json
import re
import socket

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import ConflictError, LockedError, NotFoundError, StaleError, UsageError
from vmkeep.flows import points
from vmkeep.maintenance import delete_points, plan_deletion
from vmkeep.repository import Repository, create_repository, open_repository
from vmkeep.repository.notes import Lost
from vmkeep.repository.points import blob_of_ref
from vmkeep.testing import FaultyStore


@pytest.fixture
def where(tmp_path, monkeypatch):
    """A repository with three points of web01 and one of db01, and a catalog of its own."""
    location = str(tmp_path / "repository")
    create_repository(location)
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    for number, name in enumerate(("web01", "web01", "web01", "db01")):
        (tmp_path / "disk.raw").write_bytes(bytes([number + 1]) * (1 << 16))
        run(location, "image", "import", str(tmp_path / "disk.raw"), "--name", name)
    return location


def run(location, *arguments):
    done = CliRunner().invoke(cli, [*arguments, "-r", location], catch_exceptions=False, standalone_mode=False)
    return done.stdout


def refs(location, vm=None):
    chosen = [] if vm is None else ["--vm", vm]
    return [point["ref"] for point in json.loads(run(location, "point", "list", "--json", *chosen))]


def test_named_points_go_with_their_notes_and_leave_catalog_and_repository_whole(where):
    first, second, third = refs(where, "web01")

    done = json.loads(run(where, "point", "delete", first, second, "--yes", "--json"))

    assert done["report"] == {"points_deleted": [first, second], "points_kept": {}}
    assert refs(where, "web01") == [third]
    with open_repository(where) as repository:
        assert repository.check() == []
        repository.sealed_notes.require_all()
        assert list(repository.blobs.list("forgettings/")) == []


def test_a_dry_run_shows_the_plan_and_deletes_nothing(where):
    before = refs(where)

    shown = run(where, "point", "delete", "latest:web01", "--dry-run")
    plan = json.loads(run(where, "point", "delete", "latest:web01", "--dry-run", "--json"))["plan"]

    assert "GOES" in shown
    assert plan == {"going": [refs(where, "web01")[-1]], "staying": {}, "last_good": []}
    assert refs(where) == before


def test_a_dry_run_that_leaves_no_good_point_of_a_vm_says_that_the_deed_needs_last(where):
    (only,) = refs(where, "db01")

    def told(*more):
        asked = ["point", "delete", only, "--dry-run", *more, "-r", where]
        return CliRunner().invoke(cli, asked, catch_exceptions=False)

    without, meant = told(), told("--last")
    assert "no good point of this VM is left then: needs --last" in without.stdout
    assert "the deletion is refused without --last: no good restore point would be left of db01" in without.stderr
    assert "--last" not in meant.stdout + meant.stderr
    assert json.loads(told("--json").stdout)["plan"] == {"going": [only], "staying": {}, "last_good": [only]}


def test_who_cannot_be_asked_sees_the_plan_and_then_how_to_say_yes_and_nothing_is_deleted(where):
    first, second, _ = refs(where, "web01")

    told = CliRunner().invoke(cli, ["point", "delete", first, second, "-r", where])
    as_json = CliRunner().invoke(cli, ["point", "delete", first, second, "-r", where, "--json"])

    assert told.stdout.count("GOES") == 2
    for refused in (told, as_json):
        assert isinstance(refused.exception, UsageError)
        assert 'nobody can be asked here "Delete 2 restore points for good?"' in str(refused.exception)
        assert "add --yes" in str(refused.exception)
    assert as_json.stdout == ""
    assert len(refs(where, "web01")) == 3


def test_a_name_that_fits_nothing_is_told_before_anybody_is_asked(where):
    with pytest.raises(NotFoundError, match="nonsense"):
        run(where, "point", "delete", "nonsense")


def test_a_point_in_use_stays_and_every_command_says_who_uses_it(where):
    first, second, _ = refs(where, "web01")
    with open_repository(where) as repository, points.use(repository, first, doing="serving"):
        (row,) = (line for line in run(where, "point", "list").splitlines() if first in line)
        assert row.rstrip().endswith(f" serving on {socket.gethostname()}")
        listed = {point["ref"]: point["uses"] for point in json.loads(run(where, "point", "list", "--json"))}
        assert [use["doing"] for use in listed[first]] == ["serving"]
        assert listed[second] == []
        assert re.search(
            r"in use +serving on \S+ \(process \d+\) since .*not deleted", run(where, "point", "show", first)
        )
        assert json.loads(run(where, "point", "show", first, "--json"))["uses"] == listed[first]
        with pytest.raises(ConflictError, match=f"1 point not deleted: {first}: in use: serving on "):
            run(where, "point", "delete", first, second, "--yes")

    assert first in refs(where)
    run(where, "point", "delete", first, "--yes")
    assert first not in refs(where)


def test_a_pinned_point_stays_and_the_others_go(where):
    first, second, _ = refs(where, "web01")
    run(where, "point", "pin", first, "--reason", "case 4711")

    (row,) = (line for line in run(where, "point", "delete", first, "--dry-run").splitlines() if first in line)
    assert re.fullmatch(rf"\s*{first}\s+web01\s+\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\s+stays\s+pinned\s*", row)
    with pytest.raises(ConflictError, match=f"1 point not deleted: {first}: pinned"):
        run(where, "point", "delete", first, second, "--yes")

    assert first in refs(where)
    assert second not in refs(where)


def test_the_last_good_point_of_a_vm_goes_only_on_purpose(where):
    (only,) = refs(where, "db01")

    with pytest.raises(ConflictError, match="no good restore point would be left of db01: add --last"):
        run(where, "point", "delete", only, "--yes")
    assert refs(where, "db01") == [only]

    run(where, "point", "delete", only, "--yes", "--last")
    assert only not in refs(where)


def test_damaged_and_suspect_points_do_not_count_as_what_is_left(where):
    first, second, third = refs(where, "web01")
    with open_repository(where) as repository:
        repository.marks.mark_damaged(first, [Lost(name="disk")])
        repository.marks.suspect(second, "Hard disk 1", reason="change tracking lied")

    with pytest.raises(ConflictError, match="--last"):
        run(where, "point", "delete", third, "--yes")
    run(where, "point", "delete", first, second, "--yes")

    assert refs(where, "web01") == [third]


def test_all_points_of_a_vm_named_at_once_are_its_last_ones_too(where):
    with pytest.raises(ConflictError, match="web01"):
        run(where, "point", "delete", *refs(where, "web01"), "--yes")
    assert len(refs(where, "web01")) == 3


def test_one_name_that_fits_nothing_keeps_all_the_others(where):
    before = refs(where)

    with pytest.raises(NotFoundError):
        run(where, "point", "delete", before[0], "nonsense", "--yes")

    assert refs(where) == before


def test_a_point_named_twice_is_deleted_once(where):
    first = refs(where, "web01")[0]

    done = json.loads(run(where, "point", "delete", first, first, "--yes", "--json"))

    assert done["report"]["points_deleted"] == [first]


def test_a_point_whose_manifest_is_damaged_can_be_deleted_by_its_ref(where, tmp_path):
    first = refs(where, "web01")[0]
    manifest = tmp_path / "repository" / blob_of_ref(first)
    manifest.chmod(0o600)
    manifest.write_bytes(b"rubbish")

    run(where, "point", "delete", first, "--yes")

    assert first not in refs(where)


def test_a_point_that_the_store_has_locked_stays_and_keeps_its_note(where):
    first = refs(where, "web01")[0]
    with open_repository(where) as opened:
        store = FaultyStore(opened.blobs)
        repository = Repository(store, opened.descriptor)
        plan = plan_deletion(repository, [first])
        store.fail("delete", prefix=blob_of_ref(first), with_=LockedError("locked until 2027"))
        report = delete_points(repository, plan)

    assert report.points_deleted == ()
    assert report.points_kept == {first: "locked until 2027"}
    with open_repository(where) as repository:
        assert len(repository.sealed_notes.noted()) == 4


def test_a_plan_that_time_has_made_the_last_points_is_not_carried_out(where):
    first, second, third = refs(where, "web01")
    with open_repository(where) as repository:
        plan = plan_deletion(repository, [third])
        assert plan.bare == ()
        run(where, "point", "delete", first, second, "--yes")

        with pytest.raises(StaleError, match=r"no good restore point would be left of web01: .*; try again"):
            delete_points(repository, plan)

    assert refs(where, "web01") == [third]


def test_a_point_that_somebody_else_has_deleted_meanwhile_is_no_error(where):
    first, second, _ = refs(where, "web01")
    with open_repository(where) as repository:
        plan = plan_deletion(repository, [first, second])
        run(where, "point", "delete", first, "--yes")

        assert set(delete_points(repository, plan).points_deleted) >= {second}

    assert refs(where, "web01")[0] not in (first, second)
