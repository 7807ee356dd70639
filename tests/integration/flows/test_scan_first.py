"""A point that is scanned before its restore is restored only if the outcome allows it, and nothing is touched else."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.integration.flows.restoring import new_run, silent
from vmkeep.clock import now
from vmkeep.errors import ConflictError, MalwareFoundError, NotScannedError
from vmkeep.flows.malware import ScannerPlaces
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_ledger import shown_id
from vmkeep.flows.restore_request import make_request
from vmkeep.flows.scan_first import scan_first
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.model.scanning import ScanOutcome
from vmkeep.repository import open_repository


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    file = tmp_path_factory.mktemp("rules") / "evil.yar"
    file.write_text('rule Evil { strings: $a = "EVIL" condition: $a }')
    return ScannerPlaces(yara=(file,))


def request(point, **options):
    return make_request(point=point, run=new_run(), new_name="copy", power_on=False, **options)


def scanned(site, wanted, rules):
    return scan_first(site, wanted, rules, on_progress=silent, tell=lambda _line: None, by="test")


def proved(site, point, result):
    details = {
        "scope": "whole",
        "scanners": [{"name": "ClamAV", "rules": ""}],
        "findings": [{"scanner": "ClamAV"}] * (result is ProofResult.FAILED),
    }
    proof = PointProof(kind=ProofKind.MALWARE, result=result, at=now(), text="told by a test", details=details)
    open_repository(site.repository).proofs.add(point, proof)


@pytest.fixture
def unscanned(kept):
    """The site, and a point of which no scan is known."""
    site, point = kept
    open_repository(site.repository).proofs.forget(point)
    return kept


def test_a_point_of_which_nothing_is_known_is_refused_or_warned_of_as_was_asked(unscanned):
    site, point = unscanned

    with pytest.raises(NotScannedError, match=r"no scan has looked at it; restore another point"):
        plan_restore(site, request(point, scan="refuse"))
    warned = plan_restore(site, request(point, scan="warn"))
    assert any("no scan has looked at it" in warning for warning in warned.warnings)
    assert not any("scan" in warning for warning in plan_restore(site, request(point)).warnings)


def test_a_point_that_is_scanned_and_clean_is_restored_and_no_newer_one(unscanned, rules):
    site, point = unscanned

    plan = plan_restore(site, scanned(site, request("latest:web01", scan="refuse"), rules))

    assert (plan.target_name, plan.request.point) == ("copy", point)
    assert not any("scan" in warning for warning in plan.warnings)


def test_a_point_with_malware_is_refused_also_if_another_scanner_does_not_find_it(unscanned, rules):
    site, point = unscanned
    proved(site, point, ProofResult.FAILED)

    with pytest.raises(MalwareFoundError, match="told by a test"):
        plan_restore(site, scanned(site, request(point, scan="refuse"), rules))
    assert any("told by a test" in warning for warning in plan_restore(site, request(point)).warnings)


@pytest.mark.parametrize("before", [None, ProofResult.PASSED])
def test_a_find_counts_although_the_store_takes_no_note_of_it(unscanned, monkeypatch, before):
    """Also beside an older proof that the point is clean, which the find refutes."""
    site, point = unscanned
    if before is not None:
        proved(site, point, before)
    line = "malware in 1 file: disk0:/evil (Evil)"
    outcome = SimpleNamespace(point=point, line=line, outcome=ScanOutcome(result=ProofResult.FAILED, text=line))
    scanner = SimpleNamespace(scan=lambda *_args, **_kwargs: outcome)
    monkeypatch.setattr("vmkeep.flows.scan_first.open_point_scanner", lambda *_args, **_kwargs: nullcontext(scanner))
    places = ScannerPlaces()

    with pytest.raises(MalwareFoundError, match=r"is not clean: malware in 1 file"):
        plan_restore(site, scanned(site, request(point, scan="refuse"), places))
    plan = plan_restore(site, scanned(site, request(point, scan="warn"), places))
    assert any("is not clean: malware in 1 file" in warning for warning in plan.warnings)
    assert shown_id(plan) == shown_id(plan_restore(site, replace(plan.request, scanned=None)))


def test_a_restore_that_cannot_be_done_is_refused_before_anything_is_scanned(kept):
    site, point = kept
    no_scanner = ScannerPlaces()  # so that a scan would fail by another error

    with pytest.raises(ConflictError, match="exists"):
        scanned(site, make_request(point=point, run=new_run(), new_name="web01", scan="refuse"), no_scanner)
