"""A check of data quality by the real Great Expectations, in SQLite and PostgreSQL, without other connections."""

from __future__ import annotations

import json
import socket
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from tests.command_line import run_here
from tests.quality_world import BROKEN, NIGHTS, NOW, answers, check_over, fresh_catalog, nights, point, standing
from vmkeep.catalog import open_catalog
from vmkeep.clock import now
from vmkeep.errors import CatalogError
from vmkeep.flows.capacity import RetentionTerms, load_capacity, note_check
from vmkeep.flows.fleet import load_fleet, load_vm
from vmkeep.flows.quality import check_quality, document_of, page, past_reports
from vmkeep.model.proofs import PICTURE, PointProof, ProofKind, ProofResult
from vmkeep.policy import read_file
from vmkeep.quality import SUITE, Severity, ask, judge
from vmkeep.repository import create_repository, open_repository
from vmkeep.repository.checks import parse_slice
from vmkeep.retention import NO_POLICIES, parse_rule
from vmkeep.testing.servers import postgres_server

SEVERITIES = {one.id: one.severity.value for one in SUITE}
POLICY = """\
name: nightly
selection: "any:"
window: {start: 22:00, end: 06:00, time_zone: UTC}
max_age: 36h
"""


@pytest.fixture(scope="module", autouse=True)
def great_expectations() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it and its libraries deprecate in themselves is no error of ours
        import great_expectations  # noqa: F401


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    return f"sqlite:///{tmp_path}/a $HOME 100%.db" if request.param == "sqlite" else request.getfixturevalue("postgres")


def test_great_expectations_finds_what_the_sql_finds_in_both_kinds_of_databases(url):
    points = [each for group in BROKEN.values() for each in group]
    usual = [*nights("web01"), point("web01", NIGHTS, seconds=0.0)]  # PostgreSQL divides by no zero
    late = standing("late", newest=int(NOW.timestamp()) - 7 * 86400)
    with (
        open_catalog(url) as catalog,
        check_over(catalog, [*usual, *points], [standing("web01"), late]) as check,
    ):
        found = {answer.expectation: list(answer.rows) for answer in ask(catalog.url, check.questions(SEVERITIES))}
        expected = answers(catalog, check)

    assert list(found) == [one.id for one in SUITE]
    assert {name: rows for name, rows in found.items() if rows} == expected
    assert set(expected) == {*BROKEN, "rpo", "throughput"}
    judgements = {one.id: one for one in judge(found_answers(found), skipped={}, gaps={}, namesakes=())}
    assert judgements["rpo"].findings[0].severity is Severity.FAILURE
    assert judgements["rpo"].findings[0].line == "late: newest good restore point is 7 d old; its policy allows 36 h"


def found_answers(found):
    from vmkeep.quality import Answer

    return [Answer(expectation=name, found=len(rows), rows=tuple(rows)) for name, rows in found.items()]


