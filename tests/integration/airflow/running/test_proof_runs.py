"""Checks of restore points in a running Airflow: the outcome stays with the points, whatever is done to their runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.patience import HANG, eventually
from vmkeep.flows.clean_points import Cleanness, ScanStates
from vmkeep.images import import_images
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import open_repository

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

MIB = 1 << 20


@pytest.fixture(scope="module")
def repository(site):
    with open_repository(site.repository) as opened:
        yield opened


@pytest.fixture(scope="module")
def points(site, repository, tmp_path_factory):
    """Points of three VMs: a sound one, one with a file that the scanner knows, and one with a damaged block."""
    folder = tmp_path_factory.mktemp("guests")
    made = {}
    for name, content in (("sound", b"nothing of note"), ("infected", b"HOSTILE-MALWARE-MARK")):
        (folder / "file").write_bytes(content)
        image = folder / f"{name}.img"
        image.touch()
        os.truncate(image, 4 * MIB)
        subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
        subprocess.run(["mcopy", "-i", image, folder / "file", "::file"], check=True, capture_output=True)
        made[name] = import_images(repository, [image], name=name).ref
    noise = folder / "damaged.img"
    noise.write_bytes(os.urandom(MIB))
    packs = Path(site.repository) / "packs"
    before = {path for path in packs.rglob("*") if path.is_file()}
    made["damaged"] = import_images(repository, [noise], name="damaged").ref
    pack = max((path for path in packs.rglob("*") if path.is_file() and path not in before), key=size_of)
    sound = pack.read_bytes()
    pack.chmod(0o600)
    flip(pack)
    yield made
    pack.write_bytes(sound)  # other tests check the whole repository


def flip(pack: Path) -> None:
    """Change a byte in the middle of a file."""
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)


def size_of(path: Path) -> int:
    return path.stat().st_size


def ended(api, dag, run):
    eventually(lambda: api.seen_state(dag, run) in ("success", "failed"), f"the end of {dag}")
    return api.seen_state(dag, run)


def test_points_are_verified_and_the_proofs_stay_with_them(api, repository, points):
    run = api.trigger("verify_points", points=[points["sound"]], levels=["all", "file-systems"])

    assert api.wait("verify_points", run, seconds=HANG) == "success"
    proofs = {proof.kind: proof for proof in repository.proofs.of(points["sound"])}
    for kind in (ProofKind.DIGESTS, ProofKind.FILE_SYSTEMS):
        assert (proofs[kind].result, proofs[kind].by) == (ProofResult.PASSED, "DAG verify_points")
        assert proofs[kind].run


def test_a_check_of_a_damaged_point_that_is_marked_as_a_success_proves_nothing_and_fails_when_it_is_cleared(
    api, repository, points
):
    ref = points["damaged"]
    run = api.trigger("verify_points", points=[ref], levels=["all"])
    eventually(lambda: any(task["task_id"] == "verify" for task in api.seen("verify_points", run)), "its tasks")
    api.mark("verify_points", run, "verify", "success")
    ended(api, "verify_points", run)
    digests = [proof for proof in repository.proofs.of(ref) if proof.kind is ProofKind.DIGESTS]
    assert not any(proof.passed for proof in digests)

    api.clear("verify_points", run, "choose", "verify", "close_run")

    assert api.wait("verify_points", run, seconds=HANG) == "failed"
    proof = next(proof for proof in repository.proofs.of(ref) if proof.kind is ProofKind.DIGESTS)
    assert proof.result is ProofResult.FAILED


def test_a_scan_finds_malware_fails_its_run_and_may_be_cleared(api, repository, points):
    run = api.trigger("malware_scan", points=[points["sound"], points["infected"]])

    assert api.wait("malware_scan", run, seconds=HANG) == "failed"
    states = ScanStates(repository)
    assert states.of(points["sound"]).cleanness is Cleanness.CLEAN
    assert states.of(points["infected"]).cleanness is Cleanness.FOUND

    api.clear("malware_scan", run, "choose", "scan", "close_run")
    assert api.wait("malware_scan", run, seconds=HANG) == "failed"
    assert ScanStates(repository).of(points["infected"]).cleanness is Cleanness.FOUND


def test_data_quality_is_checked_with_the_vcenter_and_the_report_is_a_table(api, points):
    eventually(lambda: api.is_registered("data_quality"), "the DAG data_quality")
    api.call("PATCH", "/api/v2/dags/data_quality", {"is_paused": False})
    try:
        run = api.trigger("data_quality")
        state = api.wait("data_quality", run, seconds=HANG)
    finally:
        api.call("PATCH", "/api/v2/dags/data_quality", {"is_paused": True})

    (found,) = api.xcom("data_quality", run, "check").values()
    assert (found["result"] == "failed") is (state == "failed")
    assert found["result"] in ("met", "warned", "failed"), "the vCenter was asked"
    assert found["unprotected"] > 0, "most VMs of the lab have no policy"
