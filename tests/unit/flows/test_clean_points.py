"""A point is called clean if all of it was scanned, by itself or on top of clean older points, and never otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.sealed import remove_on_purpose
from vmkeep.flows.clean_points import Cleanness, ScanStates, last_clean_of, pass_on
from vmkeep.flows.clean_vms import clean_vms
from vmkeep.flows.failed_checks import ListedProofs
from vmkeep.flows.fleet_notes import noted_proofs
from vmkeep.flows.point_doubts import about_doubts
from vmkeep.flows.scan_proofs import proof_of
from vmkeep.images import import_images
from vmkeep.model.job import to_plain
from vmkeep.model.point import BackupMode, Consistency, Quiesce, RestorePoint, VmIdentity
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.model.scanfacts import ScanFacts, ScannerFacts, ScanScope
from vmkeep.model.scanning import FoundMalware, ScannedPoint, ScannedVolume
from vmkeep.repository import create_repository, open_in, point_id
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore

DAY = timedelta(days=1)
BEGIN = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
EMPTY = RestorePoint(
    id="0123456789abcdef", vm=VmIdentity(name="web", key="web"), taken_at=BEGIN, run="run",
    mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE, consistency=Consistency.CRASH,
    images=(),
)  # fmt: skip


@pytest.fixture
def made(tmp_path):
    """A repository with four points of one VM, a day after the other, and their refs."""
    (tmp_path / "disk.raw").write_bytes(bytes(4096))
    repository = create_repository(str(tmp_path / "repo"))
    point = import_images(repository, [tmp_path / "disk.raw"], name="web")
    refs = []
    for number in range(4):
        run = f"run{number}"
        later = replace(point, id=point_id(run, point.vm.key), run=run, taken_at=BEGIN + number * DAY)
        refs.append(repository.seal(later))
    return repository, refs


def proved(
    repository, ref, result, *, scope="whole", chain=(), hours=0, whole_at=None, scanner="ClamAV", rules="", dated=None,
    before_fields=False,
):  # fmt: skip
    """Keep the outcome of a scan.

    :param before_fields: as earlier programs did, which had no field for the facts of a scan.
    """
    at = BEGIN + 10 * DAY + timedelta(hours=hours)
    facts = ScanFacts(
        scope=ScanScope(scope), chain=tuple(chain), whole_at=whole_at,
        scanners=(ScannerFacts(name=scanner, version="1", rules=rules, signatures_at=dated),),
        finders=(scanner,) * (result is ProofResult.FAILED),
    )  # fmt: skip
    proof = PointProof(kind=ProofKind.MALWARE, result=result, at=at, text=f"a scan that {result}")
    told = replace(proof, details=to_plain(facts)) if before_fields else replace(proof, scan=facts)
    repository.proofs.add(ref, told)


def states(repository, refs):
    known = ScanStates(repository)
    return [known.of(ref).cleanness for ref in refs]


def test_a_point_is_clean_by_a_scan_of_all_its_files_or_of_those_that_changed_since_a_clean_one(made):
    repository, refs = made
    proved(repository, refs[0], ProofResult.PASSED, whole_at=BEGIN)
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]], whole_at=BEGIN)
    proved(repository, refs[2], ProofResult.PASSED, scope="changed")  # of an older point that nobody knew as clean

    assert states(repository, refs) == [
        Cleanness.CLEAN, Cleanness.CLEAN, Cleanness.UNDECIDED, Cleanness.UNSCANNED,
    ]  # fmt: skip
    last = last_clean_of(repository, refs[0].rpartition("/")[0])
    assert (last.clean.point, last.clean.whole_at) == (refs[1], BEGIN)
    assert [state.point for state in last.newer][-2:] == [refs[3], refs[2]]


@pytest.mark.parametrize("before_fields", [False, True], ids=["now", "by an earlier program"])
def test_malware_that_is_found_later_in_an_older_point_puts_those_that_stand_on_it_in_doubt(made, before_fields):
    repository, refs = made
    by = {"before_fields": before_fields}
    proved(repository, refs[0], ProofResult.PASSED, **by)
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]], **by)
    proved(
        repository, refs[2], ProofResult.PASSED, scope="changed", chain=[refs[1], refs[0]], before_fields=before_fields
    )
    proved(repository, refs[0], ProofResult.FAILED, hours=1, **by)

    assert states(repository, refs)[:3] == [Cleanness.FOUND, Cleanness.BASED, Cleanness.BASED]
    assert last_clean_of(repository, refs[0].rpartition("/")[0]).clean is None

    proved(repository, refs[0], ProofResult.PASSED, hours=2, **by)  # it was a false alarm

    assert states(repository, refs)[:3] == [Cleanness.CLEAN] * 3


def find_in_the_first(repository, refs):
    """Scan the first point, then the second on top of it; then find malware in the first one."""
    proved(repository, refs[0], ProofResult.PASSED)
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]])
    proved(repository, refs[0], ProofResult.FAILED, hours=1)
    pass_on(repository, refs[0].rpartition("/")[0], repository.proofs.of(refs[0])[0])


def test_the_doubt_of_a_point_stays_when_the_older_one_with_the_find_is_deleted(made):
    repository, refs = made
    find_in_the_first(repository, refs)
    assert states(repository, refs[:2]) == [Cleanness.FOUND, Cleanness.BASED]

    remove_on_purpose(repository.blobs, refs[0])
    repository.proofs.forget(refs[0])

    assert states(repository, refs[1:2]) == [Cleanness.BASED]
    proved(repository, refs[1], ProofResult.PASSED, hours=2)
    assert states(repository, refs[1:2]) == [Cleanness.CLEAN]


def test_a_point_that_is_just_being_deleted_keeps_no_find_from_the_others(made):
    repository, refs = made
    proved(repository, refs[0], ProofResult.PASSED)
    for ref in refs[1:]:
        proved(repository, ref, ProofResult.PASSED, scope="changed", chain=[refs[0]])
    remove_on_purpose(repository.blobs, refs[1])  # and its proofs are still there
    proved(repository, refs[0], ProofResult.FAILED, hours=1)

    pass_on(repository, refs[0].rpartition("/")[0], repository.proofs.of(refs[0])[0])

    assert states(repository, refs[2:]) == [Cleanness.BASED, Cleanness.BASED]
    remove_on_purpose(repository.blobs, refs[0])
    repository.proofs.forget(refs[0])
    assert states(repository, refs[2:]) == [Cleanness.BASED, Cleanness.BASED]


@pytest.mark.parametrize(
    ("dated", "cleanness"),
    [
        (BEGIN - DAY, Cleanness.BASED),
        (BEGIN, Cleanness.CLEAN),
        (BEGIN + DAY, Cleanness.CLEAN),
        (None, Cleanness.BASED),
    ],
    ids=["older signatures", "the same", "newer ones", "of no date"],
)
def test_a_point_whose_own_scan_of_all_files_knew_as_much_is_not_doubted_by_a_later_find_in_an_older_one(
    made, dated, cleanness
):
    repository, refs = made
    vm = refs[0].rpartition("/")[0]
    proved(repository, refs[0], ProofResult.PASSED, dated=BEGIN - DAY)
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]], dated=BEGIN - DAY)
    proved(repository, refs[1], ProofResult.PASSED, dated=dated, hours=1)
    proved(repository, refs[0], ProofResult.FAILED, dated=BEGIN, hours=2)
    pass_on(repository, vm, repository.proofs.of(refs[0])[0])

    assert states(repository, refs[:2]) == [Cleanness.FOUND, cleanness]
    assert (last_clean_of(repository, vm).clean is not None) is (cleanness is Cleanness.CLEAN)


def test_an_earlier_scan_takes_back_no_find_in_the_point_itself(made):
    repository, refs = made
    proved(repository, refs[0], ProofResult.PASSED, dated=BEGIN + DAY)
    proved(repository, refs[0], ProofResult.FAILED, dated=BEGIN, hours=1)

    assert states(repository, refs[:1]) == [Cleanness.FOUND]


def test_the_facts_that_judge_a_point_stay_if_its_details_are_too_many_to_keep(made):
    repository, refs = made
    rules = ":".join(f"/rules/{number:07}" for number in range(80_000))  # more than a MiB
    scanner = ScannerFacts(name="YARA", version="1", rules=rules)
    about = {"vm": "web", "taken_at": BEGIN, "scope": ScanScope.WHOLE, "scanners": (scanner,)}
    volume = ScannedVolume(name="disk0", kind="ext4", files=1)
    found = (FoundMalware(volume="disk0", path="/a", signature="Evil", scanner="YARA", size=1, sha256="0"),)
    infected = ScannedPoint(
        point=refs[0], volumes=(replace(volume, found=1),), findings=found, finders=("YARA",), **about
    )
    clean = ScannedPoint(point=refs[0], volumes=(volume,), **about)

    first = repository.proofs.add(refs[0], proof_of(infected, chain=(), whole_at=None, by="test", run=""))
    assert "scanners" not in first.details
    assert states(repository, refs[:1]) == [Cleanness.FOUND]

    repository.proofs.add(refs[0], proof_of(clean, chain=(), whole_at=None, by="test", run=""))
    assert states(repository, refs[:1]) == [Cleanness.CLEAN]


def test_a_find_that_is_taken_back_in_the_older_point_leaves_no_doubt(made):
    repository, refs = made
    find_in_the_first(repository, refs)
    proved(repository, refs[0], ProofResult.PASSED, hours=2)

    assert states(repository, refs[:2]) == [Cleanness.CLEAN, Cleanness.CLEAN]


def test_every_question_about_a_find_has_one_answer(made, tmp_path):
    from vmkeep.flows.pointlist import list_points, scan_doubts
    from vmkeep.flows.points import show
    from vmkeep.flows.proved_vms import list_proved
    from vmkeep.flows.recovery_points import known_points

    repository, refs = made
    catalog = f"sqlite:///{tmp_path}/catalog.db"
    find_in_the_first(repository, refs)

    def told():
        clean = clean_vms(repository, None)[0].last.clean
        [proved] = list_proved(repository, catalog=catalog)
        assert (clean.point if clean else None) == (
            proved.proofs[ProofKind.MALWARE].point if ProofKind.MALWARE in proved.proofs else None
        )
        listed = scan_doubts(repository, list_points(repository, catalog=catalog))
        assert {show(repository, ref).scan.cleanness for ref in listed} == set(listed.values())
        passed_over = {point.ref for point in known_points(repository, catalog=catalog)[0] if point.doubt}
        assert passed_over == set(listed) == {ref for ref in refs if ScanStates(repository).is_infected(ref)}
        return listed, clean and clean.point

    assert told() == ({refs[0]: Cleanness.FOUND, refs[1]: Cleanness.BASED}, None)
    proved(repository, refs[0], ProofResult.PASSED, hours=2)  # takes both back
    assert told() == ({}, refs[1])


def test_finds_that_are_passed_on_push_out_none_of_the_points_own(made):
    repository, refs = made
    proved(repository, refs[3], ProofResult.FAILED)
    proved(repository, refs[3], ProofResult.PASSED, scope="changed", chain=refs[2::-1], hours=1)
    for hours, ref in enumerate(refs[:3], start=2):
        proved(repository, ref, ProofResult.FAILED, hours=hours)
        pass_on(repository, refs[0].rpartition("/")[0], repository.proofs.of(ref)[0])
    for ref in refs[:3]:
        proved(repository, ref, ProofResult.PASSED, hours=9)

    assert states(repository, refs[3:]) == [Cleanness.FOUND]


def test_a_find_whose_proof_is_damaged_still_counts(made, caplog):
    repository, refs = made
    proved(repository, refs[0], ProofResult.PASSED)
    proved(repository, refs[0], ProofResult.FAILED, hours=1)
    [key] = [blob.key for blob in repository.blobs.list("proofs/") if ",failed," in blob.key]
    repository.blobs.replace(key, repository.blobs.get(key)[:-1] + b"?")

    state = ScanStates(repository).of(refs[0])

    assert state.cleanness is Cleanness.FOUND
    assert f"put {key} back, or delete it" in state.text


def test_a_scan_from_the_future_takes_no_find_back(made):
    repository, refs = made
    proved(repository, refs[0], ProofResult.FAILED)
    proved(repository, refs[0], ProofResult.PASSED, hours=24 * 36500)

    assert states(repository, refs)[0] is Cleanness.FOUND


@pytest.mark.parametrize("selector", [None, "name~:vm."])
def test_the_last_clean_points_of_more_vms_take_no_more_lists(selector):
    class Counting(MemoryStore):
        lists = 0

        def list(self, prefix):
            self.lists += 1
            return super().list(prefix)

    def lists_of(vms):
        store = Counting()
        descriptor.create(store, descriptor.new_descriptor(block_size=1 << 16, compression="lz4"))
        repository = open_in(store)
        for number in range(vms):
            vm = VmIdentity(name=f"vm{number}", key=f"key{number}")
            proved(repository, repository.seal(replace(EMPTY, vm=vm, run=vm.key)), ProofResult.PASSED)
        store.lists = 0
        assert sum(found.last.clean is not None for found in clean_vms(repository, selector)) == vms
        return store.lists

    assert lists_of(2) == lists_of(9) <= 5


def test_a_scanner_whose_finds_are_beyond_the_first_hundred_has_to_take_them_back_itself(made):
    repository, refs = made
    scanners = [{"name": name, "rules": "", "signatures_at": None} for name in ("ClamAV", "YARA")]
    found = PointProof(
        kind=ProofKind.MALWARE, result=ProofResult.FAILED, at=BEGIN, details={
            "scope": "whole", "scanners": scanners, "findings": [{"scanner": "ClamAV"}], "finders": ["ClamAV", "YARA"],
        },
    )  # fmt: skip
    repository.proofs.add(refs[0], found)
    proved(repository, refs[0], ProofResult.PASSED, hours=1)
    assert states(repository, refs[:1]) == [Cleanness.FOUND]

    proved(repository, refs[0], ProofResult.PASSED, hours=2, scanner="YARA")
    assert states(repository, refs[:1]) == [Cleanness.CLEAN]


def test_the_newest_scan_of_a_point_counts(made):
    repository, refs = made
    outcomes = {
        ProofResult.UNDECIDED: Cleanness.UNDECIDED,
        ProofResult.PASSED: Cleanness.CLEAN,
        ProofResult.FAILED: Cleanness.FOUND,
    }
    for hours, (result, cleanness) in enumerate(outcomes.items()):
        proved(repository, refs[0], result, hours=hours)

        assert states(repository, refs)[0] is cleanness

    proved(repository, refs[0], ProofResult.UNDECIDED, hours=9)  # which takes nothing back

    assert states(repository, refs)[0] is Cleanness.FOUND


@pytest.mark.parametrize(
    ("scanner", "rules", "cleanness"),
    [
        ("YARA", "/rules", Cleanness.CLEAN),
        ("YARA", "/other", Cleanness.FOUND),
        ("ClamAV", "", Cleanness.FOUND),
    ],
)
def test_only_the_scanner_that_has_found_something_takes_it_back(made, scanner, rules, cleanness):
    repository, refs = made
    proved(repository, refs[0], ProofResult.FAILED, scanner="YARA", rules="/rules")
    proved(repository, refs[0], ProofResult.PASSED, scanner=scanner, rules=rules, hours=1)
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]])

    assert states(repository, refs)[0] is cleanness
    assert ScanStates(repository).is_infected(refs[0]) is (cleanness is Cleanness.FOUND)
    assert states(repository, refs)[1] is (Cleanness.CLEAN if cleanness is Cleanness.CLEAN else Cleanness.BASED)


def test_a_scan_of_changed_files_takes_no_find_back(made):
    repository, refs = made
    proved(repository, refs[1], ProofResult.FAILED)
    proved(repository, refs[2], ProofResult.PASSED, scope="changed", chain=[refs[1]])
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]], hours=1)

    assert states(repository, refs)[1:3] == [Cleanness.FOUND, Cleanness.BASED]
    assert ScanStates(repository).is_infected(refs[1])
    assert last_clean_of(repository, refs[0].rpartition("/")[0]).clean is None


@pytest.mark.parametrize(("days", "cleanness"), [(-1, Cleanness.FOUND), (0, Cleanness.CLEAN), (1, Cleanness.CLEAN)])
def test_a_scan_with_older_signatures_takes_no_find_back(made, days, cleanness):
    repository, refs = made
    proved(repository, refs[0], ProofResult.FAILED, dated=BEGIN)
    proved(repository, refs[0], ProofResult.PASSED, dated=BEGIN + days * DAY, hours=1)

    assert states(repository, refs)[0] is cleanness


def test_a_later_scan_that_shows_less_takes_nothing_from_a_clean_point(made):
    repository, refs = made
    proved(repository, refs[1], ProofResult.PASSED)
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", hours=1)

    assert states(repository, refs)[1] is Cleanness.CLEAN

    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]], hours=2)
    proved(repository, refs[0], ProofResult.FAILED, hours=3)

    assert states(repository, refs)[1] is Cleanness.CLEAN


def test_the_end_of_an_older_point_does_not_make_its_successors_unknown(made):
    repository, refs = made
    proved(repository, refs[0], ProofResult.PASSED)
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]])
    repository.proofs.forget(refs[0])

    assert states(repository, refs)[:2] == [Cleanness.UNSCANNED, Cleanness.CLEAN]


def test_a_reader_of_a_point_with_malware_is_warned_and_told_the_last_clean_one(made):
    repository, refs = made
    proved(repository, refs[1], ProofResult.PASSED)
    proved(repository, refs[2], ProofResult.FAILED)

    [warning] = about_doubts(repository, repository.load_point(refs[2]))

    assert "a scan that failed" in warning
    assert f"the VM's last clean point is {refs[1]}" in warning
    assert list(about_doubts(repository, repository.load_point(refs[1]))) == []
    assert list(about_doubts(repository, repository.load_point(refs[3]))) == []


def test_a_damaged_point_is_not_the_last_clean_one(made):
    repository, refs = made
    proved(repository, refs[1], ProofResult.PASSED)
    proved(repository, refs[2], ProofResult.PASSED)
    repository.marks.mark_damaged(refs[2], [])

    assert last_clean_of(repository, refs[0].rpartition("/")[0]).clean.point == refs[1]


def test_a_recovery_passes_over_a_point_with_malware(made, tmp_path):
    from vmkeep.flows.recovery_points import known_points

    repository, refs = made
    proved(repository, refs[3], ProofResult.FAILED)

    known, _ = known_points(repository, catalog=f"sqlite:///{tmp_path}/catalog.db")

    assert {point.ref: point.doubt for point in known if point.doubt} == {
        refs[3]: "not clean: a scan found malware in it"
    }


def test_the_web_view_is_not_told_that_a_point_with_malware_passed(made):
    """A scan by another scanner passed later; a find is taken back by its own scanner only."""
    repository, refs = made
    proved(repository, refs[0], ProofResult.FAILED)
    proved(repository, refs[0], ProofResult.PASSED, hours=1, scanner="YARA")
    proved(repository, refs[1], ProofResult.PASSED)

    noted = {proof.ref: proof.result for proof in noted_proofs(ListedProofs(repository))}

    assert (noted[refs[0]], noted[refs[1]]) == ("failed", "passed")


def test_a_point_that_stands_on_no_point_of_a_find_is_told_nothing_of_it(made):
    repository, refs = made
    proved(repository, refs[0], ProofResult.PASSED, whole_at=BEGIN)
    proved(repository, refs[1], ProofResult.PASSED, scope="changed", chain=[refs[0]], whole_at=BEGIN)
    proved(repository, refs[2], ProofResult.PASSED, whole_at=BEGIN)
    before = len(repository.proofs.of(refs[2]))
    find_in_the_first(repository, refs)

    assert states(repository, refs[1:3]) == [Cleanness.BASED, Cleanness.CLEAN]
    assert len(repository.proofs.of(refs[2])) == before


def test_a_point_from_the_future_is_not_the_last_clean_one(made):
    repository, refs = made
    for ref in refs[:2]:
        proved(repository, ref, ProofResult.PASSED, whole_at=BEGIN)
    ahead = datetime.now(UTC) + 365 * DAY

    last = ScanStates(repository).last_clean([(refs[0], BEGIN), (refs[1], ahead)])

    assert last.clean is not None
    assert last.clean.point == refs[0]


def test_a_scan_of_changed_files_that_could_not_tell_is_not_clean_though_it_stands_on_a_clean_point(made):
    repository, refs = made
    proved(repository, refs[0], ProofResult.PASSED)
    proved(repository, refs[1], ProofResult.UNDECIDED, scope="changed", chain=[refs[0]])

    assert states(repository, refs)[:2] == [Cleanness.CLEAN, Cleanness.UNDECIDED]


def test_a_scan_by_several_scanners_takes_back_the_find_of_one_of_them(made):
    repository, refs = made
    proved(repository, refs[0], ProofResult.FAILED)
    scanners = tuple(ScannerFacts(name=name, version="1", rules="") for name in ("YARA", "ClamAV"))
    facts = ScanFacts(scope=ScanScope.WHOLE, scanners=scanners, finders=())

    for hours, cleanness in (
        (0, Cleanness.FOUND),
        (1, Cleanness.CLEAN),
    ):  # at one time, neither is later
        at = BEGIN + 10 * DAY + timedelta(hours=hours)
        passed = PointProof(kind=ProofKind.MALWARE, result=ProofResult.PASSED, at=at, text="passed", scan=facts)
        repository.proofs.add(refs[0], passed)
        assert states(repository, refs)[0] is cleanness


def test_the_last_clean_point_may_be_pinned_and_is_older_than_it_has_to_be(made):
    repository, refs = made
    vm = refs[0].rpartition("/")[0]
    for ref in refs[:3]:
        proved(repository, ref, ProofResult.PASSED)
    repository.marks.pin(refs[2], reason="court order", by="jane")

    assert last_clean_of(repository, vm).clean.point == refs[2]
    assert last_clean_of(repository, vm, before=BEGIN + 2 * DAY).clean.point == refs[1]
    assert last_clean_of(repository, vm, before=BEGIN).clean is None


def test_the_web_view_is_told_the_newest_proof_of_each_kind(made):
    repository, refs = made
    for kind, results in (
        (ProofKind.BOOT, (ProofResult.FAILED, ProofResult.PASSED)),
        (ProofKind.LVM, (ProofResult.PASSED, ProofResult.FAILED)),
    ):
        for hours, result in enumerate(results):
            repository.proofs.add(refs[0], PointProof(kind=kind, result=result, at=BEGIN + timedelta(hours=hours)))

    noted = {proof.kind: (proof.result, proof.at) for proof in noted_proofs(ListedProofs(repository))}

    at = int((BEGIN + timedelta(hours=1)).timestamp())
    assert noted == {"boot": ("passed", at), "lvm": ("failed", at)}