def test_a_question_that_the_database_refuses_is_an_error_and_no_success(tmp_path):
    with fresh_catalog(tmp_path) as catalog, check_over(catalog, ()) as check:
        (first, *_) = check.questions(SEVERITIES)
        broken = replace(first, query=first.query.replace("vmkeep_check_policy", "vmkeep_check_nothing"))
        with pytest.raises(CatalogError, match=r"expectation rpo cannot be looked at: .*vmkeep_check_nothing"):
            ask(catalog.url, [broken])


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A repository with an imported image, a policy, and a catalog."""
    monkeypatch.setenv("VMKEEP_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    monkeypatch.setenv("VMKEEP_REPOSITORY", str(tmp_path / "repository"))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "nightly.yaml").write_text(POLICY)
    monkeypatch.setenv("VMKEEP_POLICIES", str(tmp_path / "policies"))
    create_repository(str(tmp_path / "repository"))
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(range(256)) * 4096)
    assert run_here("image", "import", str(image), "--name", "box").returncode == 0
    return tmp_path


def test_a_check_makes_no_connection_and_its_page_loads_nothing(site, monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"a connection to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    policy = read_file(site / "policies" / "nightly.yaml").policy
    with open_repository(str(site / "repository")) as repository:
        (ref,) = repository.point_refs()
        point = repository.load_point(ref)
        host = replace(point, id="1" * 16, vm=replace(point.vm, key="host-1"), images=())
        repository.seal(host)
        report = check_quality(repository, [policy], [], catalog=f"sqlite:///{site}/catalog.db")

    assert (report.result, report.points, report.vms, report.sampled) == ("met", 1, 1, 1), "a host is no VM"
    assert {one.id for one in report.judgements if one.skipped} >= {"unprotected", "snapshot-age", "change-rate"}

    class Loads(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "link", "img", "iframe", "object", "embed")
            assert not {"src", "srcset", "style", "background"} & {name for name, _ in attrs}
            assert all(value.startswith("#") for name, value in attrs if name == "href")

    text = page(report)
    Loads().feed(text)
    assert "url(" not in text
    assert "@import" not in text


def test_the_command_checks_keeps_and_shows_reports_and_fails_if_a_finding_is_a_failure(site):
    good = run_here("catalog", "quality", "--json")
    with open_repository(str(site / "repository")) as repository:
        (ref,) = repository.point_refs()
    with open_catalog(f"sqlite:///{site}/catalog.db") as catalog, catalog._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE vmkeep2_point SET bytes_read = bytes_read + 1")
    bad = run_here("catalog", "quality", "--html", str(site / "quality.html"))

    assert (good.returncode, json.loads(good.stdout)["result"]) == (0, "met"), good.stderr
    assert bad.returncode == 96
    assert f"failure: box: {ref}: the catalog lacks it" in bad.stdout
    assert "1 expectation failed: catalog-row" in bad.stderr
    assert "Run &#x27;vmkeep catalog rebuild&#x27;" in (site / "quality.html").read_text()
    assert run_here("catalog", "quality", "--last").returncode == 96
    past = json.loads(run_here("catalog", "quality", "--history", "--json").stdout)
    assert [each["result"] for each in past] == ["failed", "met"]
    assert run_here("catalog", "rebuild").returncode == 0
    assert noted_leaving(site) is None, "no check knew the retention"
    assert run_here("catalog", "quality", "--keep-daily", "14").returncode == 0
    assert noted_leaving(site)


def noted_leaving(site):
    with open_catalog(f"sqlite:///{site}/catalog.db") as catalog:
        (notes,) = catalog.capacity().all(since=datetime(2000, 1, 1, tzinfo=UTC))
    return notes.leaving


def test_a_vcenter_that_does_not_answer_and_a_policy_with_faults_are_no_success(site):
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))  # and does not listen
    vcenter = f"127.0.0.1:{closed.getsockname()[1]}"
    told = ("--vcenter", vcenter, "--user", "backup")
    with closed:
        silent = run_here("catalog", "quality", "--html", str(site / "page.html"), *told, VMKEEP_PASSWORD="x")
    (site / "policies" / "faulty.yaml").write_text("name: faulty\n")
    faulty = run_here("catalog", "quality", "--json")

    assert silent.returncode == 96
    assert "vCenter 127.0.0.1 cannot be asked for its VMs" in silent.stderr
    assert "Could not be looked at" in (site / "page.html").read_text()
    assert run_here("catalog", "quality", "--history").stdout.count("undecided") == 2
    assert faulty.returncode == 96
    report = json.loads(faulty.stdout)
    assert (report["result"], len(report["gaps"])) == ("undecided", 1)
    assert "faulty.yaml has faults" in report["gaps"][0]


def test_an_expectation_of_vms_or_points_that_nobody_knows_is_not_looked_at(site):
    """The image was imported for no policy."""
    report = json.loads(run_here("catalog", "quality", "--json").stdout)

    results = {one["id"]: one["result"] for one in report["judgements"]}
    assert {name for name, result in results.items() if result == "met"} == {"disk-size", "map-root", "catalog-row"}
    assert set(results.values()) == {"met", "not looked at"}


def test_without_a_folder_of_policies_a_warning_tells_that_the_example_counts(site):
    done = run_here("catalog", "quality", VMKEEP_POLICIES=None)

    assert "the policies are the example that comes with vmkeep" in done.stderr


def test_vms_of_one_name_are_told_apart(site):
    with open_repository(str(site / "repository")) as repository:
        for number in range(2):
            twin = point("twin", 60 + number, images=())
            repository.seal(replace(twin, vm=replace(twin.vm, key=f"key{number}")))
        policy = read_file(site / "policies" / "nightly.yaml").policy
        report = check_quality(repository, [policy], [], catalog=f"sqlite:///{site}/catalog.db")

    (rpo,) = report.failed
    assert sorted(one.vm_id for one in rpo.findings) == ["key0", "key1"]
    assert sorted(one.line.partition(":")[0] for one in rpo.findings) == ["twin (key0)", "twin (key1)"]


def test_without_a_vcenter_nothing_is_met_that_a_vm_without_any_point_would_break(tmp_path):
    (tmp_path / "nightly.yaml").write_text(POLICY)
    policy = read_file(tmp_path / "nightly.yaml").policy
    repository = create_repository(str(tmp_path / "repository"))
    repository.seal(replace(point("box", 1, images=()), taken_at=now()))

    report = check_quality(repository, [policy], [], catalog=None)

    (rpo,) = [one for one in report.judgements if one.id == "rpo"]
    assert (rpo.result, rpo.found, report.result, report.failed) == ("undecided", 0, "undecided", ())
    assert rpo.gap == "no vCenter tells which VMs without a restore point belong to nightly"


def test_a_damaged_manifest_a_lost_map_and_a_removed_point_are_found(site):
    with open_repository(str(site / "repository")) as repository:
        (ref,) = repository.point_refs()
        catalog = f"sqlite:///{site}/catalog.db"
        check_quality(repository, [], [], catalog=catalog)
        for pack in (site / "repository" / "packs").rglob("*"):
            if pack.is_file():
                pack.write_bytes(bytes(pack.stat().st_size))
        lost = check_quality(repository, [], [], catalog=catalog)
        manifest = site / "repository" / "points" / ref
        manifest.chmod(0o600)
        manifest.write_bytes(b"damaged")
        damaged = check_quality(repository, [], [], catalog=catalog)

    assert {one.id: one.result for one in lost.failed} == {"map-root": "failed"}
    assert {one.id for one in damaged.failed} == {"catalog-row"}
    assert "its map cannot be read" in lost.failed[0].findings[0].text


def test_without_a_kept_catalog_a_check_works_and_says_that_its_report_is_lost(site):
    with open_repository(str(site / "repository")) as repository:
        report = check_quality(repository, [], [], catalog=None)
        kept = past_reports(repository, catalog=f"sqlite:///{site}/catalog.db", most=9)

    assert any("not kept" in note for note in report.notes)
    assert kept == []
    assert document_of(report)["judgements"][0]["result"] == "not looked at"


def test_a_check_notes_marks_proofs_and_vms_for_the_pages(site):
    url = f"sqlite:///{site}/catalog.db"
    policy = read_file(site / "policies" / "nightly.yaml").policy
    with open_repository(str(site / "repository")) as repository:
        (ref,) = repository.point_refs()
        repository.marks.pin(ref, reason="audit", by="anna")
        for result in (ProofResult.FAILED, ProofResult.PASSED):
            proof = PointProof(kind=ProofKind.BOOT, result=result, at=now())
            repository.proofs.add(ref, proof, {PICTURE: b"png"} if proof.passed else {})
        terms = RetentionTerms(rule=parse_rule("last 1"), zone=UTC, policies=NO_POLICIES)
        check_quality(repository, [policy], [], catalog=url, retention=terms)
        note_check(url, repository, parse_slice("2/30", today=now()), all_data=False, findings=1)
        stored = repository.stats()
        ((noted,), problems) = load_capacity([url], now())
        found = load_vm([url], ref.rpartition("/")[0], [policy], now())
        fleet = load_fleet([url], [policy], now())

    (listed,) = found.points
    assert [(mark.kind, mark.reason, mark.until) for mark in listed.marks] == [("pinned", "audit", None)]
    assert ("boot", "passed", True) in [(proof.kind, proof.result, proof.has_picture) for proof in listed.proofs]
    assert len({proof.kind for proof in listed.proofs}) == len(listed.proofs), "of each kind the newest"
    assert [(each.location, each.at is not None) for each in fleet.repositories] == [(str(site / "repository"), True)]
    assert [vm.name for vm in fleet.vms] == ["box"]
    (day,) = noted.days
    assert (day.points, day.bytes_stored, day.locked_for) == (1, stored.pack_bytes + stored.index_bytes, None)
    assert day.free
    assert [(each.part, each.parts, each.findings) for each in noted.checks] == [(2, 30, 1)]
    assert [each.points for each in noted.leaving or ()] == [0] * 15, "the point is pinned"
    assert problems == ()


def test_a_vm_whose_newest_points_failed_a_check_is_late(site):
    policy = read_file(site / "policies" / "nightly.yaml").policy
    with open_repository(str(site / "repository")) as repository:
        (ref,) = repository.point_refs()
        imported = repository.load_point(ref)
        vm = replace(imported, vm=replace(imported.vm, key="key-app", name="app"), policy="nightly")
        repository.seal(replace(vm, id=f"{9:016x}", taken_at=vm.taken_at - timedelta(days=2)))
        newer = repository.seal(replace(vm, id=f"{8:016x}"))
        repository.proofs.add(newer, PointProof(kind=ProofKind.BOOT, result=ProofResult.FAILED, at=now()))
        report = check_quality(repository, [policy], [], catalog=f"sqlite:///{site}/catalog.db")

    (rpo,) = (one for one in report.judgements if one.id == "rpo")
    assert [finding.line for finding in rpo.findings] == [
        "app: newest good restore point is 2 d old; its policy allows 36 h"
    ]
