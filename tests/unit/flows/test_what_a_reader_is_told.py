"""Nobody takes an export for the whole machine if a disk is missing, nor a point that is marked for a good one."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import ConflictError
from vmkeep.flows.plan_basis import PlanBasis
from vmkeep.flows.serving import ServeRequest, serve_point
from vmkeep.images import import_images
from vmkeep.model.disk import SkipReason
from vmkeep.repository import create_repository, point_id

LACKING = "Hard disk 4 (scsi1:0) is not in the point: physical-mode RDM"
FORMATS = ["raw", "qcow2", "flat", "thin", "2gbsparse", "stream"]


@pytest.fixture
def made(tmp_path):
    """A repository, and a point of two disks, of which one was skipped."""
    (tmp_path / "disk.raw").write_bytes(b"first" + bytes(4091))
    (tmp_path / "out").mkdir()
    repository = create_repository(str(tmp_path / "repo"))
    point = import_images(repository, [tmp_path / "disk.raw"], name="web")
    skipped = replace(point.images[0].disk, key=2016, label="Hard disk 4", bus=1, unit=0, skip=SkipReason.PHYSICAL_RDM)
    lacking = replace(point, id=point_id("lacking", point.vm.key), run="lacking", skipped=(skipped,))
    repository.seal(lacking)
    return repository, lacking


def run(tmp_path, *arguments):
    done = CliRunner().invoke(cli, [*map(str, arguments), "-r", str(tmp_path / "repo"), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stderr, json.loads(done.stdout)


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_names_each_disk_that_is_not_in_the_point(made, tmp_path, form):
    _, point = made

    stderr, told = run(tmp_path, "point", "export", point.ref, "--format", form, "--out", tmp_path / "out")

    assert f"warning: {LACKING}" in stderr
    manifest = json.loads((tmp_path / "out" / "web.export.json").read_text())
    for warnings in (told["warnings"], manifest["warnings"]):
        assert [each.startswith(LACKING) for each in warnings] == [True]


def test_an_export_of_one_image_names_it_too(made, tmp_path):
    stderr, told = run(tmp_path, "image", "export", made[1].ref, tmp_path / "out" / "a.raw")

    assert LACKING in stderr
    assert LACKING in told["warnings"][0]


def test_a_suspect_point_is_exported_with_a_warning_and_applied_only_by_force(made, tmp_path):
    repository, point = made
    run(tmp_path, "point", "export", point.ref, "--format", "raw", "--out", tmp_path / "out")
    repository.marks.suspect(point.ref, "Hard disk 1", reason="its tracking forgot a write")
    manifest = tmp_path / "out" / "web.export.json"
    before = manifest.read_bytes()

    with pytest.raises(ConflictError, match=r"marked suspect.*nothing was written.*--force"):
        run(tmp_path, "point", "apply", point.ref, manifest)
    assert manifest.read_bytes() == before
    stderr, told = run(tmp_path, "point", "apply", point.ref, manifest, "--force")
    assert "its tracking forgot a write" in stderr
    assert told["warnings"] == json.loads(manifest.read_text())["warnings"]
    assert "suspect" in told["warnings"][1]

    stderr, told = run(
        tmp_path, "point", "export", point.ref, "--format", "qcow2", "--out", tmp_path / "out", "--name", "again"
    )
    assert "marked suspect (Hard disk 1): its tracking forgot a write" in stderr
    assert "suspect" in told["warnings"][1]


@pytest.mark.parametrize(("asked", "expected"), [(None, False), (True, True), (False, False)])
def test_an_imported_machine_is_switched_on_only_if_that_is_asked(made, asked, expected):
    repository, point = made
    request = SimpleNamespace(power_on=asked)
    basis = PlanBasis(session=None, repository=repository, point=point, request=request, has_ended=None)

    assert basis.powers_on is expected


def test_a_server_names_missing_disks_and_marks(made):
    repository, point = made
    repository.marks.suspect(point.ref, "Hard disk 1", reason="its tracking forgot a write")
    told = []

    with serve_point(repository, ServeRequest(point=point.ref), tell=lambda line, warning: told.append(line)) as served:
        assert LACKING in served.warnings[0]
        assert "marked suspect" in served.warnings[1]
    assert set(served.warnings) <= set(told)
